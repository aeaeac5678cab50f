package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"valence/runtime/mt5/spec"
)

var errPoison = errors.New("poison")

// unreliable is a model that fails or panics on any batch with a poisoned row,
// and that complains when two batches run at once.
func unreliable(t *testing.T) fakeRunner {
	var busy atomic.Bool
	poison, panics := idOf("pois"), idOf("rash")
	check := func(b *spec.Batch) error {
		if !busy.CompareAndSwap(false, true) {
			t.Error("two batches run at once")
		}
		defer busy.Store(false)
		for _, ids := range b.IDs {
			if slices.Contains(ids, poison) {
				return errPoison
			}
			if slices.Contains(ids, panics) {
				panic("crash")
			}
		}
		return nil
	}
	return fakeRunner{
		score: func(ctx context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error) {
			if err := check(b); err != nil {
				return nil, err
			}
			return scoreHashed(ctx, b, probes)
		},
		generate: func(ctx context.Context, b *spec.Batch, maxNew int) ([][]int32, error) {
			if err := check(b); err != nil {
				return nil, err
			}
			return generateHashed(ctx, b, maxNew)
		},
	}
}

// traffic makes random requests over some tasks.
type traffic struct {
	rng   *rand.Rand
	tasks []*Task
}

func (tr *traffic) request() (req Request, bad bool) {
	req = Request{Task: tr.tasks[tr.rng.IntN(len(tr.tasks))]}
	for range 1 + tr.rng.IntN(30) {
		req.Text += fmt.Sprint(" w", tr.rng.IntN(1000))
	}
	switch tr.rng.IntN(8) {
	case 0:
		req.Mode, req.MaxNewTokens = ModeGenerate, 1+tr.rng.IntN(20)
	case 1:
		req.Labels = []string{"positive", "negative"}
	}
	switch tr.rng.IntN(20) {
	case 0:
		req.Text, bad = req.Text+" pois", true
	case 1:
		req.Text, bad = req.Text+" rash", true
	case 2:
		req.Text, bad = "\xff", true
	}
	return req, bad
}

// verify holds an outcome against the row's answer alone.
func verify(t *testing.T, req Request, bad bool, o Outcome) {
	t.Helper()
	switch {
	case bad:
		if !errors.Is(o.Err, ErrRun) && !errors.Is(o.Err, ErrInvalidText) {
			t.Errorf("a bad row: %+v", o)
		}
	case o.Err != nil:
		t.Errorf("a good row: %v", o.Err)
	case req.Mode == ModeGenerate:
		enc, _ := encodeWords(req.Text, userText)
		b := &spec.Batch{IDs: [][]int32{enc.IDs}, Adapters: []*spec.Vectors{req.Task.vectors}}
		alone, _ := generateHashed(context.Background(), b, req.MaxNewTokens)
		if want := decodeIDs(alone[0], true); o.Generated != want {
			t.Errorf("generated %q, alone %q", o.Generated, want)
		}
	default:
		if want := expected(t, req); !slices.Equal(o.LogProbs, want) {
			t.Errorf("scored %v, alone %v", o.LogProbs, want)
		}
	}
}

// TestIsolation sends random rows of many adapters from many goroutines, some of
// them bad and some whose callers leave, and holds every answer against the
// row's answer alone.
func TestIsolation(t *testing.T) {
	e := start(t, unreliable(t), Options{BatchRows: 9, BatchTokens: 200, QueueRows: 100})
	tasks := []*Task{task(t, e, sentiments())}
	for i := range 6 {
		s := sentiments()
		s.Vectors, s.Temperature = vectors(t, float32(i+2)), 0.5+float64(i)
		s.Labels = append(s.Labels, Label{"very positive", "good very"}, Label{"very negative", "bad very"})
		tasks = append(tasks, task(t, e, s))
	}
	var answered, busy, cancelled atomic.Int64
	var wg sync.WaitGroup
	for seed := range uint64(16) {
		tr := &traffic{rand.New(rand.NewPCG(seed, 5)), tasks}
		wg.Go(func() {
			for range 60 {
				tr.call(t, e, &answered, &busy, &cancelled)
			}
		})
	}
	wg.Wait()
	if answered.Load() == 0 || cancelled.Load() == 0 {
		t.Errorf("%d calls answered, %d busy, %d cancelled", answered.Load(), busy.Load(), cancelled.Load())
	}
	if err := e.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if e.queue.permits != 0 {
		t.Errorf("%d permits were lost", e.queue.permits)
	}
}

func (tr *traffic) call(t *testing.T, e *Engine, answered, busy, cancelled *atomic.Int64) {
	reqs := make([]Request, 1+tr.rng.IntN(8))
	bad := make([]bool, len(reqs))
	for i := range reqs {
		reqs[i], bad[i] = tr.request()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if tr.rng.IntN(5) == 0 {
		go cancel()
	}
	out, err := e.Predict(ctx, reqs)
	switch {
	case errors.Is(err, context.Canceled):
		cancelled.Add(1)
	case errors.Is(err, ErrBusy):
		busy.Add(1)
	case err != nil:
		t.Error(err)
	default:
		answered.Add(1)
		for i, o := range out {
			verify(t, reqs[i], bad[i], o)
		}
	}
}
