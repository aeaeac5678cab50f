package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/riverqueue/river/rivertype"

	"valence/adapters/store"
)

// sighting is what of a job's row changes while somebody has it.
type sighting struct {
	id, owner            string
	segment, epoch, beat int64
	entry                int64
}

// seen is a sighting with the time of this process since which nothing has changed.
type seen struct {
	sighting
	since time.Time
}

// watch looks for jobs whose worker is gone, or whose entry in the queue is, until the
// manager is closed.
func (m *Manager) watch() {
	ticker := time.NewTicker(m.o.Lease / 4)
	defer ticker.Stop()
	last := map[string]seen{}
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-ticker.C:
		}
		next, err := m.watchOnce(m.ctx, last)
		if err != nil && m.ctx.Err() == nil {
			m.o.Log.WarnContext(m.ctx, "cannot look for jobs whose worker is gone", "error", err)
			continue
		}
		last = next
	}
}

// watchOnce takes over what has stood still for a lease, and gives what it saw.
func (m *Manager) watchOnce(ctx context.Context, last map[string]seen) (map[string]seen, error) {
	jobs, err := m.sight(ctx)
	if err != nil {
		return nil, err
	}
	next := make(map[string]seen, len(jobs))
	for _, s := range jobs {
		before, ok := last[s.id]
		if !ok || before.sighting != s {
			before = seen{s, time.Now()}
		}
		if time.Since(before.since) >= m.o.Lease {
			if err := m.rescue(ctx, s); err != nil {
				return nil, err
			}
			before.since = time.Now()
		}
		next[s.id] = before
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.stuck, func(id, _ string) bool { _, there := next[id]; return !there })
	return next, nil
}

// sight lists the jobs that somebody has or should get.
func (m *Manager) sight(ctx context.Context) (out []sighting, err error) {
	rows, err := m.db.QueryContext(ctx, `SELECT id, owner, segment, epoch, beat, entry FROM jobs
		WHERE owner <> '' OR state IN ($1, $2, $3, $4, $5)`, Queued, Validating, Running, Evaluating, Publishing)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var s sighting
		if err := rows.Scan(&s.id, &s.owner, &s.segment, &s.epoch, &s.beat, &s.entry); err != nil {
			return nil, fmt.Errorf("jobs: %w", err)
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// rescue hands a job's segment out anew, unless it only waits for its turn or somebody
// else was faster.
func (m *Manager) rescue(ctx context.Context, s sighting) error {
	reason := recoverWorker
	if s.owner == "" {
		reason = recoverEntry
		waits, err := m.waitsInQueue(ctx, s.entry)
		if err != nil {
			return err
		}
		if waits {
			return m.probe(ctx, s.id)
		}
	}
	_, err := m.change(ctx, s.id, func(t *store.Tx, r *record) error {
		if s != (sighting{r.ID, r.owner, r.segment, r.epoch, r.beat, r.entry}) {
			return errUnchanged
		}
		if err := m.takeOver(ctx, t, r, reason); err != nil {
			return err
		}
		m.metrics.recovered.WithLabelValues(reason).Inc()
		m.o.Log.WarnContext(ctx, "a job goes on from its last checkpoint", "job", r.ID, "reason", reason, "checkpoint", r.Checkpoint)
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// probe writes something that nothing depends on while nobody works on the job, and notes
// why a job that only waits for its turn will not have it as long as nothing can be
// written: the queue hands nothing out then, and tells the log alone.
func (m *Manager) probe(ctx context.Context, id string) error {
	err := m.transact(ctx, func(t *store.Tx) error {
		_, err := t.SQL().ExecContext(ctx, "UPDATE jobs SET beat = beat + 1 WHERE id = $1 AND owner = ''", id)
		return err
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.stuck, id)
		return nil
	}
	m.stuck[id] = waiting(err)
	if errors.Is(err, store.ErrFull) {
		return nil
	}
	return err
}

// waitsInQueue tells whether an entry will be handed out by and by. One that was handed
// out and not claimed since, or is gone, will not.
func (m *Manager) waitsInQueue(ctx context.Context, entry int64) (bool, error) {
	row, err := m.queue.JobGet(ctx, entry)
	if errors.Is(err, rivertype.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("jobs: queue: %w", err)
	}
	switch row.State {
	case rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateScheduled:
		return true, nil
	}
	return false, nil
}

// takeOver ends a segment for whoever may still work on it, and hands it out anew where
// the job is to go on.
func (m *Manager) takeOver(ctx context.Context, t *store.Tx, r *record, reason string) error {
	if err := m.dequeue(ctx, t.SQL(), r); err != nil {
		return err
	}
	r.owner = ""
	r.epoch++
	r.attempts++
	if err := r.recover(reason); err != nil {
		return err
	}
	if r.attempts > m.o.MaxLost {
		return r.fail(fmt.Errorf("%w: %d times since checkpoint %d", errWorkerLost, r.attempts, r.Checkpoint), r.Phase)
	}
	if err := r.move(r.position().released(r.Phase)); err != nil || !r.State.working() {
		return err
	}
	return m.enqueue(ctx, t.SQL(), r, 0)
}
