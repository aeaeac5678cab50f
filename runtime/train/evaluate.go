package train

import (
	"cmp"
	"context"
	"math"
	"slices"

	"valence/runtime/mt5/spec"
	"valence/runtime/train/metrics"
)

// judged is one validation row's evaluation.
type judged struct {
	row     int
	loss    float64 // sum over the parts of the row
	written bool
	probs   []float64 // of the labels, at temperature 1; nil where they are not finite
}

// evaluate judges the next micro-batch of the active runs' validation rows and, after
// the last, ends the epoch.
func (t *Trainer) evaluate(ctx context.Context) ([]Event, error) {
	if t.pending == nil {
		t.pending = t.questions()
	}
	if left := t.pending[len(t.judged):]; len(left) > 0 {
		batch := left[:t.fits(left, cost(left))]
		verdicts, err := t.model.Judge(ctx, t.lesson(batch))
		if err != nil {
			return nil, err
		}
		for i, p := range batch {
			t.judged = append(t.judged, t.opinion(p, verdicts[i]))
		}
		if len(t.judged) < len(t.pending) {
			return nil, nil
		}
	}
	events := t.endEpoch()
	t.phase, t.pending, t.judged = learning, nil, nil
	t.epoch++
	return events, nil
}

// questions are the validation rows of all active runs, longest first.
func (t *Trainer) questions() []pupil {
	var out []pupil
	for _, r := range t.runs {
		if !r.active() {
			continue
		}
		for _, i := range r.validation {
			out = append(out, pupil{r, i, spec.LessonRow{IDs: t.rows[i].ids, Run: r.number, Choices: t.asked(i)}})
		}
	}
	slices.SortStableFunc(out, func(a, b pupil) int { return cmp.Compare(len(b.IDs), len(a.IDs)) })
	return out
}

// asked are the trie's nodes, for the labels' probabilities, and for Seq2Seq the
// tokens of the label.
func (t *Trainer) asked(row int) []spec.Choice {
	var out []spec.Choice
	for _, n := range t.trie.Nodes {
		out = append(out, spec.Choice{Prefix: n.Prefix, Among: n.Next})
	}
	if t.job.Recipe.Objective == Seq2Seq {
		out = append(out, t.targets[t.rows[row].label].spoken...)
	}
	return out
}

// opinion reads the verdicts on what asked has asked.
func (t *Trainer) opinion(p pupil, v []spec.Verdict) judged {
	nodes := len(t.trie.Nodes)
	children := make([][]float32, nodes)
	for i := range children {
		children[i] = v[i].LogProbs
	}
	logProbs := t.trie.LogProbs(children)
	j := judged{row: p.row, probs: make([]float64, len(logProbs))}
	for i, lp := range logProbs {
		j.probs[i] = math.Exp(lp)
	}
	if slices.ContainsFunc(j.probs, func(p float64) bool { return !isFinite(p) }) {
		j.probs = nil
	}
	if t.job.Recipe.Objective == LabelTrie {
		j.loss = -logProbs[t.rows[p.row].label]
		return j
	}
	j.written = true
	for i, token := range v[nodes:] {
		j.loss += float64(token.Loss)
		j.written = j.written && token.Best == p.Choices[nodes+i].Truth
	}
	return j
}

// endEpoch evaluates every active run and ends those that are through.
func (t *Trainer) endEpoch() []Event {
	of := make([][]judged, len(t.runs))
	for i, p := range t.pending {
		of[p.run.number] = append(of[p.run.number], t.judged[i])
	}
	var events []Event
	for i, r := range t.runs {
		if r.active() {
			events = append(events, t.close(r, of[i])...)
		}
	}
	return events
}

// close ends an epoch of one run.
func (t *Trainer) close(r *run, rows []judged) []Event {
	slices.SortFunc(rows, func(a, b judged) int { return cmp.Compare(a.row, b.row) })
	e := Epoch{Epoch: t.epoch + 1, TrainLoss: r.lossSum / float64(max(r.losses, 1))}
	r.lossSum, r.losses = 0, 0
	if f := t.score(&e, rows); f != nil {
		f.Step = r.step
		r.fail(f)
		return []Event{{Kind: Failed, Run: r.number, Failure: f}}
	}
	r.epochs = append(r.epochs, e)
	t.keep(r, &e, rows)
	events := []Event{{Kind: Evaluated, Run: r.number, Loss: e.TrainLoss, Epoch: &e}}
	switch patience := t.job.Recipe.EarlyStop; {
	case e.Epoch >= t.job.Recipe.Epochs:
		r.end(Finished)
	case patience > 0 && r.waiting >= patience:
		r.end(Stopped)
	default:
		return events
	}
	return append(events, Event{Kind: r.ended, Run: r.number})
}

// keep remembers the vectors as those that the run gives: always, or with early stop
// if they are the best so far.
func (t *Trainer) keep(r *run, e *Epoch, rows []judged) {
	if t.job.Recipe.EarlyStop > 0 && !r.better(e) {
		r.waiting++
		return
	}
	r.waiting = 0
	r.kept = kept{e.Epoch, r.live.Load(), rows}
}

// score fills in what the validation rows tell.
func (t *Trainer) score(e *Epoch, rows []judged) *Failure {
	if len(rows) == 0 {
		return nil
	}
	parts, written := 0.0, 0
	for _, j := range rows {
		e.ValidationLoss += j.loss
		parts += t.parts(j.row)
		if j.written {
			written++
		}
		if !isFinite(j.loss) || j.probs == nil {
			return &Failure{Rows: []int{t.rows[j.row].at}, Validation: true, Reason: "a validation loss is not finite; lower the learning rate"}
		}
	}
	e.ValidationLoss /= parts
	e.Perplexity = math.Exp(e.ValidationLoss)
	e.Written = float64(written) / float64(len(rows))
	report, err := metrics.Evaluate(t.names(), t.answers(rows, 1))
	if err != nil {
		return &Failure{Validation: true, Reason: err.Error()}
	}
	e.Report = report
	return nil
}

func (t *Trainer) names() []string {
	names := make([]string, len(t.labels))
	for i, l := range t.labels {
		names[i] = l.Name
	}
	return names
}

// answers are rows for metrics, at a temperature.
func (t *Trainer) answers(rows []judged, temperature float64) []metrics.Row {
	out := make([]metrics.Row, len(rows))
	for i, j := range rows {
		out[i] = metrics.Row{Truth: t.rows[j.row].label, Probs: temper(j.probs, temperature)}
	}
	return out
}

// temper makes probabilities proportional to p^(1/temperature), as serving does.
func temper(probs []float64, temperature float64) []float64 {
	out := make([]float64, len(probs))
	top := slices.Max(probs)
	sum := 0.0
	for i, p := range probs {
		out[i] = math.Pow(p/top, 1/temperature)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}
