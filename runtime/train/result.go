package train

import (
	"cmp"
	"slices"

	"valence/runtime/mt5/spec"
	"valence/runtime/train/metrics"
)

// Result is what a job has given.
type Result struct {
	Runs []RunResult
	// Best is the run with the greatest macro-F1 on its validation rows; of equals, that
	// with the smaller validation loss, then the first. Without validation rows it is
	// the first that did not fail; -1 when all have.
	Best int
	// Labels are those to serve the vectors with: a verbaliser that was cut is what is
	// left of it.
	Labels  []Label
	Seconds float64 // of work
}

// RunResult is what one run has given.
type RunResult struct {
	LearningRate float64
	Seed         uint64
	Fold         int // -1 where there are none
	Vectors      *spec.Vectors
	Steps        int // taken
	Epochs       []Epoch
	Kept         int      // the epoch whose vectors these are, 0 where none was completed
	Failure      *Failure // of a run that failed: Vectors are those before it

	// Fitted on the validation rows, if there are any.
	Temperature  float64         // 1 otherwise
	AbstainBelow float64         // 0 otherwise
	Report       *metrics.Report // of the vectors, at that temperature; nil otherwise
}

// Result gives what the runs have learnt so far; all of it once Done.
func (t *Trainer) Result() *Result {
	out := &Result{Best: -1, Labels: t.labels, Seconds: t.seconds}
	for _, r := range t.runs {
		out.Runs = append(out.Runs, t.result(r))
	}
	for i := range out.Runs {
		if out.Runs[i].Failure == nil && (out.Best < 0 || compare(&out.Runs[i], &out.Runs[out.Best]) > 0) {
			out.Best = i
		}
	}
	return out
}

func (t *Trainer) result(r *run) RunResult {
	out := RunResult{
		LearningRate: r.rate, Seed: r.seed, Fold: r.fold, Vectors: r.result(), Steps: r.step,
		Epochs: slices.Clone(r.epochs), Kept: r.kept.epoch, Failure: r.failed, Temperature: 1,
	}
	if len(r.kept.rows) == 0 || r.failed != nil {
		return out
	}
	out.Temperature = metrics.FitTemperature(t.answers(r.kept.rows, 1))
	rows := t.answers(r.kept.rows, out.Temperature)
	out.AbstainBelow = abstainBelow(rows, t.job.Recipe.AbstainTarget)
	if report, err := metrics.Evaluate(t.names(), rows); err == nil { // the same rows have been judged before
		out.Report = report
	}
	return out
}

// compare tells which of two runs is better, above 0 for the first.
func compare(a, b *RunResult) int {
	if a.Report == nil || b.Report == nil {
		return 0
	}
	return cmp.Or(cmp.Compare(a.Report.MacroF1, b.Report.MacroF1),
		cmp.Compare(b.Epochs[b.Kept-1].ValidationLoss, a.Epochs[a.Kept-1].ValidationLoss))
}

// abstainBelow is the smallest threshold at which the answers that are left are as
// right as the target says; 0 where there is no target or no threshold reaches it.
func abstainBelow(rows []metrics.Row, target float64) float64 {
	if target == 0 {
		return 0
	}
	type answer struct {
		p     float64
		right bool
	}
	answers := make([]answer, len(rows))
	right := 0
	for i, r := range rows {
		best := 0
		for j, p := range r.Probs {
			if p > r.Probs[best] {
				best = j
			}
		}
		answers[i] = answer{r.Probs[best], best == r.Truth}
		if answers[i].right {
			right++
		}
	}
	slices.SortFunc(answers, func(a, b answer) int { return cmp.Compare(a.p, b.p) })
	for i, a := range answers {
		if isNew := i == 0 || a.p != answers[i-1].p; isNew && float64(right) >= target*float64(len(answers)-i) {
			if i == 0 {
				return 0
			}
			return a.p
		}
		if a.right {
			right--
		}
	}
	return 0
}
