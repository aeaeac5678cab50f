package jobs

import (
	"context"
	"fmt"
)

// Live gives a job's vectors as they are: those of the worker, where it is of this
// process, or else of the last checkpoint. ErrNoLive is wrapped before the first
// checkpoint and when the job has succeeded; the adapter's version has them then.
func (m *Manager) Live(ctx context.Context, id string) (Live, error) {
	m.mu.Lock()
	w := m.running[id]
	m.mu.Unlock()
	if w != nil {
		if live, ok, err := w.live(ctx); ok {
			return live, err
		}
	}
	job, err := m.Get(ctx, id)
	if err != nil {
		return Live{}, err
	}
	if job.Checkpoint == 0 {
		return Live{}, fmt.Errorf("job %s: %w", id, ErrNoLive)
	}
	checkpoint, err := m.readCheckpoint(ctx, id, job.Checkpoint)
	if err != nil {
		return Live{}, err
	}
	return m.o.Trainer.Live(ctx, job.Spec, job.Data, checkpoint)
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
