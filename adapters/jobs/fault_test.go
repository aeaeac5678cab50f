package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// Whatever goes wrong in a segment fails its job alone: the last checkpoint is kept, and
// a retry ends where the undisturbed job would have.
func TestFailuresOfTheTrainer(t *testing.T) {
	for _, test := range []struct {
		name string
		code string
		fail func() error
	}{
		{"error", "training_failed", func() error { return errors.New("out of\x00 memory \xff") }},
		{"not a number", "diverged", func() error { return fmt.Errorf("%w: the loss of step 15, row 3, is NaN", ErrDiverged) }},
		{"panic", "panic", func() error { panic("index out of range") }},
		{"invalid", "invalid_job", func() error { return &InvalidError{[]Finding{{Code: "one_label", Row: 2, Message: "only one label"}}} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			so := store.Options{Dir: t.TempDir()}
			var broken atomic.Bool
			broken.Store(true)
			bystander := small()
			bystander.Spec.Seed = 99
			var innocent atomic.Value
			innocent.Store("")
			c := &chain{pace: 8 * time.Millisecond, onStep: func(_ context.Context, job string, step int) error {
				if job != innocent.Load() && step == 15 && broken.Load() {
					return test.fail()
				}
				return nil
			}}
			f := start(t, so, c, idle)
			victim, other := f.submit(t, small()), f.submit(t, bystander)
			innocent.Store(other.ID)
			f.close(t)
			f = start(t, so, c)
			job := f.await(t, victim.ID, Failed)
			if job.Failure == nil || job.Failure.Code != test.code || job.Failure.Phase != Running || job.Checkpoint == 0 || job.Finished.IsZero() {
				t.Fatalf("%+v: %+v", job, job.Failure)
			}
			if test.name == "invalid" && (len(job.Failure.Findings) != 1 || job.Failure.Findings[0].Row != 2) {
				t.Errorf("%+v", job.Failure)
			}
			f.succeeds(t, other.ID)
			at := f.checkpointStep(t, victim.ID)
			broken.Store(false)
			if job, err := f.Retry(t.Context(), victim.ID); err != nil || job.State != Running || job.Failure != nil {
				t.Fatalf("%+v, %v", job, err)
			}
			if at == 0 || at >= 15 {
				t.Errorf("the checkpoint that is kept is of step %d", at)
			}
			f.succeeds(t, victim.ID)
		})
	}
}

func TestInvalidRequestIsNotQueued(t *testing.T) {
	c := &chain{onCheck: func(context.Context, Spec) error { return &InvalidError{[]Finding{{Message: "one"}, {Message: "two"}}} }}
	f := start(t, store.Options{Dir: t.TempDir()}, c)
	_, _, err := f.Submit(t.Context(), small())
	if !errors.Is(err, ErrInvalidJob) || !strings.Contains(err.Error(), "one (and 1 more)") {
		t.Errorf("%v", err)
	}
	if jobs, err := f.List(t.Context(), Filter{}); err != nil || len(jobs) != 0 {
		t.Errorf("%v, %v", jobs, err)
	}
}

func TestBaseChanged(t *testing.T) {
	so := store.Options{Dir: t.TempDir()}
	f := start(t, so, &chain{pace: 5 * time.Millisecond})
	job := f.submit(t, small())
	f.eventually(t, job.ID, "at work", func(j Job) bool { return j.Checkpoint > 0 })
	f.close(t)
	changed := start(t, so, &chain{}, func(o *Options) { o.Base = "sha256:other" })
	failed := changed.await(t, job.ID, Failed)
	if failed.Failure.Code != "base_changed" || !strings.Contains(failed.Failure.Message, "sha256:other") || failed.Checkpoint == 0 {
		t.Errorf("%+v", failed)
	}
	if _, err := changed.Live(t.Context(), job.ID); !errors.Is(err, ErrBaseChanged) {
		t.Errorf("%v", err)
	}
	changed.close(t)
	back := start(t, so, &chain{})
	if _, err := back.Retry(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	back.succeeds(t, job.ID)
}

func TestPublishingIsTriedAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		t.Parallel() // the queue looks every five seconds only for what was put off
		f := start(t, so, &chain{}, func(o *Options) { o.PublishAttempts = 2 })
		var failures atomic.Int64
		failures.Store(1)
		f.publisher.onPublish = func(context.Context, Job) error {
			if failures.Add(-1) >= 0 {
				return errors.New("the canary sang")
			}
			return nil
		}
		job := f.submit(t, small())
		f.eventually(t, job.ID, "waiting", func(j Job) bool { return j.State == Publishing && strings.Contains(j.Waiting, "the canary sang") })
		f.succeeds(t, job.ID)

		failures.Store(2)
		r := small()
		r.Spec.Seed++
		job = f.submit(t, r)
		failed := f.await(t, job.ID, Failed)
		if failed.Failure.Code != "publishing_failed" || failed.Failure.Phase != Publishing || failed.Waiting != "" {
			t.Errorf("%+v", failed.Failure)
		}
		if _, err := f.Retry(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
		f.succeeds(t, job.ID)
	})
}

// A version that was published by a worker that died before it could say so is found
// again, not made twice.
func TestPublishedAndNotNoted(t *testing.T) {
	f, job, g := held(t, store.Options{Dir: t.TempDir()}, Publishing)
	result, err := f.result(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	p := &publisher{store: f.store}
	if _, _, err := p.Publish(t.Context(), job, result); err != nil {
		t.Fatal(err)
	}
	close(g.opened)
	f.succeeds(t, job.ID)
}

// atLimit starts a job that stands at its second step, before its first checkpoint, while
// the disk gets full. steps counts those that are trained.
func atLimit(t *testing.T) (f *fixture, job Job, steps *atomic.Int64) {
	t.Helper()
	g := newGate()
	steps = &atomic.Int64{}
	f = start(t, store.Options{Dir: t.TempDir()}, &chain{
		pace: 5 * time.Millisecond, bytes: 1 << 18,
		onStep: func(ctx context.Context, _ string, step int) error {
			steps.Add(1)
			if step == 2 {
				return g.pass(ctx)
			}
			return nil
		},
	}, func(o *Options) { o.SegmentTime = time.Hour })
	job = f.submit(t, small())
	g.wait(t)
	f.limit(t, 0)
	close(g.opened)
	f.eventually(t, job.ID, "waiting", func(j Job) bool { return j.State == Running && strings.Contains(j.Waiting, "no space left") })
	return f, job, steps
}

// While the disk is full the job waits with what it has trained, and says why. Nothing
// is trained twice when there is room again.
func TestDiskFull(t *testing.T) {
	f, job, steps := atLimit(t)
	if jobs, err := f.List(t.Context(), Filter{}); err != nil || len(jobs) != 1 || !strings.Contains(jobs[0].Waiting, "no space left") {
		t.Errorf("the list says %+v, %v", jobs, err)
	}
	r := small()
	r.Spec.WarmStartFrom = strings.Repeat("x", 1<<20)
	if _, _, err := f.Submit(t.Context(), r); !errors.Is(err, store.ErrFull) {
		t.Errorf("%v", err)
	}
	f.limit(t, 1<<20)
	if done := f.succeeds(t, job.ID); done.Waiting != "" {
		t.Errorf("%q", done.Waiting)
	}
	equal(t, "steps", steps.Load(), 24)
	if jobs, err := f.List(t.Context(), Filter{}); err != nil || len(jobs) != 1 {
		t.Errorf("%d jobs, %v", len(jobs), err)
	}
}

// A job that waits for room can be cancelled, and is when there is some.
func TestCancelWhileTheDiskIsFull(t *testing.T) {
	f, job, _ := atLimit(t)
	_, err := f.Cancel(t.Context(), job.ID)
	for room := 1; errors.Is(err, store.ErrFull); room++ { // for the event
		f.limit(t, room)
		_, err = f.Cancel(t.Context(), job.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.limit(t, 1<<20)
	f.await(t, job.ID, Cancelled)
}

// Without room for the queue to start, it starts when there is some, or the manager is closed.
func TestStartOnAFullDisk(t *testing.T) {
	f := start(t, store.Options{Dir: t.TempDir()}, &chain{}, idle)
	tries, broken := 0, errors.New("broken")
	begin := func(context.Context) error {
		switch tries++; {
		case tries < 3:
			return fmt.Errorf("queue: %w", store.ErrFull)
		case tries == 3:
			return broken
		}
		return nil
	}
	if err := f.begin(t.Context(), begin); err != nil {
		t.Fatal(err)
	}
	f.starting.Wait()
	equal(t, "tries", tries, 4)
	if err := f.begin(t.Context(), func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if err := f.begin(t.Context(), func(context.Context) error { return store.ErrFull }); err != nil {
		t.Error(err)
	}
	f.close(t) // does not wait for ever
}

// limit lets SQLite use some more pages than it does.
func (f *fixture) limit(t *testing.T, room int) {
	t.Helper()
	var pages int
	if err := f.db.QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	if _, err := f.db.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages+room)); err != nil {
		t.Fatal(err)
	}
}

// A publisher without room waits; that does not count as a try.
func TestPublisherWithoutRoom(t *testing.T) {
	f := start(t, store.Options{Dir: t.TempDir()}, &chain{}, func(o *Options) { o.PublishAttempts = 1 })
	var full atomic.Int64
	full.Store(1)
	f.publisher.onPublish = func(context.Context, Job) error {
		if full.Add(-1) >= 0 {
			return fmt.Errorf("publish: %w", store.ErrFull)
		}
		return nil
	}
	f.succeeds(t, f.submit(t, small()).ID)
}

func TestDamagedCheckpoint(t *testing.T) {
	for _, test := range []struct {
		name, damage string
		fails        bool
	}{
		{"the last", "UPDATE job_checkpoints SET data = $1 WHERE number = (SELECT MAX(number) FROM job_checkpoints)", false},
		{"the last is missing", "DELETE FROM job_checkpoints WHERE data <> $1 AND number = (SELECT MAX(number) FROM job_checkpoints)", false},
		{"both", "UPDATE job_checkpoints SET data = $1", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, so store.Options) {
				f := start(t, so, &chain{pace: 5 * time.Millisecond})
				job := f.submit(t, small())
				f.eventually(t, job.ID, "at work", func(j Job) bool { return j.Checkpoint >= 2 })
				f.close(t)
				if _, err := f.db.Exec(test.damage, []byte("rot")); err != nil {
					t.Fatal(err)
				}
				after := start(t, so, &chain{})
				if test.fails {
					if failed := after.await(t, job.ID, Failed); failed.Failure.Code != "damaged" || failed.Checkpoint != 0 {
						t.Errorf("%+v", failed)
					}
					if _, err := after.Retry(t.Context(), job.ID); err != nil {
						t.Fatal(err)
					}
				}
				after.succeeds(t, job.ID)
				if _, _, _, recoveries := after.story(t, job.ID); !test.fails {
					equal(t, "recoveries", recoveries, []string{recoverDamaged})
				}
			})
		})
	}
}

// Close lets a segment stop at its next step; nothing of it is done again.
func TestCloseKeepsWhatWasTrained(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		var mu sync.Mutex
		done := map[int]int{}
		count := func(_ context.Context, _ string, step int) error {
			mu.Lock()
			defer mu.Unlock()
			done[step]++
			return nil
		}
		long := func(o *Options) { o.SegmentTime = time.Hour }
		f := start(t, so, &chain{pace: 10 * time.Millisecond, onStep: count}, long)
		job := f.submit(t, small())
		f.eventually(t, job.ID, "at work", func(j Job) bool { return j.Progress.Step > 3 })
		f.close(t)
		if _, _, err := f.Submit(t.Context(), small()); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
		if j, err := f.Get(t.Context(), job.ID); err != nil || j.Working || j.State != Running || j.Checkpoint != 1 {
			t.Errorf("%+v, %v", j, err)
		}
		start(t, so, &chain{onStep: count}, long).succeeds(t, job.ID)
		for step := 1; step <= 24; step++ {
			if done[step] != 1 {
				t.Errorf("step %d was done %d times", step, done[step])
			}
		}
	})
}

// A trainer that does not stop is broken off when Close has no more time.
func TestCloseWithoutTime(t *testing.T) {
	so := store.Options{Dir: t.TempDir()}
	f, job, _ := held(t, so, Running)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "broken off") {
		t.Errorf("%v", err)
	}
	start(t, so, &chain{}).succeeds(t, job.ID)
}
