package datasets

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"valence/adapters/datasets/table"
)

// Names that columns of texts and of labels usually have.
var (
	textNames  = []string{"text", "sentence", "review", "content", "comment", "tweet", "message", "body", "utterance", "document"}
	labelNames = []string{"label", "sentiment", "class", "category", "target", "stars", "rating", "polarity", "emotion"}
)

// choose finds the columns of text and label.
func (m *Mapping) choose(format table.Format, columns []string) (text, label string, err error) {
	if text, err = m.column("text", m.Text, textNames, format, columns); err != nil {
		return "", "", err
	}
	if label, err = m.column("label", m.Label, labelNames, format, columns); err != nil {
		return "", "", err
	}
	if text == label {
		return "", "", fmt.Errorf("%w: text and label are both column %q", ErrMapping, text)
	}
	return text, label, nil
}

func (m *Mapping) column(part, asked string, usual []string, format table.Format, columns []string) (string, error) {
	if asked == "" {
		return m.guess(part, usual, format, columns)
	}
	if slices.Contains(columns, asked) || format == table.JSONL {
		return asked, nil // objects may have keys that the first one lacks
	}
	number, err := strconv.Atoi(asked)
	if err != nil || number < 1 || number > len(columns) {
		return "", fmt.Errorf("%w: %s: there is no column %q; the columns are %s", ErrMapping, part, asked, list(columns))
	}
	if format != table.Parquet && m.Header == nil {
		return "", fmt.Errorf(`%w: %s is column number %d: say whether the first row names the columns ("header": true) or is data ("header": false)`,
			ErrMapping, part, number)
	}
	return columns[number-1], nil
}

// guess takes the one column with a usual name.
func (m *Mapping) guess(part string, usual []string, format table.Format, columns []string) (string, error) {
	var found []string
	for _, c := range columns {
		if slices.Contains(usual, strings.ToLower(strings.TrimSpace(c))) {
			found = append(found, c)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("%w: %s: it could be each of the columns %s; say which", ErrMapping, part, list(found))
	}
	advice := ""
	if (format == table.CSV || format == table.TSV) && m.Header == nil {
		advice = `; if that is the first row of data, say "header": false and give columns by number`
	}
	return "", fmt.Errorf("%w: %s: no column has a usual name for it; say which of %s it is%s", ErrMapping, part, list(columns), advice)
}

// list writes names for an error, as many as are of use.
func list(names []string) string {
	const most, longest = 20, 60
	if len(names) == 0 {
		return "none"
	}
	var out []string
	for _, n := range names[:min(len(names), most)] {
		if r := []rune(n); len(r) > longest {
			n = string(r[:longest]) + "…"
		}
		out = append(out, strconv.Quote(n))
	}
	if more := len(names) - most; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}
