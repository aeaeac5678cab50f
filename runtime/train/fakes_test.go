package train

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"valence/runtime/mt5/spec"
)

// fakeModel is a Model made of funcs.
type fakeModel struct {
	learn func(ctx context.Context, l *spec.Lesson) (*spec.Gradient, error)
	judge func(ctx context.Context, l *spec.Lesson) ([][]spec.Verdict, error)
}

func (f *fakeModel) Learn(ctx context.Context, l *spec.Lesson) (*spec.Gradient, error) {
	return f.learn(ctx, l)
}

func (f *fakeModel) Judge(ctx context.Context, l *spec.Lesson) ([][]spec.Verdict, error) {
	return f.judge(ctx, l)
}

// Sizes of the linear model.
const (
	elements   = 30
	vocabulary = 60
)

var sites = []spec.Site{{Module: "a", Size: 20}, {Module: "b", Size: 10}}

// linearModel reads a token's logit linearly off the vectors: the features are
// cosines that depend on the token, the prefix and the text. A row's key moves its
// features a little, as dropout would.
func linearModel() *fakeModel {
	return &fakeModel{
		learn: func(ctx context.Context, l *spec.Lesson) (*spec.Gradient, error) {
			g := &spec.Gradient{Runs: make([][]float32, len(l.Vectors))}
			for _, row := range l.Rows {
				if g.Runs[row.Run] == nil {
					g.Runs[row.Run] = make([]float32, elements)
				}
				var losses []float32
				for _, c := range row.Choices {
					probs, slopes := answer(l, row, c)
					losses = append(losses, float32(-math.Log(probs[c.Truth])))
					for i, s := range slopes {
						g.Runs[row.Run][i] += c.Weight * float32(s)
					}
				}
				g.Losses = append(g.Losses, losses)
			}
			return g, context.Cause(ctx)
		},
		judge: func(ctx context.Context, l *spec.Lesson) ([][]spec.Verdict, error) {
			var out [][]spec.Verdict
			for _, row := range l.Rows {
				var verdicts []spec.Verdict
				for _, c := range row.Choices {
					probs, _ := answer(l, row, c)
					v := spec.Verdict{Loss: float32(-math.Log(probs[c.Truth])), Best: slices.Index(probs, slices.Max(probs))}
					for _, p := range probs {
						if c.Among != nil {
							v.LogProbs = append(v.LogProbs, float32(math.Log(p)))
						}
					}
					verdicts = append(verdicts, v)
				}
				out = append(out, verdicts)
			}
			return out, context.Cause(ctx)
		},
	}
}

// answer gives the probabilities of a choice's tokens and the slope of its loss.
func answer(l *spec.Lesson, row spec.LessonRow, c spec.Choice) (probs, slopes []float64) {
	among := c.Among
	if among == nil {
		for id := range int32(vocabulary) {
			among = append(among, id)
		}
	}
	features := make([][elements]float64, len(among))
	sum := 0.0
	for k, id := range among {
		logit := 0.0
		for i := range elements {
			for _, word := range row.IDs[:min(len(row.IDs), 2)] {
				features[k][i] += math.Cos(float64(word*id) + float64(len(c.Prefix)*7+i*i))
			}
			features[k][i] += l.Dropout * float64(row.Key%1000) / 1000
			logit += features[k][i] * float64(l.Vectors[row.Run][i])
		}
		probs = append(probs, math.Exp(logit/4))
		sum += probs[k]
	}
	slopes = make([]float64, elements)
	for k := range probs {
		probs[k] /= sum
		for i := range slopes {
			slopes[i] += probs[k] * features[k][i] / 4
		}
	}
	for i := range slopes {
		slopes[i] -= features[c.Truth][i] / 4
	}
	return probs, slopes
}

// testData is rows of three labels, told by one of their tokens.
func testData(n int) Data {
	d := Data{Labels: []Label{{"bad", "20 30"}, {"fair", "40"}, {"good", "50"}}}
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range n {
		label := rng.IntN(3)
		text := fmt.Sprint(3 + label)
		for range rng.IntN(6) {
			text += fmt.Sprint(" ", 6+rng.IntN(50))
		}
		d.Examples = append(d.Examples, Example{Text: fmt.Sprint(text, " ", 100+i), Label: d.Labels[label].Name, Row: i + 2})
	}
	return d
}

// testJob is small: two epochs of six steps.
func testJob(change func(r *Recipe)) Job {
	r := DefaultRecipe()
	r.Epochs, r.BatchSize, r.MicroTokens, r.Validation, r.LearningRate = 2, 5, 72, 0.25, 0.02
	if change != nil {
		change(&r)
	}
	return Job{Recipe: r, Data: testData(40), Base: "sha256:base", Sites: sites}
}

func mustOpen(t *testing.T, job Job, m Model) *Trainer {
	t.Helper()
	tr, err := Open(job, m, wordTokenizer{})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// finish runs a trainer to its end and gives all events.
func finish(t *testing.T, tr *Trainer) (events []Event) {
	t.Helper()
	done, err := tr.Run(t.Context(), nil, func(e Event) { events = append(events, e) })
	if err != nil || !done {
		t.Fatalf("%v, %v", done, err)
	}
	return events
}

// sameResult wants the same bits.
func sameResult(t *testing.T, got, want *Result) {
	t.Helper()
	if got.Best != want.Best || len(got.Runs) != len(want.Runs) {
		t.Fatalf("best is %d of %d runs, want %d of %d", got.Best, len(got.Runs), want.Best, len(want.Runs))
	}
	for i := range got.Runs {
		a, b := got.Runs[i], want.Runs[i]
		if !slices.Equal(a.Vectors.Data, b.Vectors.Data) {
			t.Errorf("run %d: the vectors differ", i)
		}
		if a.Temperature != b.Temperature || a.AbstainBelow != b.AbstainBelow || a.Kept != b.Kept || a.Steps != b.Steps || (a.Failure == nil) != (b.Failure == nil) {
			t.Errorf("run %d: %+v, want %+v", i, a, b)
		}
		if len(a.Epochs) != len(b.Epochs) {
			t.Fatalf("run %d: %d epochs, want %d", i, len(a.Epochs), len(b.Epochs))
		}
		for k := range a.Epochs {
			x, y := a.Epochs[k], b.Epochs[k]
			if x.TrainLoss != y.TrainLoss || x.ValidationLoss != y.ValidationLoss || x.Written != y.Written || !reflect.DeepEqual(x.Report, y.Report) {
				t.Errorf("run %d, epoch %d: %+v, want %+v", i, k+1, x, y)
			}
		}
	}
}
