package table

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// What errors of files and of rows wrap.
var (
	ErrRead       = errors.New("table: reading failed")          // no fault of the file
	ErrFile       = errors.New("table: the file cannot be read") // as a whole, or on from here
	ErrEmpty      = errors.New("table: the file is empty")
	ErrEncoding   = errors.New("table: unsupported encoding") // of characters, or a packed file
	ErrFormat     = errors.New("table: unknown format")
	ErrColumn     = errors.New("table: column")
	ErrTooLong    = errors.New("table: the row is too long")
	ErrFieldCount = errors.New("table: wrong number of fields")
	ErrQuote      = errors.New("table: misplaced quote")
)

// Format is how a file writes rows.
type Format string

// The formats. JSONL is one object a line, or one array of objects.
const (
	CSV     Format = "csv"
	TSV     Format = "tsv"
	JSONL   Format = "jsonl"
	Parquet Format = "parquet"
	Lines   Format = "lines" // one text a line, in a column named TextColumn
)

// ParseFormat reads a format's name or a file name's extension without its dot.
func ParseFormat(s string) (Format, error) {
	switch s := strings.ToLower(s); s {
	case "csv", "tsv", "jsonl", "parquet":
		return Format(s), nil
	case "json", "ndjson":
		return JSONL, nil
	case "tab":
		return TSV, nil
	default:
		return "", fmt.Errorf("%w %q: csv, tsv, jsonl and parquet are supported", ErrFormat, s)
	}
}

// FormatOf goes by a file's name.
func FormatOf(name string) (Format, error) {
	extension := strings.TrimPrefix(filepath.Ext(name), ".")
	format, err := ParseFormat(extension)
	if err != nil {
		return "", fmt.Errorf("%w: the name %q does not tell it: it must end in .csv, .tsv, .jsonl or .parquet, or the format be given", ErrFormat, name)
	}
	return format, nil
}

// Quotes says what a double quote means in CSV and TSV.
type Quotes string

// The meanings. Those of RFC 4180 are the default.
const (
	QuotesRFC   Quotes = "rfc4180" // a field that begins with a quote goes on to its end quote; elsewhere quotes are an error
	QuotesLoose Quotes = "loose"   // as before, but a quote anywhere else is a character
	QuotesNone  Quotes = "none"    // a quote is a character everywhere, and a row is a line
)

// Options says how a file is to be read.
type Options struct {
	Format    Format
	NoHeader  bool   // CSV, TSV: the first row is data, and the columns are "1", "2", ...
	Delimiter rune   // CSV, TSV; 0 is the format's own
	Quotes    Quotes // CSV, TSV; "" is QuotesRFC
	MaxRecord int    // bytes of a row, about; 0 is DefaultMaxRecord
}

// DefaultMaxRecord bounds a row so that a file without line ends, or with one quote too
// many, cannot take all memory.
const DefaultMaxRecord = 16 << 20

// Record is one row of a file.
type Record struct {
	Row    int      // 1, 2, ...; a header does not count
	Line   int      // where it begins, from 1; 0 in a format without lines
	Cells  []Cell   // of the columns selected, in their order
	Fields []string // CSV, TSV: all of them
	Keys   []string // JSONL: of the object
	Object []byte   // JSONL: the object as it stands in the file
	Err    error    // what is wrong with the row, or nil; a *CellError where it is one column's
}

// Place tells where the record stands.
func (r *Record) Place() string {
	if r.Line > 0 {
		return fmt.Sprintf("line %d", r.Line)
	}
	return fmt.Sprintf("row %d", r.Row)
}

// Kind is what a cell holds.
type Kind string

// The kinds. CSV and TSV know only texts.
const (
	Missing Kind = "missing" // an object without that key
	Null    Kind = "null"
	Text    Kind = "text"
	Number  Kind = "number"
	Boolean Kind = "boolean"
	Other   Kind = "other" // a list, an object, a time, bytes
)

// Cell is one column of a row.
type Cell struct {
	Kind Kind
	Text string // of a text, number or boolean as it is written; else ""
}

// CellError is what is wrong with one column of a row.
type CellError struct {
	Column string
	Err    error
}

func (e *CellError) Error() string { return fmt.Sprintf("column %q: %v", e.Column, e.Err) }

// Unwrap gives the error without the column.
func (e *CellError) Unwrap() error { return e.Err }

// Reader gives a file's rows. It is not safe for concurrent use.
type Reader interface {
	// Columns are the names: the header's, the first object's keys, or the schema's.
	Columns() []string
	// Select says which columns' cells the records have. It is to be called once, before
	// Next. An error wraps ErrColumn.
	Select(names ...string) error
	// Next gives the next record, which is the caller's, or io.EOF. Other errors end the
	// reading.
	Next() (*Record, error)
}

// Open begins to read a file. Parquet needs a reader that is an io.ReaderAt and an
// io.Seeker, too, such as a file.
func Open(r io.Reader, o Options) (Reader, error) {
	o.MaxRecord = cmp.Or(o.MaxRecord, DefaultMaxRecord)
	o.Quotes = cmp.Or(o.Quotes, QuotesRFC)
	if o.Format == Parquet {
		return openParquet(r, o)
	}
	text, err := newTextInput(r, o.MaxRecord)
	if err != nil {
		return nil, err
	}
	switch o.Format {
	case CSV, TSV:
		return openCSV(text, o)
	case JSONL:
		return openJSON(text)
	case Lines:
		return &lineReader{lines: newLines(text)}, nil
	default:
		_, err := ParseFormat(string(o.Format))
		return nil, err
	}
}

// selectable finds names among columns, of which each must be there once.
func selectable(columns, names []string) ([]int, error) {
	at := make([]int, len(names))
	for i, name := range names {
		at[i] = -1
		for j, column := range columns {
			if column != name {
				continue
			}
			if at[i] >= 0 {
				return nil, fmt.Errorf("%w %q is there twice, as number %d and %d; rename one", ErrColumn, name, at[i]+1, j+1)
			}
			at[i] = j
		}
		if at[i] < 0 {
			return nil, fmt.Errorf("%w %q is not there; there are %q", ErrColumn, name, columns)
		}
	}
	return at, nil
}
