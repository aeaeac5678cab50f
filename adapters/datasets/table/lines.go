package table

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// lines reads lines without their ends.
type lines struct {
	scanner *bufio.Scanner
	budget  *budget
	limit   int
	number  int // of the last line
}

func newLines(in *textInput) *lines {
	s := bufio.NewScanner(in)
	s.Buffer(nil, in.maxRecord)
	return &lines{scanner: s, budget: in.budget, limit: in.maxRecord}
}

// next gives a line, which is valid until the next call, or io.EOF.
func (l *lines) next() ([]byte, error) {
	l.budget.renew()
	l.number++
	if l.scanner.Scan() {
		return l.scanner.Bytes(), nil
	}
	switch err := l.scanner.Err(); {
	case err == nil:
		return nil, io.EOF
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrTooLong, l.limit)
	default:
		return nil, err
	}
}

// lineReader takes each line, the empty ones too, for a text.
type lineReader struct {
	lines    *lines
	selected []string
}

// TextColumn is the one column of a file of lines.
const TextColumn = "text"

func (l *lineReader) Columns() []string { return []string{TextColumn} }

func (l *lineReader) Select(names ...string) error {
	l.selected = names
	_, err := selectable(l.Columns(), names)
	return err
}

func (l *lineReader) Next() (*Record, error) {
	line, err := l.lines.next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case err != nil:
		return nil, fmt.Errorf("%w: line %d: %w", ErrFile, l.lines.number, err)
	}
	r := &Record{Row: l.lines.number, Line: l.lines.number}
	for range l.selected {
		r.Cells = append(r.Cells, Cell{Text, string(line)})
		if err := checkUTF8(string(line)); err != nil {
			r.Err = &CellError{TextColumn, err}
		}
	}
	return r, nil
}

// plainScanner splits lines at the delimiter and knows no quotes. Empty lines are no
// rows.
type plainScanner struct {
	lines *lines
	comma string
}

func (s *plainScanner) next() ([]string, int, error) {
	for {
		line, err := s.lines.next()
		if err != nil {
			return nil, s.lines.number, err
		}
		if len(line) > 0 {
			return strings.Split(string(line), s.comma), s.lines.number, nil
		}
	}
}
