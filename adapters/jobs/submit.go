package jobs

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"valence/adapters/store"
)

// Request asks for a job.
type Request struct {
	Adapter string // id of the adapter that gets a version
	Spec    Spec
	Data    Data
	// Key is the caller's idempotency key, or "" for none: the same request with the same
	// key is one job.
	Key string
	// Fingerprint tells requests with one key apart; "" goes by the fields above. It is for
	// callers whose own request says less than Data does, which may differ by the time that
	// it comes again.
	Fingerprint string
	// Keep stores the data that is not stored yet, between the check and the queue, so that
	// nothing is kept of a request that is refused; nil where all of it is.
	Keep func(context.Context) error
}

// Plan says what a request would mean, without queueing it. Errors are the Trainer's.
func (m *Manager) Plan(ctx context.Context, r Request) (Plan, error) {
	return m.o.Trainer.Plan(ctx, r.Adapter, r.Spec, r.Data)
}

// Submit checks a request and queues it; the job is durable when it is given back.
// replay says that it is the job of an earlier request with the same key. ErrKeyReused
// is wrapped where that request was another one, ErrInProgress where it is not answered
// yet, ErrInvalidJob where it cannot be trained, and store.ErrNotFound where a blob of
// its data is not there.
func (m *Manager) Submit(ctx context.Context, r Request) (job Job, replay bool, err error) {
	if m.ctx.Err() != nil {
		return Job{}, false, ErrClosed
	}
	hash, err := r.hash()
	if err != nil {
		return Job{}, false, err
	}
	if r.Key != "" {
		if err := m.beginSubmit(r.Key, hash); err != nil {
			return Job{}, false, err
		}
		defer m.endSubmit(r.Key)
		if earlier, err := m.byKey(ctx, m.db, r.Key, hash); !errors.Is(err, ErrNotFound) {
			return earlier, err == nil, err
		}
	}
	if err := m.o.Trainer.Check(ctx, r.Adapter, r.Spec, r.Data); err != nil {
		return Job{}, false, err
	}
	if r.Keep != nil {
		if err := r.Keep(ctx); err != nil {
			return Job{}, false, err
		}
	}
	return m.insert(ctx, r, hash)
}

// Submitted gives the job of an earlier request with a key, or ErrNotFound; ErrKeyReused
// where that request had another fingerprint. A request that is not answered yet is not
// found: Submit tells of it.
func (m *Manager) Submitted(ctx context.Context, key, fingerprint string) (Job, error) {
	hash, err := (&Request{Fingerprint: fingerprint}).hash()
	if err != nil {
		return Job{}, err
	}
	return m.byKey(ctx, m.db, key, hash)
}

// hash tells requests apart.
func (r *Request) hash() (string, error) {
	if r.Fingerprint != "" {
		return "of " + r.Fingerprint, nil // no hash looks like this
	}
	text, err := encode(struct {
		Adapter string
		Spec    Spec
		Data    Data
	}{r.Adapter, r.Spec, r.Data})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalidJob, err)
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:]), nil
}

// beginSubmit keeps a second request with a key from overtaking the first. Between
// processes the database decides, when the job is inserted.
func (m *Manager) beginSubmit(key, hash string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch other, ok := m.submitting[key]; {
	case !ok:
		m.submitting[key] = hash
		return nil
	case other == hash:
		return fmt.Errorf("%w: %q", ErrInProgress, key)
	default:
		return fmt.Errorf("%w: %q", ErrKeyReused, key)
	}
}

func (m *Manager) endSubmit(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.submitting, key)
}

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// byKey gives the job of a key, or ErrNotFound, or ErrKeyReused.
func (m *Manager) byKey(ctx context.Context, q querier, key, hash string) (Job, error) {
	var id, other string
	err := q.QueryRowContext(ctx, "SELECT id, hash FROM jobs WHERE idempotency_key = $1", key).Scan(&id, &other)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Job{}, ErrNotFound
	case err != nil:
		return Job{}, fmt.Errorf("jobs: idempotency key: %w", err)
	case other != hash:
		return Job{}, fmt.Errorf("%w: %q is that of job %s", ErrKeyReused, key, id)
	}
	return get(ctx, q, id)
}

// insert makes the job, its hold on the data and its place in the queue, all or nothing.
func (m *Manager) insert(ctx context.Context, request Request, hash string) (job Job, replay bool, err error) {
	r := &record{Job: Job{
		ID: newID(), Adapter: request.Adapter, State: Queued, Phase: Queued,
		Spec: request.Spec, Data: request.Data, Base: m.o.Base, Created: now(),
	}}
	err = m.transact(ctx, func(t *store.Tx) error {
		inserted, err := r.insert(ctx, t.SQL(), hash, request.Key)
		if err != nil {
			return err
		}
		if !inserted {
			replay = true
			job, err = m.byKey(ctx, t.SQL(), request.Key, hash)
			return err
		}
		for _, digest := range request.Data.Blobs {
			if err := t.HoldBlob(ctx, holder(r.ID), digest); err != nil {
				return err
			}
		}
		if err := r.tell(KindState, StateChange{To: Queued}); err != nil {
			return err
		}
		if err := m.enqueue(ctx, t.SQL(), r, 0); err != nil {
			return err
		}
		job = r.Job
		return r.save(ctx, t.SQL())
	})
	if err != nil {
		return Job{}, false, err
	}
	if !replay {
		m.metrics.submitted.Inc()
	}
	return job, replay, nil
}

// holder names a job where it holds blobs of the store.
func holder(id string) string { return "job:" + id }
