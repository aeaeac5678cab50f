package train

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Label is a class and the text that the model learns to write for it.
type Label struct {
	Name       string `json:"name"`
	Verbaliser string `json:"verbaliser"`
}

// Example is a text and the name of its label.
type Example struct {
	Text  string `json:"text"`
	Label string `json:"label"`
	Row   int    `json:"row"` // its number where it came from, for findings
}

// Data is what to learn.
type Data struct {
	Labels   []Label   `json:"labels"`
	Template string    `json:"template"` // "" or a text that holds {text} once
	Examples []Example `json:"examples"`
	// Validation, where not empty, are rows to evaluate on instead of a part of
	// Examples.
	Validation []Example `json:"validation,omitempty"`
}

// Bounds of the labels, those of serving.
const (
	minLabels = 2
	maxLabels = 64
)

// ErrData is wrapped by DataError.
var ErrData = errors.New("train: data")

// DataError says why data cannot be learnt from: its findings that are errors.
type DataError struct{ Findings []Finding }

// Error joins the findings' messages.
func (e *DataError) Error() string {
	messages := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		messages[i] = f.Message
	}
	return fmt.Sprintf("%v: %s", ErrData, strings.Join(messages, "; "))
}

// Unwrap gives ErrData.
func (e *DataError) Unwrap() error { return ErrData }

// Code says what a finding is about.
type Code string

// The findings. The first group stops the training; the second is only told.
const (
	EmptyText     Code = "empty_text"      // a text without a token
	InvalidText   Code = "invalid_text"    // a text that is not UTF-8
	UnknownLabel  Code = "unknown_label"   // a label that is not among the labels
	OneClass      Code = "one_class"       // fewer than two labels have rows
	BadLabels     Code = "bad_labels"      // labels that cannot be told apart or written
	TooFewRows    Code = "too_few_rows"    // nothing to train on or to validate on
	MissingLabel  Code = "missing_label"   // a label without a row to train on
	Duplicate     Code = "duplicate"       // a text that stands before with the same label
	Contradiction Code = "contradiction"   // a text that stands before with another label
	Leakage       Code = "leakage"         // a validation text that is trained on
	TruncatedText Code = "truncated_text"  // a text that is cut at its end
	ShortLabel    Code = "truncated_label" // a verbaliser that is cut at its end
)

// Finding is something about the data that its owner should know.
type Finding struct {
	Code    Code   `json:"code"`
	Error   bool   `json:"error"`          // it stops the training
	Message string `json:"message"`        // a sentence with what to do
	Count   int    `json:"count"`          // rows in all
	Rows    []int  `json:"rows,omitempty"` // the first of them, by Example.Row
}

// maxFindingRows bounds the rows that a finding lists.
const maxFindingRows = 20

// findings collects rows by what is found about them.
type findings struct {
	list []Finding
	at   map[Code]int
}

func (f *findings) add(code Code, isError bool, message string, rows ...int) {
	if f.at == nil {
		f.at = map[Code]int{}
	}
	i, ok := f.at[code]
	if !ok {
		i = len(f.list)
		f.at[code] = i
		f.list = append(f.list, Finding{Code: code, Error: isError, Message: message})
	}
	found := &f.list[i]
	found.Count += len(rows)
	found.Rows = append(found.Rows, rows[:min(len(rows), maxFindingRows-len(found.Rows))]...)
}

// err gives the findings that stop the training, or nil.
func (f *findings) err() error {
	errs := slices.DeleteFunc(slices.Clone(f.list), func(x Finding) bool { return !x.Error })
	if len(errs) == 0 {
		return nil
	}
	for i := range errs {
		if len(errs[i].Rows) > 0 {
			errs[i].Message += fmt.Sprintf(" (%d rows, the first is %d)", errs[i].Count, errs[i].Rows[0])
		}
	}
	return &DataError{errs}
}

// check looks at texts and labels, without a tokenizer. It gives each example's
// label number.
func (d *Data) check(f *findings) (labels []int) {
	number := map[string]int{}
	for i, l := range d.Labels {
		if _, twice := number[l.Name]; twice || l.Name == "" {
			f.add(BadLabels, true, fmt.Sprintf("label %d is %q: names must differ and not be empty", i, l.Name))
		}
		number[l.Name] = i
	}
	if n := len(d.Labels); n < minLabels || n > maxLabels {
		f.add(BadLabels, true, fmt.Sprintf("there are %d labels; from %d to %d are possible", n, minLabels, maxLabels))
	}
	first := map[string]int{}
	all := slices.Concat(d.Examples, d.Validation)
	labels = make([]int, len(all))
	for i, e := range all {
		label, ok := number[e.Label]
		labels[i] = label
		switch {
		case !ok:
			f.add(UnknownLabel, true, fmt.Sprintf("a row's label is %q, which is not among the labels", e.Label), e.Row)
		case !utf8.ValidString(e.Text):
			f.add(InvalidText, true, "a text is not UTF-8; convert the file", e.Row)
		case strings.TrimSpace(e.Text) == "":
			f.add(EmptyText, true, "a text is empty; remove its row", e.Row)
		default:
			d.compare(f, first, all, i)
		}
	}
	return labels
}

// compare looks for the text of row i among those before it.
func (d *Data) compare(f *findings, first map[string]int, all []Example, i int) {
	key := fold(all[i].Text)
	before, seen := first[key]
	switch {
	case !seen:
		first[key] = i
	case before < len(d.Examples) && i >= len(d.Examples):
		f.add(Leakage, false, "a validation text is also trained on, which makes the figures too good; remove one of the two", all[i].Row)
	case all[before].Label != all[i].Label:
		f.add(Contradiction, false, "a text stands twice with different labels; keep the right one", all[i].Row)
	default:
		f.add(Duplicate, false, "a text stands twice with the same label", all[i].Row)
	}
}

// fold is what texts have in common that differ in case and white space only.
func fold(text string) string { return strings.ToLower(strings.Join(strings.Fields(text), " ")) }
