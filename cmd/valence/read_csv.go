package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

type csvSource struct {
	io.Closer
	reader               *csv.Reader
	names                []string
	text, label, adapter int // column numbers; -1 for one that is not read or not there
}

func newCSVSource(reader *csv.Reader, closer io.Closer, c columns) (*csvSource, error) {
	s := &csvSource{Closer: closer, reader: reader, label: -1}
	var err error
	if s.names, err = reader.Read(); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	s.names[0] = strings.TrimPrefix(s.names[0], "\ufeff") // spreadsheets write a byte order mark
	if s.text, err = s.column(c.text, "--text-column"); err != nil {
		return nil, err
	}
	if c.label != "" {
		if s.label, err = s.column(c.label, "--label-column"); err != nil {
			return nil, err
		}
	}
	s.adapter = slices.Index(s.names, "adapter")
	return s, nil
}

func (s *csvSource) column(name, flag string) (int, error) {
	i := slices.Index(s.names, name)
	if i < 0 {
		return 0, fmt.Errorf("the header has no column %q, only %q; %s names another", name, s.names, flag)
	}
	return i, nil
}

func (s *csvSource) header() []string { return s.names }

func (s *csvSource) next() (*record, error) {
	fields, err := s.reader.Read()
	if err != nil && !errors.Is(err, csv.ErrFieldCount) {
		return nil, err // io.EOF, or an error that names its line
	}
	line, _ := s.reader.FieldPos(0)
	r := &record{place: fmt.Sprintf("line %d", line), fields: fields}
	if err != nil {
		r.err = fmt.Errorf("line %d has %d fields; the header has %d", line, len(fields), len(s.names))
		return r, nil
	}
	r.text = fields[s.text]
	if s.label >= 0 {
		r.want = fields[s.label]
	}
	if s.adapter >= 0 {
		r.adapter = fields[s.adapter]
	}
	return r, nil
}
