package main

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// record is one row of input and its answer.
type record struct {
	place   string // where it stands, such as "line 3", for errors
	text    string
	adapter string          // "" where the row names none
	want    string          // the true label, where one is read
	fields  []string        // CSV: the row as it was
	object  json.RawMessage // JSONL: the object as it was
	keys    []string        // JSONL: its keys
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
	header() []string // CSV: the column names; else nil
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
		s, err := f.parse(std.in, io.NopCloser(nil), "lines")
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

// columns name a row's parts: columns of CSV, keys of JSONL.
type columns struct {
	text  string
	label string // "" where no label is read
}

func (f inputFile) open() (source, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	byName := map[string]string{".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}[strings.ToLower(filepath.Ext(f.path))]
	s, err := f.parse(file, file, cmp.Or(byName, "lines"))
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

func (f inputFile) parse(r io.Reader, closer io.Closer, format string) (source, error) {
	if f.format != "auto" {
		format = f.format
	}
	switch {
	case format == "csv":
		return newCSVSource(csv.NewReader(r), closer, f.columns)
	case format == "tsv":
		reader := csv.NewReader(r)
		reader.Comma, reader.LazyQuotes = '\t', true
		return newCSVSource(reader, closer, f.columns)
	case format == "jsonl":
		return &jsonlSource{lines: newLines(r), Closer: closer, columns: f.columns}, nil
	case f.label != "":
		return nil, errors.New("a file of labelled rows must be CSV, TSV or JSONL; its name must tell, or --input-format")
	default:
		return &lineSource{lines: newLines(r), Closer: closer}, nil
	}
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

// maxLine bounds one line of input, so that a file without line ends cannot take
// all memory.
const maxLine = 16 << 20

// lines reads lines without their ends and counts them.
type lines struct {
	scanner *bufio.Scanner
	n       int
}

func newLines(r io.Reader) *lines {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	return &lines{scanner: s}
}

func (l *lines) next() ([]byte, error) {
	if !l.scanner.Scan() {
		if err := l.scanner.Err(); err != nil {
			return nil, fmt.Errorf("line %d: %w", l.n+1, err)
		}
		return nil, io.EOF
	}
	l.n++
	return l.scanner.Bytes(), nil
}

func (l *lines) place() string { return fmt.Sprintf("line %d", l.n) }

type lineSource struct {
	*lines
	io.Closer
}

func (s *lineSource) header() []string { return nil }

func (s *lineSource) next() (*record, error) {
	line, err := s.lines.next()
	if err != nil {
		return nil, err
	}
	return &record{place: s.place(), text: string(line)}, nil
}

type jsonlSource struct {
	*lines
	io.Closer
	columns
}

func (s *jsonlSource) header() []string { return nil }

func (s *jsonlSource) next() (*record, error) {
	line, err := s.lines.next()
	if err != nil {
		return nil, err
	}
	r := &record{place: s.place()}
	r.err = s.read(r, slices.Clone(line))
	if r.err != nil {
		r.err = fmt.Errorf("%s: %w", r.place, r.err)
	}
	return r, nil
}

func (s *jsonlSource) read(r *record, line []byte) error {
	if !utf8.Valid(line) {
		return errors.New("the text is not UTF-8")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(line, &object); err != nil {
		return fmt.Errorf("not a JSON object: %w", err)
	}
	r.object, r.keys = line, slices.Collect(maps.Keys(object))
	if err := s.member(object, s.text, &r.text); err != nil {
		return err
	}
	if s.label != "" {
		if err := s.member(object, s.label, &r.want); err != nil {
			return err
		}
	}
	if object["adapter"] == nil {
		return nil
	}
	return s.member(object, "adapter", &r.adapter)
}

func (s *jsonlSource) member(object map[string]json.RawMessage, key string, into *string) error {
	raw, ok := object[key]
	if !ok {
		return fmt.Errorf("the object has no key %q; --text-column and --label-column name others", key)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%q is not a text", key)
	}
	return nil
}
