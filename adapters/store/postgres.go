package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// channel is where PostgreSQL tells of changes.
const channel = "valence_changes"

const (
	postgresPoll        = 2 * time.Second // for what was said while nobody listened
	postgresConnections = 16
	migrationLock       = 0x76616c656e6365 // the advisory lock of migrations: "valence"

	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

func (s *Store) openPostgres(ctx context.Context, o Options) error {
	s.dialect, s.poll = PostgreSQL, postgresPoll
	if !strings.HasPrefix(o.URL, "postgres://") && !strings.HasPrefix(o.URL, "postgresql://") {
		return fmt.Errorf("%w: Options.URL: it must begin with postgres:// or be empty, for SQLite", ErrInvalid)
	}
	config, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return fmt.Errorf("%w: Options.URL: %w", ErrInvalid, err) // pgx hides the password
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "valence"
	}
	s.listen = func(ctx context.Context, heard func()) { s.listenPostgres(ctx, config.Copy(), heard) }
	s.db = stdlib.OpenDB(*config)
	s.db.SetMaxOpenConns(postgresConnections)
	s.db.SetMaxIdleConns(postgresConnections / 2)
	s.readers = s.db
	if err := s.warnOfLoss(ctx); err != nil {
		return err
	}
	return s.migratePostgres(ctx)
}

// warnOfLoss warns of a server that answers before a change is durable.
func (s *Store) warnOfLoss(ctx context.Context) error {
	var setting string
	if err := s.db.QueryRowContext(ctx, "SHOW synchronous_commit").Scan(&setting); err != nil {
		return translate(err)
	}
	if setting == "off" {
		s.log.WarnContext(ctx, "PostgreSQL has synchronous_commit off: what was answered can be lost when it crashes")
	}
	return nil
}

func (s *Store) migratePostgres(ctx context.Context) (err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return translate(err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return fmt.Errorf("store: lock the schema: %w", translate(err))
	}
	defer func() { err = errors.Join(err, unlock(context.WithoutCancel(ctx), conn)) }()
	return s.migrate(ctx, goose.DialectPostgres)
}

func unlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", int64(migrationLock))
	return translate(err)
}

// listenPostgres listens on a connection of its own, and makes a new one when that is
// lost. After each connect it has heard something: what was said before was missed.
func (s *Store) listenPostgres(ctx context.Context, config *pgx.ConnConfig, heard func()) {
	backoff := firstBackoff
	for ctx.Err() == nil {
		err := listenOnce(ctx, config, func() { backoff = firstBackoff; heard() })
		if ctx.Err() != nil {
			return
		}
		s.log.WarnContext(ctx, "lost the connection that hears of changes; connecting again", "error", err, "in", backoff)
		pause(ctx, backoff/2+rand.N(backoff))
		backoff = min(2*backoff, lastBackoff)
	}
}

func listenOnce(ctx context.Context, config *pgx.ConnConfig, heard func()) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	for {
		heard()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}

// pause waits, or returns when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
