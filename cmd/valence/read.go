package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"valence/adapters/datasets/table"
)

// record is one row of input and its answer.
type record struct {
	place   string // where it stands, such as "line 3", for errors
	text    string
	adapter string   // "" where the row names none
	want    string   // the true label, where one is read
	fields  []string // CSV, TSV: the row as it was
	object  []byte   // JSONL: the object as it was
	keys    []string // JSONL: its keys
	err     error

	label     string
	score     float64
	labels    []string
	scores    []float64
	generated string
}

// source gives records until io.EOF. A row that is wrong is a record with an
// error; an error of next means that nothing more can be read.
type source interface {
	next() (*record, error)
	header() []string // CSV, TSV: the column names; else nil
	Close() error
}

func readChunk(s source, n int) ([]*record, error) {
	var out []*record
	for len(out) < n {
		r, err := s.next()
		if err != nil {
			return out, err
		}
		out = append(out, r)
	}
	return out, nil
}

// source opens the input; total is its number of rows, or -1 if only reading tells.
func (c *predictCmd) source(std streams) (_ source, total int64, err error) {
	if len(c.Text) > 0 {
		return &argSource{texts: c.Text}, int64(len(c.Text)), nil
	}
	f := inputFile{c.Input, c.InputFormat, columns{text: c.TextColumn}}
	if c.Input == "-" {
		if std.inTTY {
			return nil, 0, errors.New(`nothing to read: give texts as arguments, --input FILE, or pipe them in; for example valence predict "I like it"`)
		}
		s, err := f.parse(std.in, io.NopCloser(nil), table.Lines)
		return s, -1, err
	}
	s, err := f.open()
	if err != nil {
		return nil, 0, err
	}
	total, err = f.count()
	return s, total, err
}

// inputFile is a file of rows, and where in a row its parts are.
type inputFile struct {
	path   string
	format string // "auto" goes by the name
	columns
}

// columns name a row's parts: columns, or keys of JSONL.
type columns struct {
	text  string
	label string // "" where no label is read
}

func (f inputFile) open() (source, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	byName, err := table.FormatOf(f.path)
	if err != nil {
		byName = table.Lines
	}
	s, err := f.parse(file, file, byName)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.path, err), file.Close())
	}
	return s, nil
}

// count reads the input once, so that progress can tell the time left.
func (f inputFile) count() (int64, error) {
	s, err := f.open()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	for n := int64(0); ; n++ {
		if _, err := s.next(); err != nil {
			return n, nil // what stops the reading is told when the rows are read for their texts
		}
	}
}

func (f inputFile) parse(r io.Reader, closer io.Closer, format table.Format) (source, error) {
	if f.format != "auto" {
		format = table.Format(f.format)
	}
	if format == table.Lines && f.label != "" {
		return nil, errors.New("a file of labelled rows must be CSV, TSV, JSONL or Parquet; its name must tell, or --input-format")
	}
	o := table.Options{Format: format}
	if format == table.TSV {
		o.Quotes = table.QuotesLoose
	}
	reader, err := table.Open(r, o)
	if errors.Is(err, table.ErrEmpty) && (format == table.Lines || format == table.JSONL) {
		return &argSource{}, nil // no rows are fine
	}
	if err != nil {
		return nil, err
	}
	return newTableSource(reader, closer, format, f.columns)
}

type argSource struct{ texts []string }

func (s *argSource) header() []string { return nil }
func (s *argSource) Close() error     { return nil }

func (s *argSource) next() (*record, error) {
	if len(s.texts) == 0 {
		return nil, io.EOF
	}
	r := &record{place: "argument", text: s.texts[0]}
	s.texts = s.texts[1:]
	return r, nil
}
