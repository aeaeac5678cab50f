package adapters

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"valence/runtime/engine"
)

var _ Predictor = (*engine.Engine)(nil)

type fakePredictor func(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error)

func (f fakePredictor) Predict(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error) {
	return f(ctx, reqs)
}

func scored(good float64) engine.Outcome {
	return engine.Outcome{Result: engine.Result{
		Labels:   []string{"bad", "good"},
		LogProbs: []float64{math.Log(1 - good), math.Log(good)},
	}}
}

func TestCheckCanaries(t *testing.T) {
	entry := &Entry{ID: "zoo", Task: &engine.Task{}, Sidecar: Sidecar{Canary: []Canary{
		{"first", map[string]float64{"bad": 0.9, "good": 0.1}},
		{"second", map[string]float64{"bad": 0.2, "good": 0.8}},
	}}}
	boom := errors.New("boom")
	tests := []struct {
		name     string
		outcomes []engine.Outcome
		fails    error
		err      error
		says     string
	}{
		{"as recorded", []engine.Outcome{scored(0.1), scored(0.8)}, nil, nil, ""},
		{"within the tolerance", []engine.Outcome{scored(0.1049), scored(0.7951)}, nil, nil, ""},
		{"beyond the tolerance", []engine.Outcome{scored(0.1), scored(0.7949)}, nil, ErrCanary, `zoo: row 1 ("second"): label "bad" has probability 0.205100; 0.200000 is recorded`},
		{"NaN", []engine.Outcome{scored(math.NaN()), scored(0.8)}, nil, ErrCanary, `row 0 ("first")`},
		{"a row fails", []engine.Outcome{scored(0.1), {Err: boom}}, nil, ErrCanary, `row 1 ("second"): boom`},
		{"the engine fails", nil, engine.ErrBusy, engine.ErrBusy, "canaries of zoo"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := fakePredictor(func(_ context.Context, reqs []engine.Request) ([]engine.Outcome, error) {
				if len(reqs) != 2 || reqs[0].Text != "first" || reqs[1].Task != entry.Task {
					t.Errorf("asked %+v", reqs)
				}
				return tt.outcomes, tt.fails
			})
			err := entry.CheckCanaries(context.Background(), p, CanaryTolerance("float32"))
			if !errors.Is(err, tt.err) || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
			if tt.fails != nil && errors.Is(err, ErrCanary) {
				t.Error("a busy engine condemns the adapter")
			}
		})
	}
}

func TestCheckCanariesWithout(t *testing.T) {
	p := fakePredictor(func(context.Context, []engine.Request) ([]engine.Outcome, error) {
		t.Error("the engine was asked")
		return nil, nil
	})
	if err := (&Entry{Sidecar: DefaultSidecar()}).CheckCanaries(context.Background(), p, 0); err != nil {
		t.Error(err)
	}
}

func TestCanaryTolerance(t *testing.T) {
	p := fakePredictor(func(context.Context, []engine.Request) ([]engine.Outcome, error) {
		return []engine.Outcome{scored(0.14)}, nil
	})
	for _, tt := range []struct {
		server, recorded float64
		ok               bool
	}{
		{CanaryTolerance("float32"), 0, false}, {CanaryTolerance("float16"), 0, false}, {CanaryTolerance("bfloat16"), 0, false},
		{CanaryTolerance("int8"), 0, true}, {CanaryTolerance("float32"), 0.05, true}, {CanaryTolerance("float32"), 0.03, false},
	} {
		e := &Entry{ID: "zoo", Task: &engine.Task{}, Sidecar: Sidecar{
			Canary:          []Canary{{"first", map[string]float64{"bad": 0.9, "good": 0.1}}},
			CanaryTolerance: tt.recorded,
		}}
		if err := e.CheckCanaries(t.Context(), p, tt.server); (err == nil) != tt.ok {
			t.Errorf("%+v: got %v", tt, err)
		}
	}
}
