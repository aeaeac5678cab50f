package train

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"valence/runtime/mt5/spec"
)

// Model gives losses and gradients. Its methods may take turns with other work on
// the device; what they give must not depend on it.
type Model interface {
	// Learn gives a lesson's losses, and the gradient of their weighted sum for each run.
	Learn(ctx context.Context, l *spec.Lesson) (*spec.Gradient, error)
	// Judge gives the verdict on each choice of a lesson.
	Judge(ctx context.Context, l *spec.Lesson) ([][]spec.Verdict, error)
}

// Job is everything that decides what is learnt.
type Job struct {
	Recipe Recipe
	Data   Data
	Base   string      // digest of the base
	Sites  []spec.Site // of the vectors: those of PEFT's default, as a rule
	// Start are the vectors to begin with, whose sites are Sites; nil begins with ones,
	// which is the base.
	Start *spec.Vectors
}

// ErrJob is wrapped by errors about a job's sites or vectors.
var ErrJob = errors.New("train: job")

// phase says what the next unit of work is.
type phase string

const (
	learning   phase = "learning"
	evaluating phase = "evaluating"
)

// Trainer trains the runs of one job. It is used by one goroutine at a time, but for
// LiveVectors.
type Trainer struct {
	job     Job
	model   Model
	rows    []row
	targets []target
	labels  []Label // as written
	trie    *spec.Trie
	found   []Finding // in the data, none of which is an error
	runs    []*run

	epoch    int // epochs completed
	phase    phase
	pending  []pupil  // this evaluation's rows, nil before it begins
	judged   []judged // the first of them, evaluated
	seconds  float64
	examples int // rows learnt from
}

// Open prepares a job. Errors wrap ErrRecipe, ErrJob or, with the findings as a
// *DataError, ErrData. What is found beside errors is told by Inspect.
func Open(job Job, model Model, tok Tokenizer) (*Trainer, error) {
	t, _, err := open(job, model, tok)
	return t, err
}

func open(job Job, model Model, tok Tokenizer) (*Trainer, *findings, error) {
	if err := job.Recipe.Validate(); err != nil {
		return nil, nil, err
	}
	if err := job.check(); err != nil {
		return nil, nil, err
	}
	t := &Trainer{job: job, model: model, phase: learning}
	f := &findings{}
	labels := job.Data.check(f)
	if f.err() != nil {
		return nil, f, f.err()
	}
	var err error
	if t.rows, err = job.Data.rows(tok, &t.job.Recipe, labels, f); err != nil {
		return nil, f, err
	}
	t.targets, t.labels, t.trie = job.Data.targets(tok, &t.job.Recipe, f)
	t.makeRuns(labels)
	t.checkParts(f)
	t.found = f.list
	return t, f, f.err()
}

func (j *Job) check() error {
	n := spec.Total(j.Sites)
	if n == 0 {
		return fmt.Errorf("%w: there are no sites to train", ErrJob)
	}
	if j.Start == nil {
		return nil
	}
	if !slices.Equal(j.Start.Sites, j.Sites) || len(j.Start.Data) != n {
		return fmt.Errorf("%w: the vectors to start from are of other sites than those to train", ErrJob)
	}
	if !slices.ContainsFunc(j.Start.Data, func(x float32) bool { return !isFinite(float64(x)) }) {
		return nil
	}
	return fmt.Errorf("%w: the vectors to start from are not finite", ErrJob)
}

// makeRuns makes one run for each combination of learning rate, seed and fold.
func (t *Trainer) makeRuns(labels []int) {
	r := &t.job.Recipe
	rates, seeds := r.LearningRates, r.Seeds
	if len(rates) == 0 {
		rates = []float64{r.LearningRate}
	}
	if len(seeds) == 0 {
		seeds = []uint64{r.Seed}
	}
	start := t.job.start()
	for _, rate := range rates {
		for _, seed := range seeds {
			for k, p := range r.parts(&t.job.Data, labels) {
				run := &run{number: len(t.runs), seed: seed, rate: rate, fold: -1, part: p, adam: newAdamW(len(start.Data))}
				if r.Folds > 0 {
					run.fold = k
				}
				run.steps = run.perEpoch(r.BatchSize) * r.Epochs
				run.live.Store(start)
				t.runs = append(t.runs, run)
			}
		}
	}
}

// start is the vectors that every run begins with.
func (j *Job) start() *spec.Vectors {
	if j.Start != nil {
		return j.Start
	}
	data := make([]float32, spec.Total(j.Sites))
	for i := range data {
		data[i] = 1
	}
	return &spec.Vectors{Sites: j.Sites, Data: data}
}

// Run works until all runs have ended, or until until, asked before each unit of work
// (a step of all runs, or a part of an evaluation), says so. It tells whether all
// have ended. report, if any, hears of each event in order. After an error, such as
// that of a context that ended, the state is that after the last unit: Run may be
// called again.
func (t *Trainer) Run(ctx context.Context, until func() bool, report func(Event)) (done bool, err error) {
	for !t.Done() {
		if until != nil && until() {
			return false, nil
		}
		begin := time.Now()
		events, err := t.unit(ctx)
		t.seconds += time.Since(begin).Seconds()
		if err != nil {
			return false, fmt.Errorf("train: %w", err)
		}
		for _, e := range events {
			if report != nil {
				report(t.stamped(e))
			}
		}
	}
	return true, nil
}

// Done tells whether all runs have ended.
func (t *Trainer) Done() bool { return !slices.ContainsFunc(t.runs, (*run).active) }

// Labels are those to serve the vectors with: see Result.Labels.
func (t *Trainer) Labels() []Label { return t.labels }

// Validation are the positions of a run's validation rows in Data.Examples and, after
// them, Data.Validation. It must not be changed.
func (t *Trainer) Validation(run int) []int { return t.runs[run].validation }

// ValidationRows are the examples that a run is evaluated on, in the order of the data.
func (t *Trainer) ValidationRows(run int) []Example {
	n := len(t.job.Data.Examples)
	out := make([]Example, len(t.runs[run].validation))
	for k, i := range t.runs[run].validation {
		if i < n {
			out[k] = t.job.Data.Examples[i]
		} else {
			out[k] = t.job.Data.Validation[i-n]
		}
	}
	return out
}

// Steps is how many steps a run has taken.
func (t *Trainer) Steps(run int) int { return t.runs[run].step }

// Runs is the number of runs.
func (t *Trainer) Runs() int { return len(t.runs) }

// LiveVectors are the vectors of a run after its last step. They may be asked for
// while Run works.
func (t *Trainer) LiveVectors(run int) *spec.Vectors { return t.runs[run].live.Load() }

// unit is the smallest piece of work that leaves a state to go on from.
func (t *Trainer) unit(ctx context.Context) ([]Event, error) {
	if t.phase == learning && slices.ContainsFunc(t.runs, t.learns) {
		return t.learn(ctx)
	}
	t.phase = evaluating
	return t.evaluate(ctx)
}

// learns tells whether a run has steps left in this epoch.
func (t *Trainer) learns(r *run) bool {
	return r.active() && r.step < (t.epoch+1)*r.perEpoch(t.job.Recipe.BatchSize)
}

// stamped fills in what every event tells.
func (t *Trainer) stamped(e Event) Event {
	e.Step, e.Steps = t.runs[e.Run].step, t.runs[e.Run].steps
	e.Seconds = t.seconds
	if t.seconds > 0 {
		e.Rate = float64(t.examples) / t.seconds
	}
	return e
}
