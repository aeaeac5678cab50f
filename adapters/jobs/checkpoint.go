package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"valence/adapters/store"
)

// checkpointsKept is how many checkpoints a job has at most.
const checkpointsKept = 2

func (r *record) saveCheckpoint(ctx context.Context, tx *sql.Tx, data []byte) error {
	r.Checkpoint++
	_, err := tx.ExecContext(ctx, "INSERT INTO job_checkpoints (job, number, digest, data) VALUES ($1, $2, $3, $4)",
		r.ID, r.Checkpoint, digestOf(data), data)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM job_checkpoints WHERE job = $1 AND number <= $2", r.ID, r.Checkpoint-checkpointsKept)
	return err
}

// readCheckpoint gives a checkpoint; number 0 is the start, which is nil.
func (m *Manager) readCheckpoint(ctx context.Context, job string, number int64) ([]byte, error) {
	if number == 0 {
		return nil, nil
	}
	data, err := load(ctx, m.db, "SELECT digest, data FROM job_checkpoints WHERE job = $1 AND number = $2", job, number)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %d of job %s: %w", number, job, err)
	}
	return data, nil
}

// checkpoint gives what to go on from, nil at the start. Where the last one is damaged
// the job goes back to the one before, and says so.
func (w *worker) checkpoint() ([]byte, error) {
	data, err := w.m.readCheckpoint(w.ctx, w.job.ID, w.job.Checkpoint)
	if !errors.Is(err, ErrDamaged) {
		return data, err
	}
	earlier, earlierErr := w.m.readCheckpoint(w.ctx, w.job.ID, w.job.Checkpoint-1)
	if earlierErr != nil {
		return nil, fmt.Errorf("%w; %w; a retry begins anew", err, earlierErr)
	}
	w.m.o.Log.WarnContext(w.ctx, "a checkpoint is damaged; going on from the one before", "job", w.job.ID, "error", err)
	return earlier, w.change(w.ctx, func(t *store.Tx, r *record) error {
		_, err := t.SQL().ExecContext(w.ctx, "DELETE FROM job_checkpoints WHERE job = $1 AND number = $2", r.ID, r.Checkpoint)
		if err != nil {
			return err
		}
		r.Checkpoint--
		return r.recover(recoverDamaged)
	})
}

// Reasons of a Recovery.
const (
	recoverWorker  = "worker_lost"
	recoverEntry   = "segment_lost"
	recoverDamaged = "checkpoint_damaged"
)

func (r *record) recover(reason string) error {
	return r.tell(KindRecovery, Recovery{Reason: reason, Checkpoint: r.Checkpoint})
}

func (r *record) saveResult(ctx context.Context, tx *sql.Tx, result *Result) error {
	data, err := json.Marshal(result)
	if err != nil {
		return err
	}
	r.Digest, r.Metrics = result.Digest, result.Metrics
	_, err = tx.ExecContext(ctx, `INSERT INTO job_results (job, digest, data) VALUES ($1, $2, $3)
		ON CONFLICT (job) DO UPDATE SET digest = excluded.digest, data = excluded.data`, r.ID, digestOf(data), data)
	return err
}

func (m *Manager) result(ctx context.Context, job Job) (Result, error) {
	data, err := load(ctx, m.db, "SELECT digest, data FROM job_results WHERE job = $1", job.ID)
	if err != nil {
		return Result{}, fmt.Errorf("result of job %s: %w", job.ID, err)
	}
	var result Result
	if err := json.Unmarshal(data, &result); err != nil {
		return Result{}, fmt.Errorf("jobs: result of job %s in the database: %w", job.ID, err)
	}
	return result, nil
}

// dropWork removes what was trained so far.
func (r *record) dropWork(ctx context.Context, tx *sql.Tx) error {
	for _, table := range []string{"job_checkpoints", "job_results"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE job = $1", r.ID); err != nil {
			return err
		}
	}
	r.Checkpoint = 0
	return nil
}
