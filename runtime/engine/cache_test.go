package engine

import (
	"context"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"valence/runtime/mt5/spec"
)

// named are sentiments whose answers may be kept.
func named(digest string) TaskSpec {
	s := sentiments()
	s.Digest = digest
	return s
}

// counting gives an engine and how many rows of which lengths have run.
func counting(t *testing.T, o Options) (e *Engine, g *gate) {
	t.Helper()
	g = newGate(hashed())
	close(g.open)
	return start(t, g, o), g
}

func answerOf(t *testing.T, o Outcome) Result {
	t.Helper()
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	o.Timings = Timings{}
	return o.Result
}

func TestKnownAnswersAreGivenAgain(t *testing.T) {
	e, g := counting(t, Options{})
	tk, other := task(t, e, named("a")), task(t, e, named("b"))
	cool := sentiments()
	cool.Digest, cool.Temperature = "c", 2
	ask := Request{Text: "some words here", Task: tk}
	for _, tt := range []struct {
		name string
		req  Request
		runs int // in all
	}{
		{"first", ask, 1},
		{"again", ask, 1},
		{"the same task compiled anew", Request{Text: ask.Text, Task: task(t, e, named("a"))}, 1},
		{"other spaces, same tokens", Request{Text: "  some  words here", Task: tk}, 1},
		{"other text", Request{Text: "some words there", Task: tk}, 2},
		{"other adapter", Request{Text: ask.Text, Task: other}, 3},
		{"some labels", Request{Text: ask.Text, Task: tk, Labels: []string{"negative", "positive"}}, 4},
		{"some labels, in another order", Request{Text: ask.Text, Task: tk, Labels: []string{"positive", "negative"}}, 4},
		{"other labels", Request{Text: ask.Text, Task: tk, Labels: []string{"negative", "neutral"}}, 5},
		{"all labels by name", Request{Text: ask.Text, Task: tk, Labels: []string{"negative", "neutral", "positive"}}, 5},
		{"generated", Request{Text: ask.Text, Task: tk, Mode: ModeGenerate}, 6},
		{"generated again", Request{Text: ask.Text, Task: tk, Mode: ModeGenerate}, 6},
		{"generated shorter", Request{Text: ask.Text, Task: tk, Mode: ModeGenerate, MaxNewTokens: 2}, 7},
		{"fresh", Request{Text: ask.Text, Task: tk, Fresh: true}, 8},
		{"after fresh", ask, 8},
		{"no digest", Request{Text: ask.Text, Task: task(t, e, sentiments())}, 9},
		{"no digest again", Request{Text: ask.Text, Task: task(t, e, sentiments())}, 10},
		{"another temperature", Request{Text: ask.Text, Task: task(t, e, cool)}, 11},
	} {
		fresh := tt.req
		fresh.Fresh = true
		plain := start(t, hashed(), Options{CacheBytes: -1})
		want := answerOf(t, one(t, plain, fresh))
		if got := answerOf(t, one(t, e, tt.req)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, want)
		}
		if len(g.batches) != tt.runs {
			t.Errorf("%s: %d rows have run, want %d", tt.name, len(g.batches), tt.runs)
		}
	}
}

func TestKnownAnswersAreTheirCallersOwn(t *testing.T) {
	e, _ := counting(t, Options{})
	ask := Request{Text: "some words here", Task: task(t, e, named("a"))}
	first := answerOf(t, one(t, e, ask))
	want := slices.Clone(first.LogProbs)
	for range 2 {
		got := answerOf(t, one(t, e, ask)).LogProbs
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		clear(got)
		clear(first.LogProbs)
	}
}

func TestTruncatedRowsShareAnAnswerAndSaySo(t *testing.T) {
	e, g := counting(t, Options{MaxTokens: 4})
	tk := task(t, e, named("a"))
	whole := one(t, e, Request{Text: "a b c", Task: tk})
	cut := one(t, e, Request{Text: "a b c d e", Task: tk, Truncate: true})
	if len(g.batches) != 1 || whole.Truncated || !cut.Truncated || cut.Tokens != 4 {
		t.Errorf("%d runs, truncated %v and %v, %d tokens", len(g.batches), whole.Truncated, cut.Truncated, cut.Tokens)
	}
}

func TestErrorsAreNotKept(t *testing.T) {
	r := hashed()
	fail := true
	score := r.score
	r.score = func(ctx context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error) {
		out, err := score(ctx, b, probes)
		if fail {
			out[0][0] = float32(math.NaN())
		}
		return out, err
	}
	e := start(t, r, Options{})
	ask := Request{Text: "some words", Task: task(t, e, named("a"))}
	if o := one(t, e, ask); o.Err == nil {
		t.Fatal("no error")
	}
	fail = false
	if o := one(t, e, ask); o.Err != nil {
		t.Error(o.Err)
	}
}

func TestAnswersAreBoundedByBytes(t *testing.T) {
	const limit = 4000
	reg := prometheus.NewRegistry()
	e := start(t, hashed(), Options{CacheBytes: limit, Metrics: NewMetrics(reg)})
	tk := task(t, e, named("a"))
	for i := range 40 {
		one(t, e, Request{Text: strings.Repeat("x ", i+1), Task: tk})
		kept, sum := e.answers.kept, int64(0)
		for _, k := range kept.Keys() {
			r, _ := kept.Peek(k)
			sum += size(k, r)
		}
		if e.answers.bytes != sum || sum > limit || kept.Len() == 0 {
			t.Fatalf("%d answers of %d bytes, counted as %d; the limit is %d", kept.Len(), sum, e.answers.bytes, limit)
		}
	}
	if got := gathered(t, reg)["valence_engine_cache_bytes"]; got != float64(e.answers.bytes) {
		t.Errorf("exported %v bytes, have %d", got, e.answers.bytes)
	}
}

func TestNothingIsKeptWithoutRoom(t *testing.T) {
	e, g := counting(t, Options{CacheBytes: -1})
	ask := Request{Text: "some words", Task: task(t, e, named("a"))}
	for range 3 {
		one(t, e, ask)
	}
	if len(g.batches) != 3 {
		t.Errorf("%d rows have run", len(g.batches))
	}
}

// Rows that are the same run once: in one batch, and while another runs.
func TestTwinsRunOnce(t *testing.T) {
	for _, bytes := range []int64{0, -1} {
		out, g := together(t, hashed(), Options{BatchRows: 3, CacheBytes: bytes}, func(e *Engine) []Request {
			tk := task(t, e, named("a"))
			var reqs []Request
			for _, text := range []string{"one two", "one two", "three", "one two", "four five", "three"} {
				reqs = append(reqs, Request{Text: text, Task: tk})
			}
			return reqs
		})
		if want := [][]int{{3}, {3, 3, 3}}; !slices.EqualFunc(g.batches, want, func(a, b []int) bool {
			slices.Sort(a)
			slices.Sort(b)
			return slices.Equal(a, b)
		}) {
			t.Errorf("batches %v, want %v", g.batches, want)
		}
		for i, j := range []int{0, 0, 2, 0, 4, 2} {
			if !reflect.DeepEqual(answerOf(t, out[i]), answerOf(t, out[j])) {
				t.Errorf("rows %d and %d differ", i, j)
			}
		}
		out[0].LogProbs[0] = 7
		if out[1].LogProbs[0] == 7 {
			t.Error("twins share what a caller may change")
		}
	}
}

func TestARowThatWaitsIsAnsweredByOneThatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(hashed())
		e := start(t, g, Options{})
		ask := Request{Text: "one two", Task: task(t, e, named("a"))}
		var wg sync.WaitGroup
		out := make([]Outcome, 3)
		for i := range out {
			wg.Go(func() { out[i] = one(t, e, ask) })
			synctest.Wait() // the first is in the runner
		}
		close(g.open)
		wg.Wait()
		if len(g.batches) != 1 {
			t.Errorf("batches %v", g.batches)
		}
		for _, o := range out {
			if !reflect.DeepEqual(answerOf(t, o), answerOf(t, out[0])) {
				t.Errorf("got %+v and %+v", o, out[0])
			}
		}
	})
}

// The caller of the row that runs for its twin leaves: the twin is answered all the same.
func TestATwinOutlivesItsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(hashed())
		e := start(t, g, Options{})
		tk := task(t, e, named("a"))
		go e.Predict(t.Context(), []Request{{Text: "blocker", Task: tk}})
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		ask := Request{Text: "one two", Task: tk}
		go e.Predict(ctx, []Request{ask})
		synctest.Wait()
		var o Outcome
		var wg sync.WaitGroup
		wg.Go(func() { o = one(t, e, ask) })
		synctest.Wait()
		leave()
		close(g.open)
		wg.Wait()
		if o.Err != nil {
			t.Error(o.Err)
		}
	})
}

func BenchmarkKnownAnswer(b *testing.B) {
	e := start(b, hashed(), Options{})
	ask := []Request{{Text: "The parcel arrived broken and nobody answers.", Task: task(b, e, named("a"))}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Predict(b.Context(), ask); err != nil {
			b.Fatal(err)
		}
	}
}
