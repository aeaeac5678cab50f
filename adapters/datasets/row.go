package datasets

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"valence/adapters/datasets/table"
)

var errEmpty = errors.New(`it is empty; say "empty": "drop" to leave such rows out`)

// row makes a row of a record, unless that is to be dropped or has a fault.
func (r *Reader) row(record *table.Record) (row Row, keep bool, fault *table.CellError) {
	if record.Err != nil {
		if cell, ok := errors.AsType[*table.CellError](record.Err); ok {
			return Row{}, false, cell
		}
		return Row{}, false, &table.CellError{Err: record.Err}
	}
	text, err := textOf(record.Cells[0])
	if err == nil {
		err = checkText(text)
	}
	if err != nil {
		return r.faulty(r.mapping.Text, err)
	}
	value, err := valueOf(record.Cells[1])
	if err != nil {
		return r.faulty(r.mapping.Label, err)
	}
	label, err := r.labels.label(value)
	if err != nil {
		return r.faulty(r.mapping.Label, err)
	}
	return Row{Row: record.Row, Text: text, Label: label}, true, nil
}

// faulty drops a row where the mapping says so.
func (r *Reader) faulty(column string, err error) (Row, bool, *table.CellError) {
	switch {
	case errors.Is(err, errEmpty) && r.mapping.Empty == Drop:
		r.dropped.Empty++
	case errors.Is(err, errUnmapped) && r.mapping.Unmapped == Drop:
		r.dropped.Unmapped++
	default:
		return Row{}, false, &table.CellError{Column: column, Err: err}
	}
	return Row{}, false, nil
}

func textOf(c table.Cell) (string, error) {
	switch {
	case c.Kind == table.Missing:
		return "", errors.New("the object has no such key")
	case c.Kind == table.Null, c.Kind == table.Text && strings.TrimSpace(c.Text) == "":
		return "", errEmpty
	case c.Kind != table.Text:
		return "", fmt.Errorf("it holds a %s where a text is needed", kindName(c.Kind))
	}
	return c.Text, nil
}

// valueOf is the text of a label as it stands in the file, without space around it.
func valueOf(c table.Cell) (string, error) {
	value := strings.TrimSpace(c.Text)
	switch c.Kind {
	case table.Missing:
		return "", errors.New("the object has no such key")
	case table.Null:
		return "", errEmpty
	case table.Other:
		return "", fmt.Errorf("it holds a %s where a text or number is needed", kindName(c.Kind))
	}
	if value == "" {
		return "", errEmpty
	}
	return value, nil
}

func kindName(k table.Kind) string {
	if k == table.Other {
		return "list, object, time or other value"
	}
	return string(k)
}

var errUnmapped = errors.New("the value has no label")

// labeller gives values their labels.
type labeller struct {
	byKey   map[string]string // by labelKey; nil takes values as labels
	mapped  []string          // values, for errors
	seen    map[string]bool   // labels, where values are taken as labels
	tooMany bool
}

func newLabeller(labels map[string]string) *labeller {
	l := &labeller{seen: map[string]bool{}}
	if labels == nil {
		return l
	}
	l.byKey = make(map[string]string, len(labels))
	for value, label := range labels {
		l.byKey[labelKey(value)] = strings.TrimSpace(label)
		l.mapped = append(l.mapped, value)
	}
	slices.Sort(l.mapped)
	return l
}

func (l *labeller) label(value string) (string, error) {
	if l.byKey != nil {
		label, ok := l.byKey[labelKey(value)]
		if !ok {
			return "", fmt.Errorf(`%w: %s is none of %s; map it, or say "unmapped": "drop"`, errUnmapped, list([]string{value}), list(l.mapped))
		}
		return label, nil
	}
	if l.seen[value] {
		return value, nil
	}
	if err := checkLabel(value); err != nil {
		return "", err
	}
	if len(l.seen) == maxLabels {
		l.tooMany = true
		return "", fmt.Errorf("%s is label number %d; at most %d are possible. Is it the right column? Numbers and fine classes can be mapped to fewer labels by \"labels\"",
			list([]string{value}), maxLabels+1, maxLabels)
	}
	l.seen[value] = true
	return value, nil
}

// overflown tells that there are more labels than can be, which says all about the rest
// of the file.
func (l *labeller) overflown() bool { return l.tooMany }

// labelKey makes values equal that are meant to be: space around them, and the ways to
// write a whole number.
func labelKey(value string) string {
	value = strings.TrimSpace(value)
	whole, fraction, _ := strings.Cut(value, ".")
	digits := strings.TrimPrefix(strings.TrimPrefix(whole, "-"), "+")
	if digits == "" || strings.Trim(digits, "0123456789") != "" || strings.Trim(fraction, "0") != "" {
		return value
	}
	number := strings.TrimLeft(digits, "0")
	switch {
	case number == "":
		return "0"
	case strings.HasPrefix(whole, "-"):
		return "-" + number
	default:
		return number
	}
}
