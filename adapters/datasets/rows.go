package datasets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"valence/adapters/datasets/table"
)

// Row is a labelled text.
type Row struct {
	Row   int    `json:"row"` // number in the file, from 1; a header does not count
	Text  string `json:"text"`
	Label string `json:"label"`
}

// Input is a file.
type Input struct {
	Name   string       // for errors, and for the format where that is not given
	Format table.Format // "" goes by the name
	Reader io.Reader    // of Parquet, an io.ReaderAt and io.Seeker, too
}

// Limits bound what is taken in. Zero values mean the defaults.
type Limits struct {
	Bytes  int64 // of a file that is stored
	Rows   int   // of a file
	Faults int   // that are told one by one; the others are counted
}

// Defaults of Limits.
const (
	DefaultBytes  = 256 << 20
	DefaultRows   = 1_000_000
	DefaultFaults = 20
)

func (l Limits) orDefaults() Limits {
	return Limits{cmp.Or(l.Bytes, DefaultBytes), cmp.Or(l.Rows, DefaultRows), cmp.Or(l.Faults, DefaultFaults)}
}

// Dropped counts rows that a Mapping lets go.
type Dropped struct {
	Empty    int `json:"empty"`    // without a text or label
	Unmapped int `json:"unmapped"` // with a value that Mapping.Labels lacks
}

// Reader gives the labelled texts of a file. It is not safe for concurrent use.
type Reader struct {
	name    string
	table   table.Reader
	mapping Mapping
	labels  *labeller
	limits  Limits
	dropped Dropped
}

// Open begins to read a file and finds its columns. Errors wrap ErrInvalid or
// ErrMapping.
func Open(in Input, m Mapping, l Limits) (*Reader, error) {
	if in.Format == "" {
		format, err := table.FormatOf(in.Name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMapping, err)
		}
		in.Format = format
	}
	if in.Format == table.Lines {
		return nil, fmt.Errorf("%w: lines of text have no labels; csv, tsv, jsonl and parquet have", ErrMapping)
	}
	if err := m.check(in.Format); err != nil {
		return nil, err
	}
	t, err := table.Open(in.Reader, m.tableOptions(in.Format))
	if err != nil {
		return nil, fileError(in.Name, err)
	}
	r := &Reader{name: in.Name, table: t, mapping: m, labels: newLabeller(m.Labels), limits: l.orDefaults()}
	if r.mapping.Text, r.mapping.Label, err = m.choose(in.Format, t.Columns()); err != nil {
		return nil, fmt.Errorf("%s: %w", in.Name, err)
	}
	if err := t.Select(r.mapping.Text, r.mapping.Label); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMapping, in.Name, err)
	}
	return r, nil
}

// Mapping is what the file is read by, the columns named.
func (r *Reader) Mapping() Mapping { return r.mapping }

// Dropped counts the rows dropped so far.
func (r *Reader) Dropped() Dropped { return r.dropped }

// Rows gives the rows of the file, once. After the last one may come an error: Faults,
// if rows were wrong, however many good ones there are; ErrInvalid, if there is no row
// or the file breaks off; ErrTooLarge; or the context's.
func (r *Reader) Rows(ctx context.Context) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		err := r.each(ctx, func(row Row) bool { return yield(row, nil) })
		if err != nil {
			yield(Row{}, err)
		}
	}
}

// checkEvery is how many rows are read before the context is asked.
const checkEvery = 512

func (r *Reader) each(ctx context.Context, use func(Row) bool) error {
	faults := &Faults{File: r.name}
	good := 0
	for n := 0; ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		record, err := r.table.Next()
		if errors.Is(err, io.EOF) {
			return r.judge(faults, n, good)
		}
		if err != nil {
			return errors.Join(fileError(r.name, err), r.some(faults, n))
		}
		if n == r.limits.Rows {
			return fmt.Errorf("%w: %s: it has more than %d rows", ErrTooLarge, r.name, r.limits.Rows)
		}
		row, keep, fault := r.row(record)
		switch {
		case fault != nil:
			faults.add(Fault{record.Row, record.Line, fault.Column, fault.Err.Error(), fault.Err}, r.limits.Faults)
			if r.labels.overflown() {
				return r.judge(faults, n+1, good)
			}
		case keep:
			good++
			if !use(row) {
				return nil
			}
		}
	}
}

// judge says what a file that was read to its end lacks, if anything.
func (r *Reader) judge(faults *Faults, rows, good int) error {
	if err := r.some(faults, rows); err != nil {
		return err
	}
	if good > 0 {
		return nil
	}
	if rows > 0 {
		return fmt.Errorf("%w: %s: of %d rows none is left: %d are empty and %d have a label that is not mapped",
			ErrInvalid, r.name, rows, r.dropped.Empty, r.dropped.Unmapped)
	}
	return fmt.Errorf("%w: %s: it holds no rows", ErrInvalid, r.name)
}

func (r *Reader) some(faults *Faults, rows int) error {
	if faults.Total == 0 {
		return nil
	}
	faults.Rows = rows
	return faults
}
