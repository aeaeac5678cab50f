package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"valence/adapters/store"
)

const (
	queueName = "training"
	// queueLock is the advisory lock of PostgreSQL under which the queue's tables are made:
	// "valjobs" in ASCII.
	queueLock = 0x76616c6a6f6273
	// keepEntries is how long entries of segments that are done are kept, for a look.
	keepEntries = time.Hour
	// queueRescue is when River gives up an entry that it was told to cancel and that
	// nobody has ended: that of a dead worker.
	queueRescue = 10 * time.Minute
)

// segmentArgs is an entry of the queue. It is void unless the number is the job's.
type segmentArgs struct {
	Job    string `json:"job"`
	Number int64  `json:"segment"`
}

// Kind names the entries in the queue's table.
func (segmentArgs) Kind() string { return "training_segment" }

// entries gives the queue's entries to a manager.
type entries struct {
	river.WorkerDefaults[segmentArgs]
	manager *Manager
}

// Work ends an entry without an error even where the job fails: River's own attempts are
// for databases that cannot be reached.
func (e *entries) Work(ctx context.Context, entry *river.Job[segmentArgs]) error {
	return e.manager.work(ctx, entry)
}

// Timeout leaves it to the beat to tell who is dead.
func (e *entries) Timeout(*river.Job[segmentArgs]) time.Duration { return -1 }

func driver(s *store.Store) riverdriver.Driver[*sql.Tx] {
	if s.Dialect() == store.PostgreSQL {
		return riverdatabasesql.New(s.DB())
	}
	return riversqlite.New(s.DB())
}

// newQueue makes the client of the queue. It looks for entries by itself on both
// databases: a listener would save moments where segments take half a minute.
func (m *Manager) newQueue() (*river.Client[*sql.Tx], error) {
	config := &river.Config{
		ID:                          m.owner,
		Logger:                      m.o.Log.With("component", "river"),
		PollOnly:                    true,
		FetchCooldown:               min(m.o.Poll, river.FetchCooldownDefault),
		FetchPollInterval:           m.o.Poll,
		CompletedJobRetentionPeriod: keepEntries,
		CancelledJobRetentionPeriod: keepEntries,
		RescueStuckJobsAfter:        queueRescue,
	}
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &entries{manager: m}); err != nil {
		return nil, err
	}
	config.Workers = workers
	if m.o.Workers > 0 {
		config.Queues = map[string]river.QueueConfig{queueName: {MaxWorkers: m.o.Workers}}
	}
	return river.NewClient(driver(m.o.Store), config)
}

// enqueue makes a job's next segment the one that counts, after a pause.
func (m *Manager) enqueue(ctx context.Context, tx *sql.Tx, r *record, after time.Duration) error {
	r.segment++
	o := &river.InsertOpts{Queue: queueName}
	if after > 0 {
		o.ScheduledAt = time.Now().Add(after)
	}
	inserted, err := m.queue.InsertTx(ctx, tx, segmentArgs{r.ID, r.segment}, o)
	if err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	r.entry = inserted.Job.ID
	return nil
}

// dequeue makes a job's segment void, and ends its entry in the queue.
func (m *Manager) dequeue(ctx context.Context, tx *sql.Tx, r *record) error {
	r.segment++
	if r.entry == 0 {
		return nil
	}
	_, err := m.queue.JobCancelTx(ctx, tx, r.entry)
	if errors.Is(err, rivertype.ErrNotFound) { // cleaned away
		err = nil
	}
	r.entry = 0
	return err
}

// migrateQueue makes or updates the queue's tables, one process at a time.
func migrateQueue(ctx context.Context, s *store.Store) error {
	migrator, err := rivermigrate.New(driver(s), nil)
	if err != nil {
		return err
	}
	if s.Dialect() == store.SQLite {
		return s.Change(ctx, func(t *store.Tx) error {
			// It is deprecated for the sake of PostgreSQL, whose enumerations cannot grow and be used in one transaction.
			_, err := migrator.MigrateTx(ctx, t.SQL(), rivermigrate.DirectionUp, nil) //nolint:staticcheck
			return err
		})
	}
	conn, err := s.DB().Conn(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(queueLock)); err != nil {
		return errors.Join(err, conn.Close())
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	_, unlockErr := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(queueLock))
	return errors.Join(err, unlockErr, conn.Close())
}
