package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"valence/adapters"
)

// What the errors of this package wrap, besides adapters.ErrID for a bad id and the
// context's error. Others are the database's own.
var (
	ErrNotFound  = errors.New("store: not found")
	ErrConflict  = errors.New("store: conflict")                        // what is stored is not what was assumed
	ErrActive    = errors.New("store: the version is active")           // activate another one first
	ErrNoEarlier = errors.New("store: no earlier version")              // that was active and is still there
	ErrInvalid   = errors.New("store: invalid")                         // an argument, or a folder to import
	ErrCorrupt   = errors.New("store: damaged content")                 // not what its digest says, or the database's file is
	ErrFull      = errors.New("store: no space left")                   // nothing of the change was kept; to delete takes some space too
	ErrBusy      = errors.New("store: busy with the changes of others") // nothing was changed; try again
	ErrSchema    = errors.New("store: unknown schema")                  // of a newer program
	ErrClosed    = errors.New("store: closed")
)

// translate gives an error of the database its meaning, or else says that it is one.
func translate(err error) error {
	if err == nil || known(err) {
		return err
	}
	if kind := kindOf(err); kind != nil {
		return fmt.Errorf("%w: %w", kind, err)
	}
	return fmt.Errorf("store: %w", err)
}

func known(err error) bool {
	for _, e := range []error{
		ErrNotFound, ErrConflict, ErrActive, ErrNoEarlier, ErrInvalid, ErrCorrupt, ErrFull, ErrBusy, ErrSchema, ErrClosed,
		adapters.ErrID, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// IsFull tells whether an error, also one of the database that the store has not seen, says that
// there is no space left.
func IsFull(err error) bool { return errors.Is(err, ErrFull) || errors.Is(kindOf(err), ErrFull) }

func kindOf(err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return sqliteKind(e.Code())
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return postgresKind(e.Code)
	}
	return nil
}

func sqliteKind(code int) error {
	switch code & 0xff { // the rest is detail
	case sqlite3.SQLITE_FULL:
		return ErrFull
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return ErrBusy
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return ErrCorrupt
	}
	if code == sqlite3.SQLITE_IOERR_SHMSIZE { // the file beside the database that readers share could not grow
		return ErrFull
	}
	return nil
}

// postgresKind knows the codes of PostgreSQL's appendix "Error Codes".
func postgresKind(code string) error {
	switch code {
	case "53100": // disk_full
		return ErrFull
	case "55P03", "40P01", "40001": // lock_not_available, deadlock_detected, serialization_failure
		return ErrBusy
	case "XX001", "XX002": // data_corrupted, index_corrupted
		return ErrCorrupt
	}
	return nil
}
