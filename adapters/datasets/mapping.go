package datasets

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"valence/adapters/datasets/table"
)

// Mapping says how a file's columns and values become texts and labels. Its zero value
// guesses the columns by their names and takes labels as they are.
type Mapping struct {
	// Text and Label are names of columns, or their numbers from 1 where no column has
	// that name. "" takes the one column with a name that is usual for it.
	Text  string `json:"text,omitempty"`
	Label string `json:"label,omitempty"`
	// Labels gives values of the label column their labels, such as {"0": "negative", "1":
	// "positive"}, or {"1": "negative", ..., "5": "positive"} for stars. Numbers are compared
	// as numbers: 1, 1.0 and "1" are one. Nil takes values as labels.
	Labels   map[string]string `json:"labels,omitempty"`
	Unmapped Policy            `json:"unmapped,omitempty"` // what becomes of rows with a value that Labels lacks
	Empty    Policy            `json:"empty,omitempty"`    // what becomes of rows without a text or label

	// CSV and TSV only.
	Header    *bool        `json:"header,omitempty"`    // whether the first row names the columns; nil: it does
	Delimiter string       `json:"delimiter,omitempty"` // one character; "" is the format's own
	Quotes    table.Quotes `json:"quotes,omitempty"`    // what a double quote means; "" is as RFC 4180 has it
}

// Policy is what becomes of rows that cannot be used.
type Policy string

// The policies. The zero value is Refuse.
const (
	Refuse Policy = "refuse" // the whole file, with the rows named
	Drop   Policy = "drop"   // the rows, which are counted
)

// maxLabels bounds the labels of one set, as serving does; maxLabelBytes one label.
const (
	maxLabels     = 64
	maxLabelBytes = 256
)

func (m *Mapping) check(format table.Format) error {
	for _, p := range []struct {
		name  string
		value Policy
	}{{"unmapped", m.Unmapped}, {"empty", m.Empty}} {
		if p.value != "" && p.value != Refuse && p.value != Drop {
			return fmt.Errorf("%w: %s is %q; %q and %q are possible", ErrMapping, p.name, p.value, Refuse, Drop)
		}
	}
	if format != table.CSV && format != table.TSV && (m.Header != nil || m.Delimiter != "" || m.Quotes != "") {
		return fmt.Errorf("%w: header, delimiter and quotes are for CSV and TSV; the file is %s", ErrMapping, format)
	}
	if utf8.RuneCountInString(m.Delimiter) > 1 {
		return fmt.Errorf("%w: the delimiter %q is more than one character", ErrMapping, m.Delimiter)
	}
	return m.checkLabels()
}

func (m *Mapping) checkLabels() error {
	if m.Labels == nil {
		if m.Unmapped != "" {
			return fmt.Errorf("%w: unmapped is %q, but there are no labels to map to", ErrMapping, m.Unmapped)
		}
		return nil
	}
	if len(m.Labels) == 0 {
		return fmt.Errorf("%w: labels is empty; leave it out to take values as labels", ErrMapping)
	}
	keys := map[string]string{}
	for _, value := range slices.Sorted(maps.Keys(m.Labels)) {
		if err := checkLabel(m.Labels[value]); err != nil {
			return fmt.Errorf("%w: labels: %q: %w", ErrMapping, value, err)
		}
		key := labelKey(value)
		if other, ok := keys[key]; ok && m.Labels[other] != m.Labels[value] {
			return fmt.Errorf("%w: labels: %q and %q are the same value with different labels", ErrMapping, other, value)
		}
		keys[key] = value
	}
	return nil
}

// checkLabel says whether a text can be a label.
func checkLabel(label string) error {
	switch {
	case strings.TrimSpace(label) == "":
		return fmt.Errorf("the label is empty")
	case len(label) > maxLabelBytes:
		return fmt.Errorf("the label has %d bytes; at most %d are allowed. Is it the right column?", len(label), maxLabelBytes)
	default:
		return checkText(label)
	}
}

// checkText says whether a text can be kept and read.
func checkText(text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("it is not UTF-8")
	}
	if i := strings.IndexByte(text, 0); i >= 0 {
		return fmt.Errorf("byte %d is NUL, which no text holds; was the file cut or padded?", i+1)
	}
	return nil
}

// tableOptions are those of the reader.
func (m *Mapping) tableOptions(format table.Format) table.Options {
	delimiter, _ := utf8.DecodeRuneInString(m.Delimiter)
	if m.Delimiter == "" {
		delimiter = 0
	}
	return table.Options{
		Format: format, NoHeader: m.Header != nil && !*m.Header, Delimiter: delimiter, Quotes: cmp.Or(m.Quotes, table.QuotesRFC),
		MaxRecord: maxRowBytes,
	}
}

// maxRowBytes bounds a row: far more than any text that a model reads as a whole.
const maxRowBytes = 1 << 20
