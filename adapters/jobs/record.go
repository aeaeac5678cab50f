package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// record is a job's row, to be changed within one transaction.
type record struct {
	Job
	owner     string // worker that has the job, or ""
	epoch     int64  // how often the job changed hands: who holds an older one may write nothing
	beat      int64  // rises while the owner lives
	segment   int64  // number of the segment that counts; queue entries of others are void
	entry     int64  // that segment's id in the queue
	attempts  int    // at this segment that came to nothing
	toldStep  int    // highest step that an event told of
	toldEpoch int    // the same of the events of epochs

	events []Event // to be written with the row
}

// columns are read by scan, in its order.
const columns = `id, adapter, state, phase, waiting, spec, data, base, plan, progress, metrics, digest, version, activated,
	failure, created, started, finished, events, checkpoint, owner, epoch, beat, segment, entry, attempts, told_step, told_epoch`

func scan(row interface{ Scan(...any) error }) (*record, error) {
	var (
		r                                            record
		spec, data, plan, progress, results, failure string
		created, started, finished                   int64
	)
	err := row.Scan(&r.ID, &r.Adapter, &r.State, &r.Phase, &r.Waiting, &spec, &data, &r.Base, &plan, &progress, &results,
		&r.Digest, &r.Version, &r.Activated, &failure, &created, &started, &finished, &r.Events, &r.Checkpoint,
		&r.owner, &r.epoch, &r.beat, &r.segment, &r.entry, &r.attempts, &r.toldStep, &r.toldEpoch)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	r.Working = r.owner != ""
	r.Plan, r.Metrics = optional(plan), optional(results)
	r.Created, r.Started, r.Finished = fromMicro(created), fromMicro(started), fromMicro(finished)
	for _, field := range []struct {
		name, text string
		into       any
	}{{"spec", spec, &r.Spec}, {"data", data, &r.Data}, {"progress", progress, &r.Progress}, {"failure", failure, &r.Failure}} {
		if field.text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(field.text), field.into); err != nil {
			return nil, fmt.Errorf("jobs: %s of job %s in the database: %w", field.name, r.ID, err)
		}
	}
	return &r, nil
}

// optional reads a JSON column, which is empty for none.
func optional(text string) jsontext.Value {
	if text == "" {
		return nil
	}
	return jsontext.Value(text)
}

// encode writes a JSON column.
func encode(v any) (string, error) {
	data, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return "", fmt.Errorf("jobs: %w", err)
	}
	return string(data), nil
}

// Times are kept as microseconds since 1970; 0 stands for none.
func toMicro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicro(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// insert adds a new job, unless another one has its idempotency key.
func (r *record) insert(ctx context.Context, tx *sql.Tx, hash, key string) (inserted bool, err error) {
	spec, err := encode(r.Spec)
	if err != nil {
		return false, err
	}
	data, err := encode(r.Data)
	if err != nil {
		return false, err
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO jobs (id, adapter, state, phase, spec, data, base, hash, idempotency_key, created)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (idempotency_key) DO NOTHING`,
		r.ID, r.Adapter, r.State, r.Phase, spec, data, r.Base, hash, sql.NullString{String: key, Valid: key != ""}, toMicro(r.Created))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// lock reads a job and keeps others from changing it until the transaction ends.
func lock(ctx context.Context, tx *sql.Tx, id string) (*record, error) {
	return scan(tx.QueryRowContext(ctx, `UPDATE jobs SET changes = changes + 1 WHERE id = $1 RETURNING `+columns, id))
}

// save writes what may change of a locked job, and its events.
func (r *record) save(ctx context.Context, tx *sql.Tx) error {
	if err := r.saveEvents(ctx, tx); err != nil {
		return err
	}
	progress, err := encode(r.Progress)
	if err != nil {
		return err
	}
	failure := ""
	if r.Failure != nil {
		if failure, err = encode(r.Failure); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `UPDATE jobs SET state = $1, phase = $2, waiting = $3, plan = $4, progress = $5, metrics = $6,
		digest = $7, version = $8, activated = $9, failure = $10, started = $11, finished = $12, events = $13, checkpoint = $14,
		owner = $15, epoch = $16, beat = $17, segment = $18, entry = $19, attempts = $20, told_step = $21, told_epoch = $22
		WHERE id = $23`,
		r.State, r.Phase, r.Waiting, string(r.Plan), progress, string(r.Metrics),
		r.Digest, r.Version, r.Activated, failure, toMicro(r.Started), toMicro(r.Finished), r.Events, r.Checkpoint,
		r.owner, r.epoch, r.beat, r.segment, r.entry, r.attempts, r.toldStep, r.toldEpoch, r.ID)
	return err
}

// position is the job's, for the commands and outcomes of state.go.
func (r *record) position() position { return position{r.State, r.Phase, r.owner != ""} }

// move puts the job into a position and tells of it. Who owns it is the caller's to set.
func (r *record) move(p position) error {
	if !r.State.may(p.state) {
		return fmt.Errorf("jobs: job %s would go from %s to %s, which never happens", r.ID, r.State, p.state)
	}
	from := r.State
	r.State, r.Phase = p.state, p.phase
	if from == p.state {
		return nil
	}
	switch {
	case p.state.Final():
		r.Finished = now()
		r.Waiting = ""
	case from.Final():
		r.Finished, r.Failure = time.Time{}, nil
	}
	return r.tell(KindState, StateChange{From: from, To: p.state, Failure: r.Failure, Version: r.Version})
}
