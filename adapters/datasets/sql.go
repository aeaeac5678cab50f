package datasets

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"valence/adapters/store"
)

// columns are read by scan, in its order.
const columns = "id, name, format, content, bytes, created, mapping, report"

type scanner interface{ Scan(...any) error }

func scan(row scanner) (d Dataset, err error) {
	var created int64
	var mapping, report string
	if err := row.Scan(&d.ID, &d.Name, &d.Format, &d.Content, &d.Bytes, &created, &mapping, &report); err != nil {
		return Dataset{}, err
	}
	d.Created = time.UnixMicro(created).UTC()
	if err := json.Unmarshal([]byte(mapping), &d.Mapping); err != nil {
		return Dataset{}, fmt.Errorf("datasets: mapping of %s in the database: %w", d.ID, err)
	}
	if err := json.Unmarshal([]byte(report), &d.Report); err != nil {
		return Dataset{}, fmt.Errorf("datasets: report of %s in the database: %w", d.ID, err)
	}
	return d, nil
}

// insert adds a row, unless another upload of the same has.
func (d *Dataset) insert(ctx context.Context, tx *sql.Tx) error {
	mapping, err := json.Marshal(d.Mapping, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("datasets: %w", err)
	}
	report, err := json.Marshal(d.Report, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("datasets: %w", err)
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO datasets ("+columns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
		d.ID, d.Name, string(d.Format), d.Content, d.Bytes, time.Now().UnixMicro(), string(mapping), string(report))
	return err
}

// find gives a data set by its id.
func find(ctx context.Context, tx *sql.Tx, id string) (Dataset, error) {
	d, err := scan(tx.QueryRowContext(ctx, "SELECT "+columns+" FROM datasets WHERE id = $1", id))
	if errors.Is(err, sql.ErrNoRows) {
		return Dataset{}, fmt.Errorf("%w: data set %q", store.ErrNotFound, id)
	}
	return d, err
}

// Get gives a data set. store.ErrNotFound is wrapped if there is none.
func (s *Store) Get(ctx context.Context, id string) (d Dataset, err error) {
	err = s.state.Change(ctx, func(t *store.Tx) error {
		d, err = find(ctx, t.SQL(), id)
		return err
	})
	return d, err
}

// List gives all data sets, the newest first.
func (s *Store) List(ctx context.Context) ([]Dataset, error) {
	return all(ctx, s.state, scan, "SELECT "+columns+" FROM datasets ORDER BY created DESC, id")
}

// Delete removes a data set, and its file unless another one has the same. ErrInUse is
// wrapped while a job, or whatever else, holds the file.
func (s *Store) Delete(ctx context.Context, id string) error {
	var refused error // apart, for nothing is wrong with the store
	err := s.state.Change(ctx, func(t *store.Tx) error {
		d, err := find(ctx, t.SQL(), id)
		if err != nil {
			return err
		}
		holders, err := texts(ctx, t.SQL(), "SELECT h.holder FROM blob_holds h JOIN blobs b ON b.id = h.blob WHERE b.digest = $1", d.Content)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(holders, func(h string) bool { return !strings.HasPrefix(h, holderPrefix) }); i >= 0 {
			refused = fmt.Errorf("%w: %s needs data set %q", ErrInUse, holders[i], d.Name)
			return nil
		}
		if _, err := t.SQL().ExecContext(ctx, "DELETE FROM datasets WHERE id = $1", id); err != nil {
			return err
		}
		return t.ReleaseBlobs(ctx, holder(id))
	})
	if err != nil {
		return err
	}
	return refused
}

// holders are the ids with which data sets, complete or not, hold blobs.
func (s *Store) holders(ctx context.Context) (out []string, err error) {
	err = s.state.Change(ctx, func(t *store.Tx) error {
		out, err = texts(ctx, t.SQL(), "SELECT DISTINCT holder FROM blob_holds")
		return err
	})
	return slices.DeleteFunc(out, func(h string) bool { return !strings.HasPrefix(h, holderPrefix) }), err
}

// all asks for all rows of a result.
func all[T any](ctx context.Context, state *store.Store, scan func(scanner) (T, error), query string, args ...any) (out []T, err error) {
	err = state.Change(ctx, func(t *store.Tx) error {
		out, err = rows(ctx, t.SQL(), scan, query, args...)
		return err
	})
	return out, err
}

func texts(ctx context.Context, tx *sql.Tx, query string, args ...any) ([]string, error) {
	return rows(ctx, tx, func(row scanner) (text string, err error) {
		err = row.Scan(&text)
		return text, err
	}, query, args...)
}

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
