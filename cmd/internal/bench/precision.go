package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"

	"valence/adapters"
	"valence/runtime/engine"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
	"valence/runtime/tokenizer"
	"valence/runtime/train/metrics"
)

// precisions are what a CPU can be told to compute in.
var precisions = []string{"float32", "float16", "bfloat16", "int8"}

// precisionNeeds bound how far a type may be from float32: in label log-probabilities, at
// most, and in macro-F1 on the labelled texts, in points.
var precisionNeeds = []struct {
	dtype    string
	logProbs float64
	points   float64
}{{"float16", 2e-3, 0.2}, {"int8", 3e-2, 0.5}}

func logProbBar(dtype string) string {
	return dtype + ", largest difference of a label's log-probability from float32"
}
func pointsBar(dtype string) string {
	return dtype + ", difference of macro-F1 from float32"
}
func isolationBar(dtype string) string {
	return dtype + ", isolation: a row alone against in a batch of other adapters"
}

// isolationNeed is the most that a log-probability may differ, in every type: what the
// order of additions in float32 leaves. A type that rounds numbers on the way must not let
// a row's company decide to which side.
const isolationNeed = 1e-4

func precisionQuestion() (*Question, asker) {
	q := &Question{Name: "precision", Title: "answers of the builtin base in each type, beside float32's"}
	for _, n := range precisionNeeds {
		q.Bars = append(q.Bars, &Bar{Name: logProbBar(n.dtype), Need: n.logProbs, AtMost: true, Unit: "nats"},
			&Bar{Name: pointsBar(n.dtype), Need: n.points, AtMost: true, Unit: "points"})
	}
	for _, dtype := range precisions {
		q.Bars = append(q.Bars, &Bar{Name: isolationBar(dtype), Need: isolationNeed, AtMost: true, Unit: "nats"})
	}
	return q, askPrecision
}

// opinions are what a type makes of all texts.
type opinions struct {
	logProbs [][]float64 // of each text, of each label
	apart    float64     // isolation: the largest difference
	report   *metrics.Report
}

func askPrecision(ctx context.Context, r *run, q *Question) error {
	labelled := r.o.Labelled
	texts := makeTexts(500, 5)
	if len(labelled) == 0 {
		q.note("texts are 500 made-up ones; --labelled FILE takes yours, and measures macro-F1 too")
	} else {
		texts = texts[:0]
		for _, l := range labelled {
			texts = append(texts, l.Text)
		}
		q.note(fmt.Sprintf("texts are the %d labelled ones", len(texts)))
	}
	var plain *opinions
	for _, dtype := range precisions {
		o, err := r.opinions(ctx, dtype, texts)
		if err != nil {
			return fmt.Errorf("%s: %w", dtype, err)
		}
		if plain == nil {
			plain = o
		}
		q.tellPrecision(dtype, plain, o)
	}
	for _, b := range q.Bars {
		if b.Unit == "points" && len(labelled) == 0 {
			b.Why = "it takes labelled texts (--labelled FILE)"
		}
	}
	return nil
}

// tellPrecision adds what a type's opinions are beside float32's.
func (q *Question) tellPrecision(dtype string, plain, o *opinions) {
	has := func(bar string) bool { return slices.ContainsFunc(q.Bars, func(b *Bar) bool { return b.Name == bar }) }
	q.figure(isolationBar(dtype), o.apart)
	if o.report != nil {
		q.add(dtype+", macro-F1", "points", 100*o.report.MacroF1)
		if has(pointsBar(dtype)) {
			q.figure(pointsBar(dtype), 100*math.Abs(o.report.MacroF1-plain.report.MacroF1))
		}
	}
	if o == plain {
		return
	}
	differ := differences(plain.logProbs, o.logProbs)
	q.add(dtype+", 99 % of differences are at most", "nats", quantile(differ, 0.99))
	q.add(dtype+", largest difference", "nats", slices.Max(differ))
	if has(logProbBar(dtype)) {
		q.figure(logProbBar(dtype), slices.Max(differ))
	}
}

// differences are those of every label of every text.
func differences(a, b [][]float64) []float64 {
	var out []float64
	for i := range a {
		for j := range a[i] {
			out = append(out, math.Abs(a[i][j]-b[i][j]))
		}
	}
	return out
}

func (r *run) opinions(ctx context.Context, dtype string, texts []string) (o *opinions, err error) {
	base, _, err := r.small()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	m, err := r.load(ctx, base, dtype)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx))) }()
	a, err := newAsked(base, m)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.engine.Close(context.WithoutCancel(ctx))) }()
	o = &opinions{}
	task, err := a.task(nil)
	if err != nil {
		return nil, err
	}
	r.doing("answering %d texts in %s", len(texts), dtype)
	if o.logProbs, err = a.logProbs(ctx, texts, func(int) *engine.Task { return task }); err != nil {
		return nil, err
	}
	if len(r.o.Labelled) > 0 {
		if o.report, err = a.evaluate(r.o.Labelled, o.logProbs); err != nil {
			return nil, err
		}
	}
	o.apart, err = a.isolation(ctx, base.Config, texts[:min(crowd, len(texts))])
	return o, err
}

// asked is an engine over a model, with the base's own labels.
type asked struct {
	engine *engine.Engine
	side   adapters.Sidecar
}

func newAsked(base *checkpoint.Checkpoint, model engine.Runner) (*asked, error) {
	side, err := adapters.ParseSidecar(base.Sidecar)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.Parse(base.Tokenizer)
	if err != nil {
		return nil, err
	}
	return &asked{engine.New(model, tok, engine.Options{CacheBytes: -1}, slog.New(slog.DiscardHandler)), side}, nil
}

// task is the base's with vectors; nil is the base itself.
func (a *asked) task(vectors *spec.Vectors) (*engine.Task, error) {
	return a.engine.NewTask(a.side.TaskSpec(vectors))
}

// ask is how many rows go to the engine at once.
const ask = 256

func (a *asked) logProbs(ctx context.Context, texts []string, task func(row int) *engine.Task) ([][]float64, error) {
	var out [][]float64
	for part := range slices.Chunk(texts, ask) {
		var rows []engine.Request
		for _, text := range part {
			rows = append(rows, engine.Request{Text: text, Task: task(len(out) + len(rows)), Truncate: true})
		}
		outcomes, err := a.engine.Predict(ctx, rows)
		if err != nil {
			return nil, err
		}
		for _, o := range outcomes {
			if o.Err != nil {
				return nil, o.Err
			}
			out = append(out, o.LogProbs)
		}
	}
	return out, nil
}

func (a *asked) evaluate(labelled []Labelled, logProbs [][]float64) (*metrics.Report, error) {
	var names []string
	for _, l := range a.side.Labels {
		names = append(names, l.Name)
	}
	var rows []metrics.Row
	for i, l := range labelled {
		row := metrics.Row{Truth: slices.Index(names, l.Label)}
		if row.Truth < 0 {
			return nil, fmt.Errorf("labelled row %d: the label %q is not one of %q", i+1, l.Label, names)
		}
		for _, lp := range logProbs[i] {
			row.Probs = append(row.Probs, math.Exp(lp))
		}
		rows = append(rows, row)
	}
	return metrics.Evaluate(names, rows)
}

// isolation reads each text with an adapter of its own, all together and each alone, and
// gives the largest difference.
func (a *asked) isolation(ctx context.Context, config *spec.Config, texts []string) (float64, error) {
	vectors, err := makeAdapters(config, len(texts), 13)
	if err != nil {
		return 0, err
	}
	tasks := make([]*engine.Task, len(texts))
	for i, v := range vectors {
		if tasks[i], err = a.task(v); err != nil {
			return 0, err
		}
	}
	together, err := a.logProbs(ctx, texts, func(row int) *engine.Task { return tasks[row] })
	if err != nil {
		return 0, err
	}
	worst := 0.0
	for i, text := range texts {
		alone, err := a.logProbs(ctx, []string{text}, func(int) *engine.Task { return tasks[i] })
		if err != nil {
			return 0, err
		}
		worst = max(worst, slices.Max(differences(alone, together[i:i+1])))
	}
	return worst, nil
}
