package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"

	"valence/adapters/store"
)

// worker is one segment that this process works on.
type worker struct {
	m     *Manager
	job   Job // as it was claimed
	epoch int64
	entry *river.Job[segmentArgs]
	begun time.Time

	queue  context.Context         // of the entry in the queue
	ctx    context.Context         // of the work; ends early when that is to be thrown away
	cancel context.CancelCauseFunc // errLost or errCancelled

	halt   atomic.Bool   // stop at the next step
	look   chan struct{} // holds something when the job is to be looked at
	mu     sync.Mutex
	steps  []Progress // reports not yet written: at most one without metrics, the last
	why    string     // what the worker waits for, or ""
	mute   bool       // the last beat failed, and was told of
	share  sync.RWMutex
	shared func(context.Context) (Live, error) // or nil
}

// work does what an entry of the queue stands for, or nothing where the entry is void.
func (m *Manager) work(ctx context.Context, entry *river.Job[segmentArgs]) error {
	w := &worker{m: m, entry: entry, begun: time.Now(), queue: ctx, look: make(chan struct{}, 1)}
	switch err := w.claim(ctx); {
	case errors.Is(err, ErrNotFound) || errors.Is(err, errLost):
		return nil
	case err != nil:
		return err
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	defer w.cancel(nil)
	m.setRunning(w, true)
	defer m.setRunning(w, false)

	outcome := w.run()
	err := w.settle(outcome)
	m.metrics.segments.WithLabelValues(outcome.name(err)).Observe(time.Since(w.begun).Seconds())
	if errors.Is(err, errLost) {
		m.o.Log.WarnContext(ctx, "a segment was taken over while it was worked on", "job", w.job.ID, "segment", entry.Args.Number)
		return nil
	}
	return err
}

func (m *Manager) setRunning(w *worker, running bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if running {
		m.running[w.job.ID] = w
		delete(m.stuck, w.job.ID)
		m.metrics.running.Inc()
		return
	}
	m.metrics.running.Dec()
	if m.running[w.job.ID] == w {
		delete(m.running, w.job.ID)
	}
}

// claim makes this worker the job's owner. It gives errLost where the entry is void.
func (w *worker) claim(ctx context.Context) error {
	r, err := w.m.change(ctx, w.entry.Args.Job, func(_ *store.Tx, r *record) error {
		if r.segment != w.entry.Args.Number || r.owner != "" || !r.State.working() {
			return errLost
		}
		r.owner, r.Waiting = w.m.owner, ""
		r.epoch++
		if r.Started.IsZero() {
			r.Started = now()
		}
		return r.move(r.position().claimed())
	})
	if err != nil {
		return err
	}
	w.job, w.epoch = r.Job, r.epoch
	return nil
}

// change changes the job, if it is still this worker's.
func (w *worker) change(ctx context.Context, f func(t *store.Tx, r *record) error) error {
	_, err := w.m.change(ctx, w.job.ID, func(t *store.Tx, r *record) error {
		if r.owner != w.m.owner || r.epoch != w.epoch {
			return errLost
		}
		return f(t, r)
	})
	return err
}

// run does the work of the job's phase while the beat goes on beside it.
func (w *worker) run() outcome {
	beating := make(chan struct{})
	ctx, stop := context.WithCancel(w.queue)
	go func() {
		defer close(beating)
		w.beat(ctx)
	}()
	defer func() { stop(); <-beating }()
	o, err := w.guard(w.phase)
	if err == nil {
		return o
	}
	switch cause := context.Cause(w.ctx); {
	case w.ctx.Err() != nil && w.job.Phase != Publishing: // thrown away, and the error says no more than that
		return outcome{phase: w.job.Phase, lost: errors.Is(cause, errLost)}
	default:
		return outcome{phase: w.job.Phase, checkpoint: o.checkpoint, err: err}
	}
}

// guard makes a panic an error.
func (w *worker) guard(f func() (outcome, error)) (o outcome, err error) {
	defer func() {
		if v := recover(); v != nil {
			w.m.o.Log.Error("a job panicked", "job", w.job.ID, "panic", v, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", ErrPanic, v)
		}
	}()
	return f()
}

// phase does the work that the job is at.
func (w *worker) phase() (outcome, error) {
	if w.job.Base != w.m.o.Base {
		return outcome{}, fmt.Errorf("%w: the job was made for %s, and the server has %s now; submit it anew, or serve that base and retry",
			ErrBaseChanged, w.job.Base, w.m.o.Base)
	}
	switch w.job.Phase {
	case Queued:
		plan, err := w.m.o.Trainer.Plan(w.ctx, w.job.Adapter, w.job.Spec, w.job.Data)
		return outcome{phase: Running, plan: plan}, err
	case Publishing:
		return w.publish()
	default:
		return w.train()
	}
}

func (w *worker) train() (outcome, error) {
	checkpoint, err := w.checkpoint()
	if err != nil {
		return outcome{}, err
	}
	res, err := w.m.o.Trainer.Segment(w.ctx, w.job.Spec, w.job.Data, Segment{
		Job: w.job.ID, Adapter: w.job.Adapter, Checkpoint: checkpoint, Stop: w.stops, Report: w.report, Share: w.setShared,
	})
	w.setShared(nil)
	if errors.Is(err, ErrDiverged) {
		return outcome{checkpoint: res.Checkpoint}, err
	}
	if err != nil {
		return outcome{}, err
	}
	o := outcome{phase: w.job.Phase, checkpoint: res.Checkpoint, result: res.Result}
	switch {
	case res.Result != nil:
		o.phase = Publishing
	case len(res.Checkpoint) == 0:
		return outcome{}, errors.New("jobs: the trainer gave neither a checkpoint nor a result")
	case res.Trained:
		o.phase = Evaluating
	}
	return o, nil
}

// stops tells the trainer to stop at this step.
func (w *worker) stops() bool {
	return w.halt.Load() || w.m.ctx.Err() != nil || w.ctx.Err() != nil || time.Since(w.begun) >= w.m.o.SegmentTime
}

// publish makes the version. It is not broken off: a version may be there already.
func (w *worker) publish() (outcome, error) {
	result, err := w.m.result(w.queue, w.job)
	if err != nil {
		return outcome{}, err
	}
	version, activated, err := w.m.o.Publisher.Publish(w.queue, w.job, result)
	if err != nil {
		return outcome{}, fmt.Errorf("%w: %w", errPublish, err)
	}
	return outcome{phase: Succeeded, version: version, activated: activated}, nil
}

// setShared lets others ask for live vectors by f, or, with nil, not any more; those who
// ask at that moment are waited for.
func (w *worker) setShared(f func(context.Context) (Live, error)) {
	w.share.Lock()
	defer w.share.Unlock()
	w.shared = f
}

// waits gives what the worker waits for, or "".
func (w *worker) waits() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why
}

func (w *worker) setWaits(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.why = why
}

// load reads a checked blob of a job's own.
func load(ctx context.Context, q querier, query string, args ...any) (data []byte, err error) {
	var digest string
	switch err := q.QueryRowContext(ctx, query, args...).Scan(&digest, &data); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, fmt.Errorf("%w: it is missing", ErrDamaged)
	case err != nil:
		return nil, fmt.Errorf("jobs: %w", err)
	case digestOf(data) != digest:
		return nil, fmt.Errorf("%w: it is not what was written", ErrDamaged)
	}
	return data, nil
}
