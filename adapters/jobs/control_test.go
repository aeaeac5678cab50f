package jobs

import (
	"context"
	"errors"
	"testing"
	"time"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// gate holds a job up at a place until it is opened.
type gate struct {
	reached chan struct{} // closed when somebody is there
	opened  chan struct{}
	used    bool
	deaf    bool // who stands at it does not hear that its context ends
}

func newGate() *gate { return &gate{reached: make(chan struct{}), opened: make(chan struct{})} }

// pass is called by one goroutine at a time.
func (g *gate) pass(ctx context.Context) error {
	if g.used {
		return nil
	}
	g.used = true
	close(g.reached)
	if g.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	select {
	case <-g.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) wait(t testing.TB) {
	t.Helper()
	select {
	case <-g.reached:
	case <-time.After(patience):
		t.Fatal("nobody came")
	}
}

// held starts a job that a worker holds in a state, and gives the gate that it stands at.
func held(t *testing.T, so store.Options, at State) (*fixture, Job, *gate) {
	t.Helper()
	g := newGate()
	f, job := holdAt(t, so, at, g)
	return f, job, g
}

func holdAt(t *testing.T, so store.Options, at State, g *gate) (*fixture, Job) {
	t.Helper()
	c := &chain{evaluate: true}
	checks := 0
	c.onCheck = func(ctx context.Context, _ Spec) error {
		if checks++; at == Validating && checks == 2 { // the first is Submit's
			return g.pass(ctx)
		}
		return nil
	}
	c.onStep = func(ctx context.Context, _ string, step int) error {
		if at == Running && step == 10 {
			return g.pass(ctx)
		}
		return nil
	}
	f := start(t, so, c, func(o *Options) {
		if at == Queued {
			idle(o)
		}
		o.Publisher.(*publisher).onPublish = func(ctx context.Context, _ Job) error {
			if at == Publishing {
				return g.pass(ctx)
			}
			return nil
		}
	})
	job := f.submit(t, small())
	if at != Queued {
		g.wait(t)
	}
	return f, job
}

func TestCommandsWhileWorking(t *testing.T) {
	type verb = func(*Manager, context.Context, string) (Job, error)
	pause, resume, cancel, retry := (*Manager).Pause, (*Manager).Resume, (*Manager).Cancel, (*Manager).Retry
	for _, at := range []State{Validating, Running, Publishing} {
		for _, test := range []struct {
			name string
			do   []verb
			at   State // right after, while the worker stands at the gate
			then State // when it has gone on
			not  State // where this is refused
		}{
			{"pause", []verb{pause}, Paused, Paused, Publishing},
			{"pause twice", []verb{pause, pause}, Paused, Paused, Publishing},
			{"pause and resume", []verb{pause, resume}, at, Succeeded, Publishing},
			{"pause and cancel", []verb{pause, cancel}, Cancelling, Cancelled, Publishing},
			{"resume", []verb{resume}, at, Succeeded, ""},
			{"cancel", []verb{cancel, cancel}, Cancelling, Cancelled, ""},
			{"retry", []verb{retry}, at, Succeeded, at},
		} {
			t.Run(string(at)+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				f, job, g := held(t, store.Options{Dir: t.TempDir()}, at)
				for _, do := range test.do {
					if _, err := do(f.Manager, t.Context(), job.ID); errors.Is(err, ErrState) != (test.not == at) {
						t.Fatalf("%v", err)
					} else if err != nil {
						close(g.opened)
						f.succeeds(t, job.ID)
						return
					}
				}
				if j, err := f.Get(t.Context(), job.ID); err != nil || j.State != test.at && j.State != test.then {
					t.Errorf("%s, %v", j.State, err)
				}
				close(g.opened)
				then := test.then
				if at == Publishing && then == Cancelled {
					then = Succeeded // too late
				}
				f.await(t, job.ID, then)
				f.goesOnToTheEnd(t, job.ID)
			})
		}
	}
}

// goesOnToTheEnd resumes or retries a job, and checks its end.
func (f *fixture) goesOnToTheEnd(t *testing.T, id string) {
	t.Helper()
	job, err := f.Get(t.Context(), id)
	if err == nil && job.State == Paused {
		_, err = f.Resume(t.Context(), id)
	} else if err == nil && job.State == Cancelled {
		_, err = f.Retry(t.Context(), id)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.succeeds(t, id)
}

func TestCommandsWhileNobodyWorks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		f, job, _ := held(t, so, Queued)
		worker := start(t, so, &chain{evaluate: true})
		worker.succeeds(t, job.ID) // another manager of the database does it
		worker.close(t)

		r := small()
		r.Spec.Seed++ // another version
		job = f.submit(t, r)
		for _, step := range []struct {
			do   func(context.Context, string) (Job, error)
			want State
		}{
			{f.Pause, Paused}, {f.Pause, Paused}, {f.Resume, Queued}, {f.Resume, Queued}, {f.Pause, Paused}, {f.Cancel, Cancelled},
			{f.Cancel, Cancelled}, {f.Retry, Queued}, {f.Cancel, Cancelled},
		} {
			j, err := step.do(t.Context(), job.ID)
			if err != nil || j.State != step.want || j.Finished.IsZero() != (step.want != Cancelled) {
				t.Fatalf("%+v, %v; want %s", j, err, step.want)
			}
		}
		for _, do := range []func(context.Context, string) (Job, error){f.Pause, f.Resume} {
			if _, err := do(t.Context(), job.ID); !errors.Is(err, ErrState) {
				t.Errorf("%v", err)
			}
		}
		if _, err := f.Retry(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
		start(t, so, &chain{}) // of the entries that the commands left, none counts
		time.Sleep(100 * time.Millisecond)
		if j, err := f.Get(t.Context(), job.ID); err != nil || j.State != Cancelled || j.Progress.Step != 0 {
			t.Errorf("%+v, %v", j, err)
		}
		if _, err := f.Retry(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
		f.succeeds(t, job.ID)
	})
}

// A pause is noticed within a step or two: at once in the same process, and at the next
// beat from another one.
func TestPauseStopsWithinSteps(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		steps := make(chan int, 1000)
		c := &chain{pace: 20 * time.Millisecond, onStep: func(_ context.Context, _ string, step int) error {
			steps <- step
			return nil
		}}
		long := func(o *Options) { o.SegmentTime = time.Hour }
		f := start(t, so, c, long, func(o *Options) { o.Beat, o.Lease = 10*time.Second, time.Minute })
		r := small()
		r.Spec.Epochs = 1000
		job := f.submit(t, r)
		at := 0
		for at < 5 {
			at = <-steps
		}
		if _, err := f.Pause(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
		for len(steps) > 0 {
			at = <-steps
		}
		f.await(t, job.ID, Paused)
		for len(steps) > 0 {
			if step := <-steps; step > at+2 {
				t.Errorf("step %d began after the pause at %d", step, at)
			}
		}
		checkpoint := f.checkpointStep(t, job.ID)
		if checkpoint < at || checkpoint > at+2 {
			t.Errorf("the checkpoint is of step %d; the pause came at %d", checkpoint, at)
		}
	})
}

func (f *fixture) checkpointStep(t *testing.T, id string) int {
	t.Helper()
	live, err := f.Live(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return live.Step
}

func TestCancelFromAnotherManager(t *testing.T) {
	storetest.Each(t, func(t *testing.T, so store.Options) {
		f, job, _ := held(t, so, Running) // the gate stays shut: only its context lets the worker out
		other := start(t, so, &chain{}, idle)
		if j, err := other.Cancel(t.Context(), job.ID); err != nil || j.State != Cancelling {
			t.Fatalf("%+v, %v", j, err)
		}
		f.await(t, job.ID, Cancelled)
	})
}
