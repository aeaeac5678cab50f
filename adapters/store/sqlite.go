package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

// Files in the data folder.
const (
	databaseFile = "valence.db"
	lockFile     = "valence.lock"
)

const (
	sqlitePoll    = 200 * time.Millisecond
	sqliteReaders = 4
	lockPoll      = 20 * time.Millisecond
)

// openSQLite opens the database twice: one connection that writes, so that writers of
// this process queue up in order, and some that read beside it.
func (s *Store) openSQLite(ctx context.Context, o Options) error {
	s.dialect, s.poll = SQLite, sqlitePoll
	s.listen = func(ctx context.Context, _ func()) { <-ctx.Done() } // SQLite tells nobody
	if o.Dir == "" {
		return fmt.Errorf("%w: Options.Dir: the data folder is needed for SQLite", ErrInvalid)
	}
	path, err := filepath.Abs(filepath.Join(o.Dir, databaseFile))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("store: data folder: %w", err)
	}
	s.dir = filepath.Dir(path)
	if s.db, err = pool(path, "immediate", 1); err != nil { // nothing is opened yet
		return err
	}
	if err := s.prepareSQLite(ctx, path); err != nil {
		return err
	}
	s.readers, err = pool(path, "deferred", sqliteReaders)
	return err
}

// pool opens connections that begin transactions by the given lock, those for reading
// only excepted.
func pool(path, lock string, connections int) (*sql.DB, error) {
	o := url.Values{
		"_busy_timeout": {strconv.FormatInt(busyTimeout.Milliseconds(), 10)},
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"on"},
		"_txlock":       {lock},
	}
	if lock == "deferred" {
		o.Set("_query_only", "on")
	}
	name := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: o.Encode()}
	connector, err := sqlite.NewConnector(name.String())
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// prepareSQLite makes and migrates the database under a lock of its own: SQLite's covers
// one migration, not the question which are due, nor the change to WAL.
func (s *Store) prepareSQLite(ctx context.Context, path string) (err error) {
	file := filepath.Join(filepath.Dir(path), lockFile)
	lock := flock.New(file, flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return fmt.Errorf("store: lock %s: %w", file, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := createFile(path); err != nil {
		return fmt.Errorf("store: data folder: %w", err)
	}
	return s.migrate(ctx, goose.DialectSQLite3)
}

// createFile makes the database's file for its owner only; SQLite gives those that it
// adds the same mode. A file that is there is not opened: to close it would end the
// locks that SQLite holds on it in this process.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	return errors.Join(f.Close(), syncPath(dir), syncPath(filepath.Dir(dir)))
}
