package jobs

import (
	"context"
	"errors"
	"time"

	"valence/adapters/store"
)

// report takes what a trainer tells. Of reports without metrics only the last is kept
// until the next beat.
func (w *worker) report(p Progress) {
	w.mu.Lock()
	if n := len(w.steps); n > 0 && w.steps[n-1].Metrics == nil {
		w.steps = w.steps[:n-1]
	}
	w.steps = append(w.steps, p)
	w.mu.Unlock()
	if p.Metrics != nil {
		w.nudge()
	}
}

// reports takes those that are not written yet.
func (w *worker) reports() []Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	reports := w.steps
	w.steps = nil
	return reports
}

// keepReports puts back what could not be written.
func (w *worker) keepReports(reports []Progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(reports, w.steps...)
}

// nudge makes the beat come at once.
func (w *worker) nudge() {
	select {
	case w.look <- struct{}{}:
	default: // it comes anyway
	}
}

// beat shows again and again that the worker lives, writes its progress and looks at what
// is asked of the job, until ctx ends.
func (w *worker) beat(ctx context.Context) {
	ticker := time.NewTicker(w.m.o.Beat)
	defer ticker.Stop()
	for {
		w.beatOnce()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-w.look:
		}
	}
}

// beatOnce is not broken off when the worker is done: to end a statement midway can cost
// the connection.
func (w *worker) beatOnce() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.queue), settleTimeout)
	defer cancel()
	reports := w.reports()
	var state State
	err := w.change(ctx, func(_ *store.Tx, r *record) error {
		r.beat++
		state = r.State
		return r.report(reports)
	})
	switch {
	case err == nil:
		w.mute = false
		w.follow(state)
	case errors.Is(err, errLost) || errors.Is(err, ErrNotFound):
		w.cancel(errLost)
	default:
		w.keepReports(reports)
		if !w.mute {
			w.m.o.Log.WarnContext(ctx, "a worker cannot show that it lives", "job", w.job.ID, "error", err)
		}
		w.mute = true
	}
}

// follow does what the job's state asks of who works on it.
func (w *worker) follow(state State) {
	w.halt.Store(!state.working())
	if state == Cancelling {
		w.cancel(errCancelled)
	}
}
