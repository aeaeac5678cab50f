package jobs

import (
	"context"
	"errors"
	"fmt"

	"valence/adapters/store"
)

// Pause keeps a job from going on until Resume: work stops, with a checkpoint, within a
// step or two. A job that is paused already stays so. Errors wrap ErrState or ErrNotFound.
func (m *Manager) Pause(ctx context.Context, id string) (Job, error) {
	return m.command(ctx, id, pause)
}

// Resume lets a paused job go on from where it stopped. Errors wrap ErrState or ErrNotFound.
func (m *Manager) Resume(ctx context.Context, id string) (Job, error) {
	return m.command(ctx, id, resume)
}

// Cancel ends a job: at once, or, while somebody works on it, within a step or two. A
// version that was published in the very moment stays, and the job succeeds. Errors wrap
// ErrState or ErrNotFound.
func (m *Manager) Cancel(ctx context.Context, id string) (Job, error) {
	return m.command(ctx, id, cancel)
}

// Retry lets a failed or cancelled job go on from its last checkpoint. Errors wrap
// ErrState or ErrNotFound.
func (m *Manager) Retry(ctx context.Context, id string) (Job, error) {
	return m.command(ctx, id, retry)
}

// command changes a job as asked, and sees to its place in the queue: an entry for what
// can go on, and none for what cannot. While a worker has the job, that is the worker's
// to do when it stops.
func (m *Manager) command(ctx context.Context, id string, c command) (Job, error) {
	r, err := m.change(ctx, id, func(t *store.Tx, r *record) error {
		p, err := c(r.position())
		if err != nil {
			return fmt.Errorf("job %s: %w", id, err)
		}
		if p == r.position() {
			return errUnchanged
		}
		if err := r.move(p); err != nil || p.owned {
			return err
		}
		r.Waiting, r.attempts = "", 0
		if p.state.working() {
			return m.enqueue(ctx, t.SQL(), r, 0)
		}
		return m.dequeue(ctx, t.SQL(), r)
	})
	if err != nil {
		return Job{}, err
	}
	m.tellWorker(id, r.State)
	return r.Job, nil
}

// tellWorker makes the worker of a job, if it is one of this process, do at once what the
// job's state asks for. Of several commands at once it may hear the wrong one last; the
// beat, which it is to make now, reads what holds.
func (m *Manager) tellWorker(id string, state State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.running[id]; w != nil {
		w.follow(state)
		w.nudge()
	}
}

// Delete removes a job that is in a final state, with its events. Errors wrap ErrState
// or ErrNotFound.
func (m *Manager) Delete(ctx context.Context, id string) error {
	err := m.transact(ctx, func(t *store.Tx) error {
		r, err := lock(ctx, t.SQL(), id)
		if err != nil {
			return err
		}
		if !r.State.Final() {
			return fmt.Errorf("job %s: %w: a %s job cannot be deleted; cancel it first", id, ErrState, r.State)
		}
		return drop(ctx, t, id)
	})
	if err == nil {
		m.signals.tell(id)
	}
	return err
}

func drop(ctx context.Context, t *store.Tx, id string) error {
	_, err := t.SQL().ExecContext(ctx, "DELETE FROM jobs WHERE id = $1", id)
	return errors.Join(err, t.ReleaseBlobs(ctx, holder(id)))
}
