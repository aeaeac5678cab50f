package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"valence/adapters/datasets/table"
)

// tableSource gives the records of a file.
type tableSource struct {
	io.Closer
	reader table.Reader
	format table.Format
	parts  []part
}

// part is a column, or a key, and where its text goes.
type part struct {
	name     string
	flag     string // that names it
	into     func(*record) *string
	optional bool
}

func newTableSource(reader table.Reader, closer io.Closer, format table.Format, c columns) (*tableSource, error) {
	s := &tableSource{Closer: closer, reader: reader, format: format}
	if format == table.Lines {
		c.text = table.TextColumn
	}
	s.parts = append(s.parts, part{name: c.text, flag: "--text-column", into: func(r *record) *string { return &r.text }})
	if c.label != "" {
		s.parts = append(s.parts, part{name: c.label, flag: "--label-column", into: func(r *record) *string { return &r.want }})
	}
	names := reader.Columns()
	if format == table.JSONL || slices.Contains(names, "adapter") {
		s.parts = append(s.parts, part{name: "adapter", into: func(r *record) *string { return &r.adapter }, optional: true})
	}
	chosen := make([]string, len(s.parts))
	for i, p := range s.parts {
		// Objects may each have other keys.
		if format != table.JSONL && !slices.Contains(names, p.name) {
			return nil, fmt.Errorf("the header has no column %q, only %q; %s names another", p.name, names, p.flag)
		}
		chosen[i] = p.name
	}
	return s, reader.Select(chosen...)
}

func (s *tableSource) header() []string {
	if s.format == table.CSV || s.format == table.TSV {
		return s.reader.Columns()
	}
	return nil
}

func (s *tableSource) next() (*record, error) {
	read, err := s.reader.Next()
	if err != nil {
		return nil, err
	}
	r := &record{place: read.Place(), fields: read.Fields, object: read.Object, keys: read.Keys}
	switch {
	case errors.Is(read.Err, table.ErrFieldCount):
		r.err = fmt.Errorf("%s has %d fields; the header has %d", r.place, len(read.Fields), len(s.reader.Columns()))
	case read.Err != nil:
		r.err = fmt.Errorf("%s: %w", r.place, read.Err)
	default:
		r.err = s.fill(r, read.Cells)
	}
	return r, nil
}

func (s *tableSource) fill(r *record, cells []table.Cell) error {
	for i, p := range s.parts {
		switch c := cells[i]; {
		case c.Kind == table.Missing && !p.optional:
			return fmt.Errorf("%s: the object has no key %q; --text-column and --label-column name others", r.place, p.name)
		case c.Kind == table.Text, c.Kind == table.Missing, c.Kind == table.Null:
			*p.into(r) = c.Text
		default:
			return fmt.Errorf("%s: %q is not a text", r.place, p.name)
		}
	}
	return nil
}
