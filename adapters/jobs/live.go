package jobs

import (
	"context"
	"errors"
	"fmt"
)

// Live gives a job's vectors as they are: those of the worker, where it is of this
// process, or else of the last checkpoint. ErrNoLive is wrapped before the first
// checkpoint and when the job has succeeded; the adapter's version has them then.
// ErrBaseChanged is wrapped where they are of another base.
func (m *Manager) Live(ctx context.Context, id string) (Live, error) {
	m.mu.Lock()
	w := m.running[id]
	m.mu.Unlock()
	if w != nil {
		if live, ok, err := w.live(ctx); ok {
			return live, err
		}
	}
	job, checkpoint, err := m.lastCheckpoint(ctx, id)
	if err != nil {
		return Live{}, err
	}
	if job.Base != m.o.Base {
		return Live{}, fmt.Errorf("%w: job %s was made for %s; the server has %s", ErrBaseChanged, id, job.Base, m.o.Base)
	}
	return m.o.Trainer.Live(ctx, job.Spec, job.Data, checkpoint)
}

// lastCheckpoint reads a job and its last checkpoint, which may be replaced, or gone with
// the job's success, between the two.
func (m *Manager) lastCheckpoint(ctx context.Context, id string) (Job, []byte, error) {
	job, err := m.Get(ctx, id)
	for {
		if err != nil {
			return Job{}, nil, err
		}
		if job.Checkpoint == 0 {
			return Job{}, nil, fmt.Errorf("job %s: %w", id, ErrNoLive)
		}
		checkpoint, errRead := m.readCheckpoint(ctx, id, job.Checkpoint)
		if !errors.Is(errRead, ErrDamaged) {
			return job, checkpoint, errRead
		}
		before := job.Checkpoint
		if job, err = m.Get(ctx, id); err == nil && job.Checkpoint == before {
			return Job{}, nil, errRead
		}
	}
}

// live asks the trainer, if it shares its vectors at this moment.
func (w *worker) live(ctx context.Context) (live Live, ok bool, err error) {
	w.share.RLock()
	defer w.share.RUnlock()
	if w.shared == nil {
		return Live{}, false, nil
	}
	live, err = w.shared(ctx)
	return live, true, err
}
