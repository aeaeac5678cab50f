package jobs

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"valence/adapters/store"
)

// Manager keeps the jobs of a store and works on them. Several managers, also of other
// processes, may share one store. It is safe for concurrent use.
type Manager struct {
	o       Options
	db      *sql.DB
	owner   string // names this manager where it works on a job
	queue   *river.Client[*sql.Tx]
	metrics *metrics
	signals signals

	ctx  context.Context // ends when Close begins
	stop context.CancelFunc
	wg   sync.WaitGroup // what runs beside the queue

	starting sync.WaitGroup // of the queue

	mu         sync.Mutex
	running    map[string]*worker // by job
	stuck      map[string]string  // why jobs do not go on that nobody works on, as of the last look
	submitting map[string]string  // hashes of requests by their idempotency keys
}

// New opens the jobs of a store and begins to work on them. The store must be open for
// as long as the manager is.
func New(ctx context.Context, o Options) (*Manager, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := migrateQueue(ctx, o.Store); err != nil {
		return nil, fmt.Errorf("jobs: tables of the queue: %w", err)
	}
	m := &Manager{
		o: o, db: o.Store.DB(), owner: newID(), metrics: newMetrics(o.Metrics),
		running: map[string]*worker{}, stuck: map[string]string{}, submitting: map[string]string{},
	}
	m.ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	var err error
	if m.queue, err = m.newQueue(); err != nil {
		return nil, fmt.Errorf("jobs: queue: %w", err)
	}
	if o.Workers > 0 {
		if err := m.begin(context.WithoutCancel(ctx), m.queue.Start); err != nil {
			m.stop()
			return nil, fmt.Errorf("jobs: queue: %w", err)
		}
	}
	m.wg.Go(m.watch)
	m.wg.Go(m.tidy)
	return m, nil
}

// longestPause is the most between two tries to start the queue, after each of which the next
// one is twice as far away.
const longestPause = 10 * time.Second

// begin starts the queue, which writes. As long as there is no space for that it goes on trying
// beside: who is served does not wait for it.
func (m *Manager) begin(ctx context.Context, start func(context.Context) error) error {
	err := start(ctx)
	if !store.IsFull(err) {
		return err
	}
	m.o.Log.Warn("jobs wait: there is no space left to start their queue", "error", err)
	m.starting.Go(func() {
		for pause := m.o.Poll; err != nil; pause = min(2*pause, longestPause) {
			select {
			case <-m.ctx.Done():
				return
			case <-time.After(pause):
			}
			if err = start(ctx); err != nil && !store.IsFull(err) {
				m.o.Log.Error("the queue of the jobs does not start", "error", err)
			}
		}
		m.o.Log.Info("the queue of the jobs has started")
	})
	return nil
}

// hardStop is how long Close waits, after its context ended, for work to notice that.
const hardStop = 5 * time.Second

// Close lets what is being worked on stop at its next step, with a checkpoint, and ends
// all work here. When ctx ends first, work is broken off, to be done again from its last
// checkpoint. Jobs go on at another manager or at the next start.
func (m *Manager) Close(ctx context.Context) error {
	m.stop()
	m.starting.Wait()
	defer m.wg.Wait()
	if m.o.Workers <= 0 {
		return nil
	}
	err := m.queue.Stop(ctx)
	if err == nil {
		return nil
	}
	hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), hardStop)
	defer cancel()
	if hardErr := m.queue.StopAndCancel(hard); hardErr != nil {
		return fmt.Errorf("jobs: close: work goes on though it was told to stop: %w", errors.Join(err, hardErr))
	}
	return fmt.Errorf("jobs: close: work was broken off, to be done again from its last checkpoint: %w", err)
}

// transact runs f in a transaction of the store.
func (m *Manager) transact(ctx context.Context, f func(*store.Tx) error) error {
	var inner error
	err := m.o.Store.Change(ctx, func(t *store.Tx) error {
		inner = f(t)
		return inner
	})
	if own(inner) {
		return inner
	}
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	return nil
}

// change changes a job in one transaction and tells those who follow it. The job is
// given back as it is afterwards; errUnchanged, from f, leaves it as it was.
func (m *Manager) change(ctx context.Context, id string, f func(t *store.Tx, r *record) error) (*record, error) {
	var (
		r    *record
		from State
	)
	err := m.transact(ctx, func(t *store.Tx) (err error) {
		if r, err = lock(ctx, t.SQL(), id); err != nil {
			return err
		}
		from = r.State
		if err := f(t, r); err != nil {
			return err
		}
		return r.save(ctx, t.SQL())
	})
	if errors.Is(err, errUnchanged) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if len(r.events) > 0 {
		m.signals.tell(id)
	}
	if r.State.Final() && from != r.State {
		m.metrics.finished.WithLabelValues(string(r.State)).Inc()
	}
	return r, nil
}

// newID makes an id that is unlike all others and sorts by time, as a text: 48 bits of
// milliseconds and 80 at random, in base 32.
func newID() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(time.Now().UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}
