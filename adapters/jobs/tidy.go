package jobs

import (
	"context"
	"fmt"
	"time"

	"valence/adapters/store"
)

// tidyEvery is how often finished jobs are looked through.
const tidyEvery = time.Hour

// tidy deletes jobs that finished long ago, until the manager is closed.
func (m *Manager) tidy() {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	for {
		if err := m.tidyOnce(m.ctx, now().Add(-m.o.Retention)); err != nil && m.ctx.Err() == nil {
			m.o.Log.WarnContext(m.ctx, "cannot delete old jobs", "error", err)
		}
		select {
		case <-m.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// tidyOnce deletes the jobs that finished before a time, each in a transaction of its own.
func (m *Manager) tidyOnce(ctx context.Context, before time.Time) error {
	ids, err := m.finishedBefore(ctx, before)
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	for _, id := range ids {
		if err := m.transact(ctx, func(t *store.Tx) error { return drop(ctx, t, id) }); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) finishedBefore(ctx context.Context, before time.Time) (ids []string, err error) {
	rows, err := m.db.QueryContext(ctx, "SELECT id FROM jobs WHERE state IN ($1, $2, $3) AND finished < $4",
		Succeeded, Failed, Cancelled, toMicro(before))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
