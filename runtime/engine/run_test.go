package engine

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"valence/runtime/mt5/spec"
)

// gate is a runner that holds its first batch until it is opened, so that the
// rows sent meanwhile queue up. It keeps what it was given.
type gate struct {
	fakeRunner
	open    chan struct{}
	mu      sync.Mutex
	batches [][]int // token counts of the rows of each batch
}

func newGate(r fakeRunner) *gate {
	g := &gate{open: make(chan struct{})}
	enter := func(ctx context.Context, b *spec.Batch) error {
		g.mu.Lock()
		var n []int
		for _, ids := range b.IDs {
			n = append(n, len(ids))
		}
		g.batches = append(g.batches, n)
		g.mu.Unlock()
		select {
		case <-g.open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	g.score = func(ctx context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error) {
		if err := enter(ctx, b); err != nil {
			return nil, err
		}
		return r.score(ctx, b, probes)
	}
	g.generate = func(ctx context.Context, b *spec.Batch, maxNew int) ([][]int32, error) {
		if err := enter(ctx, b); err != nil {
			return nil, err
		}
		return r.generate(ctx, b, maxNew)
	}
	return g
}

// together gives the outcomes of requests that ran in one batch, one caller each.
func together(t *testing.T, r fakeRunner, o Options, reqs func(e *Engine) []Request) ([]Outcome, *gate) {
	t.Helper()
	var out []Outcome
	var g *gate
	synctest.Test(t, func(t *testing.T) {
		g = newGate(r)
		e := start(t, g, o)
		blocker := Request{Text: "blocker", Task: task(t, e, sentiments())}
		go e.Predict(t.Context(), []Request{blocker})
		synctest.Wait()
		all := reqs(e)
		out = make([]Outcome, len(all))
		var wg sync.WaitGroup
		for i, req := range all {
			wg.Go(func() { out[i] = one(t, e, req) })
			synctest.Wait() // so that they queue in order
		}
		close(g.open)
		wg.Wait()
	})
	return out, g
}

func TestAdaptersShareABatch(t *testing.T) {
	var reqs []Request
	out, g := together(t, hashed(), Options{}, func(e *Engine) []Request {
		s := sentiments()
		for i, text := range []string{"a b c", "a b c", "d e f", "a b c d"} {
			s.Vectors = nil
			if i > 0 {
				s.Vectors = vectors(t, float32(i))
			}
			reqs = append(reqs, Request{Text: text, Task: task(t, e, s)})
		}
		return reqs
	})
	if want := [][]int{{4, 4, 4, 5}}; !reflect.DeepEqual(g.batches[1:], want) {
		t.Errorf("batches %v", g.batches)
	}
	for i, o := range out {
		want := expected(t, reqs[i])
		if o.Err != nil || !slices.Equal(o.LogProbs, want) {
			t.Errorf("row %d: %v, want %v (%v)", i, o.LogProbs, want, o.Err)
		}
	}
	if slices.Equal(out[0].LogProbs, out[1].LogProbs) {
		t.Error("the adapter has no effect")
	}
}

// expected computes a scored row's answer from the model's definition.
func expected(t testing.TB, req Request) []float64 {
	t.Helper()
	tr, err := req.Task.trieOf(req.Labels)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := encodeWords(req.Text, userText)
	if err != nil {
		t.Fatal(err)
	}
	b := &spec.Batch{IDs: [][]int32{enc.IDs}, Adapters: []*spec.Vectors{req.Task.vectors}}
	logits, _ := scoreHashed(context.Background(), b, tr.appendProbes(nil, 0))
	want, err := tr.logProbs(logits, req.Task.temperature)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func TestOneBadRowFailsAlone(t *testing.T) {
	poison := ids(t, "poison")
	boom := errors.New("boom")
	tests := []struct {
		name string
		bad  func(b *spec.Batch, row int, out *[][]float32) error
		err  error
		says string
	}{
		{"error", func(*spec.Batch, int, *[][]float32) error { return boom }, boom, "boom"},
		{"panic", func(*spec.Batch, int, *[][]float32) error { panic("at the disco") }, ErrRun, "at the disco"},
		{"too few answers", func(_ *spec.Batch, _ int, out *[][]float32) error { *out = nil; return nil }, ErrRun, "answered 0 of"},
		{"too few logits", func(_ *spec.Batch, i int, out *[][]float32) error { (*out)[i] = nil; return nil }, ErrRun, "0 logits for the 3"},
		{"NaN", func(_ *spec.Batch, i int, out *[][]float32) error {
			(*out)[i][1] = float32(math.NaN())
			return nil
		}, ErrNonFinite, "NaN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := hashed()
			r.score = func(ctx context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error) {
				out, err := scoreHashed(ctx, b, probes)
				for i := range b.IDs {
					if slices.Equal(b.IDs[i], poison) {
						err = tt.bad(b, i, &out)
					}
				}
				return out, err
			}
			var reqs []Request
			out, g := together(t, r, Options{}, func(e *Engine) []Request {
				tk := task(t, e, sentiments())
				for _, text := range []string{"fine", "poison", "good"} {
					reqs = append(reqs, Request{Text: text, Task: tk})
				}
				return reqs
			})
			if len(g.batches[1]) != 3 {
				t.Fatalf("batches %v", g.batches)
			}
			for _, i := range []int{0, 2} {
				if out[i].Err != nil || !slices.Equal(out[i].LogProbs, expected(t, reqs[i])) {
					t.Errorf("row %d: %+v", i, out[i])
				}
			}
			if !errors.Is(out[1].Err, tt.err) || !strings.Contains(out[1].Err.Error(), tt.says) || out[1].LogProbs != nil {
				t.Errorf("the bad row: %+v", out[1])
			}
		})
	}
}

// TestGenerateNamesTheLabel that the model wrote, and none for other texts or for
// the beginning of a verbaliser.
func TestGenerateNamesTheLabel(t *testing.T) {
	for _, tt := range []struct {
		writes string
		limit  int
		want   string
	}{{"very good", 9, "positive"}, {"very", 9, ""}, {"very good", 1, ""}, {"bad", 9, "negative"}, {"nothing of all", 9, ""}} {
		runner := fakeRunner{generate: func(context.Context, *spec.Batch, int) ([][]int32, error) {
			return [][]int32{ids(t, tt.writes)}, nil
		}}
		e := start(t, runner, Options{})
		tk := task(t, e, TaskSpec{Labels: []Label{{"negative", "bad"}, {"positive", "very good"}}, Temperature: 1})
		out, err := e.Predict(t.Context(), []Request{{Text: "a", Task: tk, Mode: ModeGenerate, MaxNewTokens: tt.limit}})
		if err != nil || out[0].Err != nil || out[0].Written != tt.want {
			t.Errorf("%q: label %q, want %q (%v, %v)", tt.writes, out[0].Written, tt.want, err, out[0].Err)
		}
	}
}

func TestGenerate(t *testing.T) {
	var reqs []Request
	out, g := together(t, hashed(), Options{}, func(e *Engine) []Request {
		tk := task(t, e, sentiments())
		for _, n := range []int{0, 1, 12, MaxNewTokens} {
			reqs = append(reqs, Request{Text: "a b", Task: tk, Mode: ModeGenerate, MaxNewTokens: n})
		}
		return append(reqs, Request{Text: "a b", Task: tk})
	})
	if len(g.batches) != 3 || len(g.batches[1]) != 4 || len(g.batches[2]) != 1 {
		t.Fatalf("batches %v", g.batches)
	}
	b := &spec.Batch{IDs: [][]int32{ids(t, "a b")}, Adapters: make([]*spec.Vectors, 1)}
	for i, limit := range []int{DefaultNewTokens, 1, 12, MaxNewTokens} {
		alone, _ := generateHashed(t.Context(), b, limit)
		if want := decodeIDs(alone[0], true); out[i].Err != nil || out[i].Generated != want || out[i].Labels != nil {
			t.Errorf("limit %d: %q, want %q (%v)", limit, out[i].Generated, want, out[i].Err)
		}
	}
}

func TestGenerateChecksTheRunner(t *testing.T) {
	r := hashed()
	r.generate = func(context.Context, *spec.Batch, int) ([][]int32, error) { return nil, nil }
	e := start(t, r, Options{})
	o := one(t, e, Request{Text: "a", Task: task(t, e, sentiments()), Mode: ModeGenerate})
	if !errors.Is(o.Err, ErrRun) || !strings.Contains(o.Err.Error(), "0 of 1 rows") {
		t.Errorf("got %v", o.Err)
	}
}

func TestRequestsRefused(t *testing.T) {
	e := start(t, hashed(), Options{})
	tk := task(t, e, sentiments())
	for _, tt := range []struct {
		req  Request
		err  error
		says string
	}{
		{Request{Text: "a"}, ErrInvalidRequest, "no task"},
		{Request{Text: "a", Task: tk, Mode: "guess"}, ErrInvalidRequest, `mode is "guess"`},
		{Request{Text: "a", Task: tk, Mode: ModeGenerate, MaxNewTokens: 65}, ErrInvalidRequest, "max_new_tokens is 65"},
		{Request{Text: "a", Task: tk, Mode: ModeGenerate, MaxNewTokens: -1}, ErrInvalidRequest, "max_new_tokens is -1"},
		{Request{Text: "a", Task: tk, Mode: ModeGenerate, Labels: []string{"neutral"}}, ErrInvalidRequest, "labels"},
		{Request{Text: "a", Task: tk, Labels: []string{"sad", "neutral"}}, ErrUnknownLabel, `"sad"`},
	} {
		out, err := e.Predict(t.Context(), []Request{{Text: "b", Task: tk}, tt.req})
		if err != nil || out[0].Err != nil {
			t.Fatalf("%v, %v", err, out[0].Err)
		}
		if !errors.Is(out[1].Err, tt.err) || !strings.Contains(out[1].Err.Error(), tt.says) {
			t.Errorf("%+v: %v", tt.req, out[1].Err)
		}
	}
}

func TestPredictNothing(t *testing.T) {
	out, err := start(t, hashed(), Options{}).Predict(t.Context(), nil)
	if err != nil || len(out) != 0 {
		t.Errorf("got %v, %v", out, err)
	}
}

func TestSubsetOfLabels(t *testing.T) {
	e := start(t, hashed(), Options{})
	req := Request{Text: "a b", Task: task(t, e, sentiments()), Labels: []string{"positive", "negative"}}
	o := one(t, e, req)
	if o.Err != nil || !slices.Equal(o.Labels, []string{"negative", "positive"}) || !slices.Equal(o.LogProbs, expected(t, req)) {
		t.Errorf("got %+v", o)
	}
}
