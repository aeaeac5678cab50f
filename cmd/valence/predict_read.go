package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	fields  []string        // CSV: the row as it was
	object  json.RawMessage // JSONL: the object as it was
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
	if c.Input == "-" {
		if std.inTTY {
			return nil, 0, errors.New(`nothing to read: give texts as arguments, --input FILE, or pipe them in; for example valence predict "I like it"`)
		}
		s, err := c.parse(std.in, io.NopCloser(nil), "lines")
		return s, -1, err
	}
	if total, err = c.count(); err != nil {
		return nil, 0, err
	}
	s, err := c.openFile()
	return s, total, err
}

func (c *predictCmd) openFile() (source, error) {
	f, err := os.Open(c.Input)
	if err != nil {
		return nil, err
	}
	byName := map[string]string{".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}[strings.ToLower(filepath.Ext(c.Input))]
	if byName == "" {
		byName = "lines"
	}
	s, err := c.parse(f, f, byName)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// count reads the input once, so that progress can tell the time left.
func (c *predictCmd) count() (int64, error) {
	s, err := c.openFile()
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

func (c *predictCmd) parse(r io.Reader, closer io.Closer, format string) (source, error) {
	if c.InputFormat != "auto" {
		format = c.InputFormat
	}
	switch format {
	case "csv":
		return newCSVSource(r, closer, c.TextColumn)
	case "jsonl":
		return &jsonlSource{lines: newLines(r), Closer: closer, key: c.TextColumn}, nil
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
	key string
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
	r.object = line
	raw, ok := object[s.key]
	if !ok {
		return fmt.Errorf("the object has no key %q; --text-column names another", s.key)
	}
	if err := json.Unmarshal(raw, &r.text); err != nil {
		return fmt.Errorf("%q is not a text", s.key)
	}
	if raw, ok := object["adapter"]; ok {
		if err := json.Unmarshal(raw, &r.adapter); err != nil {
			return errors.New(`"adapter" is not a text`)
		}
	}
	return nil
}

type csvSource struct {
	io.Closer
	reader        *csv.Reader
	columns       []string
	text, adapter int // column numbers; adapter is -1 where there is none
}

func newCSVSource(r io.Reader, closer io.Closer, textColumn string) (*csvSource, error) {
	s := &csvSource{Closer: closer, reader: csv.NewReader(r)}
	var err error
	if s.columns, err = s.reader.Read(); err != nil {
		return nil, fmt.Errorf("CSV header: %w", err)
	}
	s.columns[0] = strings.TrimPrefix(s.columns[0], "\ufeff") // spreadsheets write a byte order mark
	s.text = slices.Index(s.columns, textColumn)
	if s.text < 0 {
		return nil, fmt.Errorf("the CSV header has no column %q, only %q; --text-column names another", textColumn, s.columns)
	}
	s.adapter = slices.Index(s.columns, "adapter")
	return s, nil
}

func (s *csvSource) header() []string { return s.columns }

func (s *csvSource) next() (*record, error) {
	fields, err := s.reader.Read()
	if err != nil && !errors.Is(err, csv.ErrFieldCount) {
		return nil, err // io.EOF, or an error that names its line
	}
	line, _ := s.reader.FieldPos(0)
	r := &record{place: fmt.Sprintf("line %d", line), fields: fields}
	if err != nil {
		r.err = fmt.Errorf("line %d has %d fields; the header has %d", line, len(fields), len(s.columns))
		return r, nil
	}
	r.text = fields[s.text]
	if s.adapter >= 0 {
		r.adapter = fields[s.adapter]
	}
	return r, nil
}
