package datasets

import (
	"errors"
	"fmt"
	"strings"

	"valence/adapters/datasets/table"
)

// What the errors of this package wrap, besides those of the store and the context's.
var (
	ErrInvalid  = errors.New("datasets: invalid data") // a file, or rows of it: see Faults
	ErrMapping  = errors.New("datasets: invalid mapping")
	ErrTooLarge = errors.New("datasets: too large")
	ErrInUse    = errors.New("datasets: in use")
)

// Fault is what is wrong with one row.
type Fault struct {
	Row     int    `json:"row"`              // 1, 2, ...; a header does not count
	Line    int    `json:"line,omitzero"`    // of the file; 0 in a format without lines
	Column  string `json:"column,omitempty"` // "" where it is the whole row
	Problem string `json:"problem"`

	err error
}

func (f *Fault) Error() string {
	r := table.Record{Row: f.Row, Line: f.Line}
	if f.Column == "" {
		return fmt.Sprintf("%s: %s", r.Place(), f.Problem)
	}
	return fmt.Sprintf("%s: column %q: %s", r.Place(), f.Column, f.Problem)
}

// Unwrap gives the error that was met, or nil.
func (f *Fault) Unwrap() error { return f.err }

// Faults says which rows of a file cannot be used. It wraps ErrInvalid.
type Faults struct {
	File  string  `json:"file"`
	Rows  int     `json:"rows"`  // that were read, good and bad
	Total int     `json:"total"` // of rows with a fault
	First []Fault `json:"first"` // of them, up to a limit
}

func (f *Faults) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %s: %d of %d rows cannot be used", ErrInvalid, f.File, f.Total, f.Rows)
	for i := range f.First {
		fmt.Fprintf(&b, "\n%v", &f.First[i])
	}
	if more := f.Total - len(f.First); more > 0 {
		fmt.Fprintf(&b, "\nand %d more", more)
	}
	return b.String()
}

// Unwrap gives ErrInvalid and the faults.
func (f *Faults) Unwrap() []error {
	errs := []error{ErrInvalid}
	for i := range f.First {
		errs = append(errs, &f.First[i])
	}
	return errs
}

func (f *Faults) add(fault Fault, keep int) {
	f.Total++
	if len(f.First) < keep {
		f.First = append(f.First, fault)
	}
}

// fileError says what is wrong with a file as a whole. What is wrong with reading it is
// no fault of the file.
func fileError(name string, err error) error {
	if errors.Is(err, table.ErrRead) {
		return fmt.Errorf("datasets: %s: %w", name, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
}
