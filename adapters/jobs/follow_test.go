package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// Who follows from any point, at any manager, gets the same events in the same order.
func TestFollow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		f := start(t, so, &chain{pace: 5 * time.Millisecond})
		other := start(t, so, &chain{}, idle)
		job := f.submit(t, small())
		var (
			wg   sync.WaitGroup
			told [4][]Event
		)
		for i := range told {
			m := []*fixture{f, other}[i%2]
			wg.Go(func() {
				last := int64(0)
				for len(told[i]) == 0 || decodeTo(told[i][len(told[i])-1]) != Succeeded {
					n := 0
					for e, err := range m.Follow(t.Context(), job.ID, last) {
						if err != nil {
							t.Error(err)
							return
						}
						told[i] = append(told[i], e)
						last = e.Sequence
						if n++; i >= 2 && n == 3 { // the connection is lost now and then
							break
						}
					}
				}
			})
		}
		wg.Wait()
		f.succeeds(t, job.ID)
		want := f.allEvents(t, job.ID)
		for i := range told {
			equal(t, fmt.Sprintf("follower %d", i), told[i], want)
		}
		reports, err := f.Metrics(t.Context(), job.ID)
		if err != nil || len(reports) != 3 || string(reports[2].Metrics) != `{"epoch":3}` {
			t.Errorf("%+v, %v", reports, err)
		}
	})
}

func decodeTo(e Event) State {
	for _, s := range States() {
		if e.Kind == KindState && string(e.Data) == fmt.Sprintf(`{"from":"publishing","to":"%s","version":"v1"}`, s) {
			return s
		}
	}
	return ""
}

func TestFollowEnds(t *testing.T) {
	f := start(t, store.Options{Dir: t.TempDir()}, &chain{}, idle)
	last := func(ctx context.Context, id string, then func()) (err error) {
		for _, err = range f.Follow(ctx, id, 0) {
			then()
		}
		return err
	}
	if err := last(t.Context(), "none", func() {}); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	job := f.submit(t, small())
	ctx, cancel := context.WithCancel(t.Context())
	if err := last(ctx, job.ID, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := last(t.Context(), job.ID, func() { go f.stop() }); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

// A step is told once, however often it is trained, and an epoch always.
func TestReports(t *testing.T) {
	step := func(n int) Progress { return Progress{Step: n} }
	epoch := func(n int) Progress { return Progress{Step: n, Metrics: jsontext.Value(`{}`)} }
	r := &record{}
	for _, reports := range [][]Progress{
		{step(3)}, {}, {epoch(8), step(9)},
		{step(5), epoch(8), step(9)}, // from an earlier checkpoint, after a death
		{step(10), epoch(16), epoch(24)},
	} {
		if err := r.report(reports); err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	for _, e := range r.events {
		told = append(told, fmt.Sprintf("%d %s %d", e.Sequence, e.Kind, decode[Progress](t, e).Step))
	}
	equal(t, "told", told, []string{"1 step 3", "2 epoch 8", "3 step 9", "4 step 10", "5 epoch 16", "6 epoch 24"})
	equal(t, "at", r.Progress.Step, 24)
}

// Of what a trainer reports between two beats, the last step and every epoch are kept.
func TestReportsBetweenBeats(t *testing.T) {
	w := &worker{look: make(chan struct{}, 1)}
	for n := 1; n <= 20; n++ {
		p := Progress{Step: n}
		if n%8 == 0 {
			p.Metrics = jsontext.Value(`{}`)
		}
		w.report(p)
	}
	var kept []int
	for _, p := range w.reports() {
		kept = append(kept, p.Step)
	}
	equal(t, "kept", kept, []int{8, 16, 20})
}

// Jobs take turns by segments.
func TestTurns(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		var order []string
		c := &chain{pace: 5 * time.Millisecond, onStep: func(_ context.Context, job string, _ int) error {
			if n := len(order); n == 0 || order[n-1] != job {
				order = append(order, job)
			}
			return nil
		}}
		f := start(t, so, c, idle)
		var ids []string
		for seed := range int64(3) {
			r := small()
			r.Spec.Epochs, r.Spec.Seed = 6, seed
			ids = append(ids, f.submit(t, r).ID)
		}
		worker := start(t, so, c)
		for _, id := range ids {
			worker.succeeds(t, id)
		}
		worker.close(t)
		if len(order) < 9 {
			t.Fatalf("only %d segments", len(order))
		}
		for i := range 9 {
			equal(t, fmt.Sprintf("segment %d", i), slices.Index(ids, order[i]), i%3)
		}
	})
}

func TestLive(t *testing.T) {
	f, job, g := held(t, store.Options{Dir: t.TempDir()}, Running)
	live, err := f.Live(t.Context(), job.ID)
	if err != nil || live.Step != 9 || live.Vectors[0] != 9 {
		t.Errorf("%+v, %v", live, err)
	}
	if _, err := f.Pause(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	close(g.opened)
	f.await(t, job.ID, Paused)
	if live, err := f.Live(t.Context(), job.ID); err != nil || live.Step != 10 { // of the checkpoint
		t.Errorf("%+v, %v", live, err)
	}
	f.goesOnToTheEnd(t, job.ID)
	if _, err := f.Live(t.Context(), job.ID); !errors.Is(err, ErrNoLive) {
		t.Errorf("%v", err)
	}
	if _, err := f.Live(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}
