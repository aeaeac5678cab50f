package train

import (
	"context"
	"fmt"
	"slices"
	"time"

	"valence/runtime/mt5/spec"
)

// Plan is what a job would do, and what was found in its data.
type Plan struct {
	Findings  []Finding    `json:"findings"`
	Labels    []LabelCount `json:"labels"`
	Tokens    Tokens       `json:"tokens"` // of the texts as the model reads them
	Truncated int          `json:"truncated"`
	Runs      []RunPlan    `json:"runs"`
	Steps     int          `json:"steps"`      // of the run with the most
	Trainable int          `json:"parameters"` // of one run
}

// LabelCount is a label's rows.
type LabelCount struct {
	Label string `json:"label"`
	Rows  int    `json:"rows"`
}

// Tokens are lengths of texts.
type Tokens struct {
	Mean   float64 `json:"mean"`
	Median int     `json:"p50"`
	P95    int     `json:"p95"`
	Max    int     `json:"max"`
}

// RunPlan is what one run would do.
type RunPlan struct {
	LearningRate float64 `json:"learning_rate"`
	Seed         uint64  `json:"seed"`
	Fold         int     `json:"fold"` // -1 where there are none
	Train        int     `json:"train"`
	Validation   int     `json:"validation"`
	Steps        int     `json:"steps"`
}

// Inspect tells what a job would do without doing it. Data that cannot be learnt from
// gives its findings as well as the error of Open, and no more.
func Inspect(job Job, tok Tokenizer) (*Plan, error) {
	t, f, err := open(job, nil, tok)
	if err == nil {
		return t.Plan(), nil
	}
	p := &Plan{}
	if f != nil {
		p.Findings = f.list
	}
	return p, err
}

// Plan tells what the job does, and what was found in its data.
func (t *Trainer) Plan() *Plan {
	p := &Plan{Findings: t.found}
	p.Trainable = spec.Total(t.job.Sites)
	p.Labels = make([]LabelCount, len(t.labels))
	for i, l := range t.labels {
		p.Labels[i].Label = l.Name
	}
	lengths := make([]int, len(t.rows))
	for i, r := range t.rows {
		p.Labels[r.label].Rows++
		lengths[i] = len(r.ids)
	}
	p.Tokens = tokens(lengths)
	for _, found := range p.Findings {
		if found.Code == TruncatedText {
			p.Truncated = found.Count
		}
	}
	for _, r := range t.runs {
		p.Runs = append(p.Runs, RunPlan{r.rate, r.seed, r.fold, len(r.train), len(r.validation), r.steps})
		p.Steps = max(p.Steps, r.steps)
	}
	return p
}

// tokens sorts lengths, of which there is at least one.
func tokens(lengths []int) Tokens {
	slices.Sort(lengths)
	sum := 0
	for _, n := range lengths {
		sum += n
	}
	last := len(lengths) - 1
	return Tokens{float64(sum) / float64(len(lengths)), lengths[last/2], lengths[last*95/100], lengths[last]}
}

// checkParts looks at what each run would train and validate on.
func (t *Trainer) checkParts(f *findings) {
	recipe := &t.job.Recipe
	wanted := recipe.Validation > 0 || recipe.Folds > 0 || len(t.job.Data.Validation) > 0
	for _, r := range t.runs {
		rows := make([]int, len(t.labels))
		for _, i := range r.train {
			rows[t.rows[i].label]++
		}
		present := 0
		for i, n := range rows {
			if n > 0 {
				present++
			} else {
				f.add(MissingLabel, false, fmt.Sprintf("label %q has no row to train on", t.labels[i].Name))
			}
		}
		switch {
		case present == 0:
			f.add(TooFewRows, true, "there is no row to train on")
		case present == 1:
			f.add(OneClass, true, "all rows to train on have one label; at least two labels are needed")
		case wanted && len(r.validation) == 0:
			f.add(TooFewRows, true, "there is no row to validate on; give more rows, or set validation.split to 0 to measure on none")
		}
	}
}

// estimated is how many micro-batches of a step Estimate times at most.
const estimated = 4

// Estimate tells how long the job will take on the model from its start, by timing a
// step or a part of it, twice since the first warms up. It changes nothing, and holds for
// the load that the machine has at the moment.
func (t *Trainer) Estimate(ctx context.Context) (time.Duration, error) {
	var pupils []pupil
	for _, r := range t.runs {
		pupils = append(pupils, t.pupils(r)...)
	}
	batches := t.microBatches(pupils)
	var took time.Duration
	timed := 0
	for range 2 {
		begin := time.Now()
		timed = 0
		for k := range min(estimated, len(batches)) { // long texts and short ones
			batch := batches[k*len(batches)/min(estimated, len(batches))]
			if err := t.teach(ctx, batch, make([]outcome, len(t.runs))); err != nil {
				return 0, fmt.Errorf("train: estimate: %w", err)
			}
			for _, p := range batch {
				timed += len(p.IDs)
			}
		}
		took = time.Since(begin)
	}
	return time.Duration(float64(took) * t.work() / float64(timed)), nil
}

// work is the tokens that all runs learn from. A validation row goes there and not back,
// which is about half of the work.
func (t *Trainer) work() float64 {
	tokens := 0.0
	for _, r := range t.runs {
		for _, i := range r.train {
			tokens += float64(len(t.rows[i].ids))
		}
		for _, i := range r.validation {
			tokens += float64(len(t.rows[i].ids)) / 2
		}
	}
	return tokens * float64(t.job.Recipe.Epochs)
}
