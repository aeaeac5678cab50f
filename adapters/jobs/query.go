package jobs

import (
	"context"
	"fmt"
)

// maxList bounds how many jobs one call lists.
const maxList = 200

// Get gives a job as it stands, or ErrNotFound.
func (m *Manager) Get(ctx context.Context, id string) (Job, error) {
	job, err := get(ctx, m.db, id)
	if err != nil {
		return Job{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tellWaiting(&job)
	return job, nil
}

// tellWaiting sets why a job waits where this process knows it better than its record. The
// lock is held.
func (m *Manager) tellWaiting(job *Job) {
	waiting := ""
	switch w := m.running[job.ID]; {
	case job.Working && w != nil:
		waiting = w.waits()
	case !job.Working && job.State.working():
		waiting = m.stuck[job.ID]
	}
	if waiting != "" {
		job.Waiting = waiting
	}
}

func get(ctx context.Context, q querier, id string) (Job, error) {
	r, err := scan(q.QueryRowContext(ctx, "SELECT "+columns+" FROM jobs WHERE id = $1", id))
	if err != nil {
		return Job{}, fmt.Errorf("job %s: %w", id, err)
	}
	return r.Job, nil
}

// Filter chooses jobs to list.
type Filter struct {
	Adapter string  // "" for any
	States  []State // none for any
	Before  string  // id of the last job of the list before, or ""
	Limit   int     // at most 200, which 0 stands for
}

// List lists jobs, the newest first. ErrNotFound is wrapped where Filter.Before is gone.
func (m *Manager) List(ctx context.Context, f Filter) ([]Job, error) {
	if f.Limit <= 0 || f.Limit > maxList {
		f.Limit = maxList
	}
	var before Job
	if f.Before != "" {
		var err error
		if before, err = m.Get(ctx, f.Before); err != nil {
			return nil, err
		}
	}
	states := ""
	for _, state := range f.States {
		states += "," + string(state) + ","
	}
	// Ids are of lower-case letters and digits, which every locale puts in the same order.
	rows, err := m.db.QueryContext(ctx, `SELECT `+columns+` FROM jobs
		WHERE ($1 = '' OR adapter = $1) AND ($2 = '' OR $2 LIKE '%,' || state || ',%')
		AND ($3 = '' OR (created, id) < ($4, $3)) ORDER BY created DESC, id DESC LIMIT $5`,
		f.Adapter, states, before.ID, toMicro(before.Created), f.Limit)
	if err != nil {
		return nil, fmt.Errorf("jobs: list: %w", err)
	}
	defer rows.Close()
	var jobs []Job
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("jobs: list: %w", err)
		}
		jobs = append(jobs, r.Job)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("jobs: list: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range jobs {
		m.tellWaiting(&jobs[i])
	}
	return jobs, nil
}
