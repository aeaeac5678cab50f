package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Options says where the state is.
type Options struct {
	Dir string // the data folder of SQLite, made if need be; not looked at with a URL
	URL string // "" for SQLite in Dir, or "postgres://..." as libpq reads it
	Log *slog.Logger
}

// Dialect is the database that a store stands on.
type Dialect int

// The dialects.
const (
	SQLite Dialect = iota
	PostgreSQL
)

func (d Dialect) String() string {
	if d == PostgreSQL {
		return "PostgreSQL"
	}
	return "SQLite"
}

// Store is safe for concurrent use, and several stores, in one or more processes, may
// be open on one database.
type Store struct {
	log     *slog.Logger
	dialect Dialect
	dir     string // of SQLite's file
	db      *sql.DB
	readers *sql.DB // for reading; the same as db but for SQLite

	listen  func(ctx context.Context, heard func()) // waits for changes of others until ctx ends
	poll    time.Duration                           // how long a change may go unheard
	closed  context.Context
	close   context.CancelFunc
	mu      sync.Mutex
	waiting map[chan struct{}]struct{} // of watchers in this process
}

// Open connects, and brings the schema up to date: of several that do so at once, one
// does it and the others wait.
//
// With SQLite the state is the file valence.db in the data folder, for its owner only.
// Several processes may use it at once, on one machine: they take turns to write, and
// one that has waited ten seconds gives up with ErrBusy.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{log: o.Log, waiting: map[chan struct{}]struct{}{}}
	s.closed, s.close = context.WithCancel(context.Background())
	open := s.openSQLite
	if o.URL != "" {
		open = s.openPostgres
	}
	if err := open(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.sweep(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends all calls of Watch and closes the connections. Calls that come later
// give ErrClosed.
func (s *Store) Close() error {
	s.close()
	var err error
	if s.readers != nil && s.readers != s.db {
		err = s.readers.Close()
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close()) // of SQLite last, for it clears the log away
	}
	return err
}

// Dialect tells which database this is.
func (s *Store) Dialect() Dialect { return s.dialect }

// Dir is the data folder, where files of others may stand beside the database; "" with
// PostgreSQL.
func (s *Store) Dir() string { return s.dir }

// DB is for tables of others in the same database, such as a queue of jobs. What is to
// happen together with a change of the state, or not at all, belongs into Change
// instead. The tables of this package are not to be written by it: nobody would hear of
// it.
//
// With SQLite it has one connection, on which every transaction takes the lock for
// writing at once: who holds a transaction or rows of DB must end them before asking
// anything of DB, or of a method of Store that changes something.
func (s *Store) DB() *sql.DB { return s.db }

// Tx is a transaction that may change the state. It ends with the function that it was
// given to. While it lasts, no other change is made: keep it short.
type Tx struct {
	sql     *sql.Tx
	now     int64
	changed bool
}

// SQL is the transaction itself, for tables of others.
func (t *Tx) SQL() *sql.Tx { return t.sql }

// Change runs f in one transaction. What it does is durable when Change returns nil,
// and has not happened if f gives an error, which is then returned. (An error of the
// connection at the very end can leave it open which of the two it was.) Within f only
// the Tx may change something: another change would wait for the end of this one.
func (s *Store) Change(ctx context.Context, f func(*Tx) error) error {
	changed := false
	err := s.write(ctx, s.dialect.lock(), func(tx *sql.Tx) error {
		t := &Tx{sql: tx, now: micros(time.Now())}
		if err := f(t); err != nil || !t.changed {
			return err
		}
		changed = true
		return s.dialect.notify(ctx, tx)
	})
	if err == nil && changed {
		s.wake()
	}
	return err
}

// lock is what a change begins with. PostgreSQL waits here until all earlier changes
// have ended, and sees from then on what they did; a bound on waiting and one on a
// stuck client's silence keep the others safe. SQLite has the lock already.
func (d Dialect) lock() string {
	if d == SQLite {
		return ""
	}
	return fmt.Sprintf(`SET LOCAL lock_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d;
		SELECT sequence FROM clock FOR UPDATE`, busyTimeout.Milliseconds(), idleTimeout.Milliseconds())
}

// busyTimeout is how long a change waits for others, and idleTimeout how long
// PostgreSQL waits for the next statement of one that has begun.
const (
	busyTimeout = 10 * time.Second
	idleTimeout = time.Minute
)

// notify tells the watchers of other processes, once the transaction commits. Those of
// SQLite look for themselves.
func (d Dialect) notify(ctx context.Context, tx *sql.Tx) error {
	if d == SQLite {
		return nil
	}
	_, err := tx.ExecContext(ctx, "NOTIFY "+channel)
	return err
}

// write runs f in a transaction that begins with a statement, unless that is empty.
func (s *Store) write(ctx context.Context, first string, f func(*sql.Tx) error) error {
	return s.run(ctx, s.db, &sql.TxOptions{Isolation: sql.LevelReadCommitted}, func(tx *sql.Tx) error {
		if first != "" {
			if _, err := tx.ExecContext(ctx, first); err != nil {
				return err
			}
		}
		return f(tx)
	})
}

// read runs f on one state of the database, whatever changes meanwhile.
func (s *Store) read(ctx context.Context, f func(*sql.Tx) error) error {
	return s.run(ctx, s.readers, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, f)
}

func (s *Store) run(ctx context.Context, db *sql.DB, o *sql.TxOptions, f func(*sql.Tx) error) error {
	if s.closed.Err() != nil {
		return ErrClosed
	}
	tx, err := db.BeginTx(ctx, o)
	if err != nil {
		return translate(err)
	}
	defer func() { _ = tx.Rollback() }() // after the end, it does nothing
	if err := f(tx); err != nil {
		return translate(err)
	}
	return translate(tx.Commit())
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }
