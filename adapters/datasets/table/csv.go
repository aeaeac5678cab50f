package table

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"
)

// rowScanner splits a text into rows of fields.
type rowScanner interface {
	// next gives a row and the line where it begins, or io.EOF. A *rowError is of that row
	// only.
	next() (fields []string, line int, err error)
}

// rowError is an error after which rows can be read.
type rowError struct{ error }

func (e *rowError) Unwrap() error { return e.error }

type csvReader struct {
	rows     rowScanner
	names    []string
	selected []int // column numbers
	chosen   []string
	first    *Record // read already, to learn the number of columns
	row      int
}

func openCSV(in *textInput, o Options) (*csvReader, error) {
	comma := o.Delimiter
	switch {
	case comma == 0 && o.Format == TSV:
		comma = '\t'
	case comma == 0:
		comma = ','
	case comma == '"' || comma == '\r' || comma == '\n' || comma == utf8.RuneError || !utf8.ValidRune(comma):
		return nil, fmt.Errorf("%w: the delimiter cannot be %q", ErrFormat, comma)
	}
	c := &csvReader{}
	switch o.Quotes {
	case QuotesNone:
		c.rows = &plainScanner{lines: newLines(in), comma: string(comma)}
	case QuotesRFC, QuotesLoose:
		c.rows = newQuoteScanner(in, comma, o.Quotes == QuotesLoose)
	default:
		return nil, fmt.Errorf("%w: quotes cannot be %q; %q, %q and %q are possible", ErrFormat, o.Quotes, QuotesRFC, QuotesLoose, QuotesNone)
	}
	return c, c.begin(o.NoHeader)
}

// begin reads the header, or the first row where there is none.
func (c *csvReader) begin(noHeader bool) error {
	fields, line, err := c.rows.next()
	switch {
	case errors.Is(err, io.EOF):
		return ErrEmpty
	case err != nil:
		return fmt.Errorf("%w: line %d: header: %w", ErrFile, max(line, 1), err)
	}
	if noHeader {
		for i := range fields {
			c.names = append(c.names, strconv.Itoa(i+1))
		}
		c.row = 1
		c.first = &Record{Row: 1, Line: line, Fields: fields}
		return nil
	}
	c.names = fields
	for i, name := range fields {
		if err := checkUTF8(name); err != nil {
			return fmt.Errorf("%w: line %d: the name of column %d: %w", ErrFile, line, i+1, err)
		}
	}
	return nil
}

func (c *csvReader) Columns() []string { return slices.Clone(c.names) }

func (c *csvReader) Select(names ...string) (err error) {
	c.chosen = names
	c.selected, err = selectable(c.names, names)
	return err
}

func (c *csvReader) Next() (*Record, error) {
	r := c.first
	c.first = nil
	if r == nil {
		fields, line, err := c.rows.next()
		if _, ok := errors.AsType[*rowError](err); err != nil && !ok {
			if errors.Is(err, io.EOF) {
				return nil, io.EOF
			}
			return nil, fmt.Errorf("%w: line %d: %w", ErrFile, line, err)
		}
		c.row++
		r = &Record{Row: c.row, Line: line, Fields: fields, Err: err}
	}
	if r.Err == nil && len(r.Fields) != len(c.names) {
		r.Err = fmt.Errorf("%w: the row has %d; there are %d columns", ErrFieldCount, len(r.Fields), len(c.names))
	}
	if r.Err == nil {
		c.fill(r)
	}
	return r, nil
}

func (c *csvReader) fill(r *Record) {
	r.Cells = make([]Cell, len(c.selected))
	for i, column := range c.selected {
		text := r.Fields[column]
		if err := checkUTF8(text); err != nil {
			r.Err = &CellError{c.chosen[i], err}
			return
		}
		r.Cells[i] = Cell{Text, text}
	}
}

// quoteScanner reads RFC 4180, with any delimiter and line end. Empty lines are no rows.
type quoteScanner struct {
	csv    *csv.Reader
	budget *budget
	line   int // of the last row
}

func newQuoteScanner(in *textInput, comma rune, loose bool) *quoteScanner {
	s := &quoteScanner{csv: csv.NewReader(in.Reader), budget: in.budget}
	s.csv.Comma, s.csv.LazyQuotes, s.csv.FieldsPerRecord = comma, loose, -1
	return s
}

func (s *quoteScanner) next() ([]string, int, error) {
	s.budget.renew()
	fields, err := s.csv.Read()
	var parse *csv.ParseError
	switch {
	case err == nil:
		s.line, _ = s.csv.FieldPos(0)
		return fields, s.line, nil
	case errors.As(err, &parse):
		s.line = parse.StartLine
		return nil, s.line, &rowError{quoteError(parse)}
	case errors.Is(err, ErrTooLong):
		return nil, s.line + 1, fmt.Errorf("%w; a quote near here may lack its end", err)
	default:
		return nil, s.line + 1, err
	}
}

func quoteError(e *csv.ParseError) error {
	where := fmt.Sprintf("at line %d, byte %d", e.Line, e.Column)
	if errors.Is(e.Err, csv.ErrBareQuote) {
		return fmt.Errorf(`%w: %s, inside a field that does not begin with one; quote the whole field and double the quote, or say that quotes are plain characters ("quotes": "none")`, ErrQuote, where)
	}
	return fmt.Errorf(`%w: the field that begins with a quote does not end with one before %s; close it, double quotes inside it, or say that quotes are plain characters ("quotes": "none")`, ErrQuote, where)
}
