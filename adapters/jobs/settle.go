package jobs

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivertype"

	"valence/adapters/store"
)

// outcome is how a segment ended.
type outcome struct {
	phase      State // where the job goes on, or Succeeded
	plan       Plan
	checkpoint []byte  // nil for none
	result     *Result // or nil
	version    string
	activated  bool
	err        error // why the segment came to nothing, or nil
	lost       bool  // somebody else has the job
}

// name is that of the metrics.
func (o *outcome) name(settled error) string {
	switch {
	case o.lost || errors.Is(settled, errLost):
		return "lost"
	case o.err != nil || settled != nil:
		return "failed"
	default:
		return "done"
	}
}

const (
	settleTimeout = 30 * time.Second // of one try, and of a beat
	firstPause    = 250 * time.Millisecond
	lastPause     = 30 * time.Second
	settleTries   = 10 // of a database that fails; of one that is full without end
)

// settle writes how the segment ended. What was trained is kept in memory for as long as
// the disk is full, and for some tries when the database fails otherwise; then it is
// given up, to be done again from the last checkpoint.
func (w *worker) settle(o outcome) error {
	if o.lost {
		return errLost
	}
	reports := w.reports()
	defer w.setWaits("")
	for try, pause := 1, firstPause; ; try, pause = try+1, min(2*pause, lastPause) {
		err := w.trySettle(o, reports)
		full := errors.Is(err, store.ErrFull)
		switch {
		case err == nil || errors.Is(err, errLost):
			return err
		case errors.Is(err, ErrNotFound):
			return errLost
		case !full && try == settleTries:
			return err
		}
		w.setWaits(waiting(err))
		w.m.o.Log.Warn("a segment cannot be saved; trying again", "job", w.job.ID, "error", err, "in", pause)
		if !w.waitToSettle(pause) {
			return fmt.Errorf("jobs: closed before a segment of job %s could be saved: %w", w.job.ID, err)
		}
	}
}

// waiting tells why a job does not go on. The cause of a full disk names files of the
// server, which the log has.
func waiting(err error) string {
	if errors.Is(err, store.ErrFull) {
		return "the server has no space left on its disk; the job goes on by itself when there is room"
	}
	return clean(err.Error())
}

// waitToSettle waits for a while, showing that the worker lives as well as it can. It
// tells whether to go on.
func (w *worker) waitToSettle(pause time.Duration) bool {
	ctx, stop := context.WithTimeout(w.m.ctx, pause)
	defer stop()
	if w.ctx.Err() == nil { // a request to cancel, for which less need be written, ends the wait
		defer context.AfterFunc(w.ctx, stop)()
	}
	w.beat(ctx)
	return w.m.ctx.Err() == nil
}

// trySettle writes it in one transaction: the checkpoint or result, the state, the next
// segment and the end of this one in the queue.
func (w *worker) trySettle(o outcome, reports []Progress) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.queue), settleTimeout)
	defer cancel()
	return w.change(ctx, func(t *store.Tx, r *record) error {
		if err := r.report(reports); err != nil {
			return err
		}
		r.owner, r.Waiting = "", ""
		again, err := w.apply(ctx, t, r, o)
		if err != nil {
			return err
		}
		if r.State.working() {
			if err := w.m.enqueue(ctx, t.SQL(), r, again); err != nil {
				return err
			}
		} else {
			r.segment++ // this entry is done
			r.entry = 0
		}
		return w.complete(ctx, t.SQL())
	})
}

// apply changes the row by an outcome. again is the pause before the next segment.
func (w *worker) apply(ctx context.Context, t *store.Tx, r *record, o outcome) (again time.Duration, err error) {
	if o.checkpoint != nil {
		if err := r.saveCheckpoint(ctx, t.SQL(), o.checkpoint); err != nil {
			return 0, err
		}
	}
	if o.err != nil {
		return w.applyError(ctx, t.SQL(), r, o.err)
	}
	r.attempts = 0
	if o.plan != nil {
		r.Plan = o.plan
	}
	if o.result != nil {
		if err := r.saveResult(ctx, t.SQL(), o.result); err != nil {
			return 0, err
		}
	}
	if o.phase == Succeeded {
		r.Version, r.Activated = o.version, o.activated
		if err := errors.Join(r.dropWork(ctx, t.SQL()), t.ReleaseBlobs(ctx, holder(r.ID))); err != nil {
			return 0, err
		}
	}
	return 0, r.move(r.position().released(o.phase))
}

// applyError fails the job, or lets it try again after a while.
func (w *worker) applyError(ctx context.Context, tx *sql.Tx, r *record, cause error) (again time.Duration, err error) {
	full := errors.Is(cause, store.ErrFull)
	if !full {
		r.attempts++
	}
	if full || errors.Is(cause, errPublish) && r.attempts < w.m.o.PublishAttempts {
		r.Waiting = waiting(cause)
		w.m.o.Log.WarnContext(ctx, "a job waits", "job", r.ID, "phase", r.Phase, "error", cause)
		return w.m.backoff(r.attempts), r.move(r.position().released(r.Phase))
	}
	w.m.o.Log.WarnContext(ctx, "a job failed", "job", r.ID, "phase", r.Phase, "error", cause)
	phase := r.Phase
	if errors.Is(cause, ErrDamaged) { // so that a retry begins anew, where it would meet the same
		if err := r.dropWork(ctx, tx); err != nil {
			return 0, err
		}
		r.Phase = Running
	}
	return 0, r.fail(cause, phase)
}

// fail fails the job, unless it was being cancelled.
func (r *record) fail(cause error, phase State) error {
	p := r.position().failed()
	if p.state == Failed {
		r.Failure = failureOf(cause, phase)
	}
	return r.move(p)
}

// backoff is the pause before the next try.
func (m *Manager) backoff(attempts int) time.Duration {
	pause := m.o.Beat * 4
	for range attempts {
		pause = min(2*pause, 5*time.Minute)
	}
	return pause
}

// complete ends this segment's entry in the queue, unless River has done so.
func (w *worker) complete(ctx context.Context, tx *sql.Tx) error {
	var err error
	if w.m.o.Store.Dialect() == store.PostgreSQL {
		_, err = river.JobCompleteTx[*riverdatabasesql.Driver](ctx, tx, w.entry)
	} else {
		_, err = river.JobCompleteTx[*riversqlite.Driver](ctx, tx, w.entry)
	}
	if errors.Is(err, rivertype.ErrNotFound) {
		return nil
	}
	return err
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
