package jobs

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

func keyed(key string) Request {
	r := small()
	r.Key = key
	return r
}

func TestIdempotencyKey(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		f := start(t, so, &chain{})
		first, replay, err := f.Submit(t.Context(), keyed("k"))
		if err != nil || replay {
			t.Fatalf("%v, %v", replay, err)
		}
		f.succeeds(t, first.ID)
		again, replay, err := f.Submit(t.Context(), keyed("k"))
		if err != nil || !replay || again.ID != first.ID || again.State != Succeeded {
			t.Errorf("%+v, %v, %v", again, replay, err)
		}
		for name, change := range map[string]func(*Request){
			"adapter": func(r *Request) { r.Adapter = "other" },
			"spec":    func(r *Request) { r.Spec.Seed++ },
			"data":    func(r *Request) { r.Data.Digest = "sha256:more" },
		} {
			r := keyed("k")
			change(&r)
			if _, _, err := f.Submit(t.Context(), r); !errors.Is(err, ErrKeyReused) || !strings.Contains(err.Error(), first.ID) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if other, replay, err := f.Submit(t.Context(), keyed("")); err != nil || replay || other.ID == first.ID {
			t.Errorf("without a key: %v, %v", replay, err)
		}
	})
}

// A caller's own fingerprint stands for what is asked for.
func TestFingerprint(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		f := start(t, so, &chain{})
		r := keyed("k")
		r.Fingerprint = "abc"
		if _, err := f.Submitted(t.Context(), "k", "abc"); !errors.Is(err, ErrNotFound) {
			t.Errorf("before: %v", err)
		}
		first := f.submit(t, r)
		r.Data.Digest = "sha256:more"
		if again, replay, err := f.Submit(t.Context(), r); err != nil || !replay || again.ID != first.ID {
			t.Errorf("other data: %+v, %v, %v", again, replay, err)
		}
		if got, err := f.Submitted(t.Context(), "k", "abc"); err != nil || got.ID != first.ID {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := f.Submitted(t.Context(), "k", "abd"); !errors.Is(err, ErrKeyReused) {
			t.Errorf("another fingerprint: %v", err)
		}
		if _, _, err := f.Submit(t.Context(), keyed("k")); !errors.Is(err, ErrKeyReused) {
			t.Errorf("no fingerprint: %v", err)
		}
	})
}

// Of many requests at once, also at two managers, one makes the job; the others get it,
// or are told to wait.
func TestSubmitAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		checks := make(chan struct{})
		c := &chain{onCheck: func(context.Context, Spec) error { <-checks; return nil }}
		one, two := start(t, so, c, idle), start(t, so, c, idle)
		var (
			wg           sync.WaitGroup
			mu           sync.Mutex
			ids          = map[string]int{}
			made, waited int
		)
		for i := range 16 {
			m := []*fixture{one, two}[i%2]
			wg.Go(func() {
				job, replay, err := m.Submit(t.Context(), keyed("k"))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, ErrInProgress):
					waited++
				case err != nil:
					t.Error(err)
				default:
					ids[job.ID]++
					if !replay {
						made++
					}
				}
			})
		}
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			mu.Lock()
			if waited == 14 || time.Now().After(deadline) {
				mu.Unlock()
				break
			}
			mu.Unlock()
		}
		other := keyed("k")
		other.Adapter = "other"
		if _, _, err := one.Submit(t.Context(), other); !errors.Is(err, ErrKeyReused) {
			t.Errorf("%v", err)
		}
		close(checks)
		wg.Wait()
		if jobs, err := one.List(t.Context(), Filter{}); err != nil || len(jobs) != 1 {
			t.Errorf("%d jobs, %v", len(jobs), err)
		}
		if len(ids) != 1 || made != 1 || waited != 14 {
			t.Errorf("ids %v, %d made, %d waited", ids, made, waited)
		}
	})
}

// What a job is to train on stays until it has succeeded.
func TestDataIsHeld(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		f := start(t, so, &chain{}, idle)
		put := func() string {
			digest, _, err := f.store.PutBlob(t.Context(), "upload", bytes.NewReader([]byte("rows")))
			if err != nil {
				t.Fatal(err)
			}
			return digest
		}
		there := func(digest string) bool {
			b, err := f.store.OpenBlob(t.Context(), digest)
			if err == nil {
				err = b.Close()
			}
			return err == nil
		}
		r := small()
		r.Data.Blobs = []string{put()}
		job := f.submit(t, r)
		if err := f.store.ReleaseBlobs(t.Context(), "upload"); err != nil {
			t.Fatal(err)
		}
		if !there(r.Data.Blobs[0]) {
			t.Fatal("the data is gone under a queued job")
		}
		worker := start(t, so, &chain{})
		worker.succeeds(t, job.ID)
		if there(r.Data.Blobs[0]) {
			t.Error("the data is held after success")
		}
		if _, _, err := f.Submit(t.Context(), r); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("without the data: %v", err)
		}
		if jobs, err := f.List(t.Context(), Filter{}); err != nil || len(jobs) != 1 {
			t.Errorf("%d jobs, %v", len(jobs), err)
		}
		worker.close(t)

		put()
		job = f.submit(t, r)
		if err := f.Delete(t.Context(), job.ID); !errors.Is(err, ErrState) {
			t.Errorf("%v", err)
		}
		if _, err := f.Cancel(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
		if err := f.store.ReleaseBlobs(t.Context(), "upload"); err != nil || !there(r.Data.Blobs[0]) {
			t.Errorf("the data of a job that can be retried is gone: %v", err)
		}
		if err := f.Delete(t.Context(), job.ID); err != nil || there(r.Data.Blobs[0]) {
			t.Errorf("deleted: %v, and the data is there", err)
		}
	})
}

func TestOldJobsAreDeleted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		f := start(t, so, &chain{})
		old, r := f.submit(t, keyed("k")), small()
		old = f.succeeds(t, old.ID)
		r.Spec.Epochs, r.Spec.Seed = 2, 9
		young := f.succeeds(t, f.submit(t, r).ID)
		paused := f.submit(t, small())
		if _, err := f.Cancel(t.Context(), paused.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := f.db.Exec("UPDATE jobs SET finished = $1 WHERE id = $2", toMicro(old.Finished.Add(-48*time.Hour)), old.ID); err != nil {
			t.Fatal(err)
		}
		if err := f.tidyOnce(t.Context(), now().Add(-24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Get(t.Context(), old.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("the old job: %v", err)
		}
		if _, err := f.Events(t.Context(), old.ID, 0, 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("its events: %v", err)
		}
		if _, err := f.Get(t.Context(), young.ID); err != nil {
			t.Errorf("the young job: %v", err)
		}
		if _, replay, err := f.Submit(t.Context(), keyed("k")); err != nil || replay {
			t.Errorf("its key: %v, %v", replay, err)
		}
	})
}

func TestList(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		f := start(t, so, &chain{}, idle)
		var ids []string
		for i := range 7 {
			r := small()
			r.Adapter = []string{"a", "b"}[i%2]
			ids = append(ids, f.submit(t, r).ID)
		}
		if _, err := f.Pause(t.Context(), ids[2]); err != nil {
			t.Fatal(err)
		}
		list := func(filter Filter) (out []int) {
			jobs, err := f.List(t.Context(), filter)
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range jobs {
				for i, id := range ids {
					if id == j.ID {
						out = append(out, i)
					}
				}
			}
			return out
		}
		equal(t, "all", list(Filter{}), []int{6, 5, 4, 3, 2, 1, 0})
		equal(t, "of an adapter", list(Filter{Adapter: "a"}), []int{6, 4, 2, 0})
		equal(t, "paused", list(Filter{States: []State{Paused, Failed}}), []int{2})
		equal(t, "not paused", list(Filter{Adapter: "a", States: []State{Queued}}), []int{6, 4, 0})
		equal(t, "a page", list(Filter{Limit: 3}), []int{6, 5, 4})
		equal(t, "the next", list(Filter{Limit: 3, Before: ids[4]}), []int{3, 2, 1})
		if _, err := f.List(t.Context(), Filter{Before: "gone"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func TestPlanQueuesNothing(t *testing.T) {
	f := start(t, store.Options{Dir: t.TempDir()}, &chain{})
	plan, err := f.Plan(t.Context(), small())
	if err != nil || string(plan) != `{"steps":24}` {
		t.Errorf("%s, %v", plan, err)
	}
	if jobs, err := f.List(t.Context(), Filter{}); err != nil || len(jobs) != 0 {
		t.Errorf("%v, %v", jobs, err)
	}
}

func TestOptions(t *testing.T) {
	s := storetest.Open(t, store.Options{Dir: t.TempDir()})
	good := quick(s, &chain{}, &publisher{})
	for name, change := range map[string]func(*Options){
		"Store":     func(o *Options) { o.Store = nil },
		"Trainer":   func(o *Options) { o.Trainer = nil },
		"Base":      func(o *Options) { o.Base = "" },
		"Lease":     func(o *Options) { o.Lease = 2 * o.Beat },
		"Retention": func(o *Options) { o.Retention = time.Hour },
		"MaxLost":   func(o *Options) { o.MaxLost = -1 },
	} {
		o := good
		change(&o)
		if _, err := New(t.Context(), o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := good.check(); err != nil || good.Retention != DefaultRetention || good.Workers != DefaultWorkers {
		t.Errorf("%v, %+v", err, good)
	}
}

// Managers that start at once on a new database all do.
func TestStartAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		var wg sync.WaitGroup
		for range 4 {
			s := storetest.Open(t, so)
			wg.Go(func() {
				m, err := New(t.Context(), quick(s, &chain{}, &publisher{store: s}))
				if err != nil {
					t.Error(err)
					return
				}
				if err := m.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := start(t, store.Options{Dir: t.TempDir()}, &chain{}, func(o *Options) { o.Metrics = reg })
	f.succeeds(t, f.submit(t, small()).ID)
	again := f.submit(t, small())
	f.await(t, again.ID, Succeeded)
	f.close(t) // the last worker puts its numbers down after the job's end
	if n := testutil.ToFloat64(f.metrics.submitted); n != 2 {
		t.Errorf("%v submitted", n)
	}
	if n := testutil.ToFloat64(f.metrics.finished.WithLabelValues("succeeded")); n != 2 {
		t.Errorf("%v succeeded", n)
	}
	if n := testutil.ToFloat64(f.metrics.running); n != 0 {
		t.Errorf("%v at work", n)
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n < 4 {
		t.Errorf("%d collected, %v", n, err)
	}
}
