package jobs

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxEvents bounds how many events one call reads.
const maxEvents = 1000

// tell adds an event, which is written with the row.
func (r *record) tell(kind Kind, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("jobs: event: %w", err)
	}
	r.Events++
	r.events = append(r.events, Event{Sequence: r.Events, Time: now(), Kind: kind, Data: encoded})
	return nil
}

// report notes reports of a trainer, oldest first. A step that was told of before the
// job went back to a checkpoint is not told again; reports with metrics always are, once.
func (r *record) report(reports []Progress) error {
	for _, p := range reports {
		r.Progress = p
		switch {
		case p.Metrics != nil && p.Step > r.toldEpoch:
			r.toldEpoch = p.Step
			r.toldStep = max(r.toldStep, p.Step)
			if err := r.tell(KindEpoch, p); err != nil {
				return err
			}
		case p.Metrics == nil && p.Step > r.toldStep:
			r.toldStep = p.Step
			if err := r.tell(KindStep, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *record) saveEvents(ctx context.Context, tx *sql.Tx) error {
	for _, e := range r.events {
		_, err := tx.ExecContext(ctx, `INSERT INTO job_events (job, sequence, created, kind, data) VALUES ($1, $2, $3, $4, $5)`,
			r.ID, e.Sequence, toMicro(e.Time), e.Kind, string(e.Data))
		if err != nil {
			return err
		}
	}
	return nil
}

// Events gives the events of a job that follow a sequence, in order: at most limit, and
// at most 1000. None means that there are none yet.
func (m *Manager) Events(ctx context.Context, job string, after int64, limit int) ([]Event, error) {
	if limit <= 0 || limit > maxEvents {
		limit = maxEvents
	}
	events, err := m.queryEvents(ctx, `SELECT sequence, created, kind, data FROM job_events
		WHERE job = $1 AND sequence > $2 ORDER BY sequence LIMIT $3`, job, after, limit)
	if err == nil && len(events) == 0 {
		_, err = m.Get(ctx, job) // there may be no such job
	}
	return events, err
}

// Metrics gives a job's reports of whole epochs, oldest first.
func (m *Manager) Metrics(ctx context.Context, job string) ([]Progress, error) {
	events, err := m.queryEvents(ctx, `SELECT sequence, created, kind, data FROM job_events
		WHERE job = $1 AND kind = $2 ORDER BY sequence`, job, KindEpoch)
	if err != nil {
		return nil, err
	}
	reports := make([]Progress, len(events))
	for i, e := range events {
		if err := json.Unmarshal(e.Data, &reports[i]); err != nil {
			return nil, fmt.Errorf("jobs: event %d of job %s in the database: %w", e.Sequence, job, err)
		}
	}
	return reports, nil
}

func (m *Manager) queryEvents(ctx context.Context, query string, args ...any) ([]Event, error) {
	rows, err := m.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("jobs: read events: %w", err)
	}
	defer rows.Close()
	var events []Event
	for rows.Next() {
		var (
			e    Event
			us   int64
			data string
		)
		if err := rows.Scan(&e.Sequence, &us, &e.Kind, &data); err != nil {
			return nil, fmt.Errorf("jobs: read events: %w", err)
		}
		e.Time, e.Data = fromMicro(us), jsontext.Value(data)
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("jobs: read events: %w", err)
	}
	return events, nil
}
