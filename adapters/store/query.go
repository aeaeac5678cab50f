package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// scanner is a row of a result.
type scanner interface{ Scan(dest ...any) error }

// rows asks for all rows of a result.
func rows[T any](ctx context.Context, tx *sql.Tx, scan func(scanner) (T, error), query string, args ...any) (out []T, err error) {
	result, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	for result.Next() {
		row, err := scan(result)
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, result.Err()
}

// one asks for the first row's value, and gives the zero value where there is no row.
func one[T any](ctx context.Context, tx *sql.Tx, query string, args ...any) (out T, found bool, err error) {
	err = tx.QueryRowContext(ctx, query, args...).Scan(&out)
	if errors.Is(err, sql.ErrNoRows) {
		return out, false, nil
	}
	return out, err == nil, err
}

// exec runs a statement and gives the number of rows that it changed.
func exec(ctx context.Context, tx *sql.Tx, statement string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("rows affected: %w", err)
	}
	return n, nil
}
