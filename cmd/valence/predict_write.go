package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// sink writes answered records.
type sink interface {
	write(r *record) error
	flush() error
}

// The names of an answer's columns and keys.
const (
	nameText      = "text"
	nameLabel     = "label"
	nameScore     = "score"
	nameScores    = "scores"
	nameGenerated = "generated"
	nameError     = "error"
)

func (c *predictCmd) sink(w io.Writer, s source) (sink, error) {
	format := c.Format
	if format == "auto" {
		switch {
		case s.header() != nil:
			format = "csv"
		case len(c.Text) > 0 && c.Output == "-":
			format = "table"
		default:
			format = "jsonl"
		}
	}
	buffered := bufio.NewWriter(w)
	switch format {
	case "csv":
		return newCSVSink(buffered, s.header(), c.Prefix)
	case "table":
		return &tableSink{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}, nil
	default:
		return &jsonlSink{buffered, c.Prefix}, nil
	}
}

// errTaken tells that a name of the answer is in the input.
func errTaken(name string) error {
	return fmt.Errorf("the input has %q already; --prefix gives the answer's names another beginning", name)
}

// csvSink repeats the input's columns and adds label, score, text written and
// error. Scores of single labels are left to JSONL: rows may have different labels.
type csvSink struct {
	out   *bufio.Writer
	csv   *csv.Writer
	width int // of the input's columns
}

func newCSVSink(out *bufio.Writer, header []string, prefix string) (*csvSink, error) {
	if header == nil {
		header = []string{nameText}
	}
	s := &csvSink{out: out, csv: csv.NewWriter(out), width: len(header)}
	names := slices.Clone(header)
	for _, name := range []string{nameLabel, nameScore, nameGenerated, nameError} {
		if slices.Contains(header, prefix+name) {
			return nil, errTaken(prefix + name)
		}
		names = append(names, prefix+name)
	}
	return s, s.csv.Write(names)
}

func (s *csvSink) write(r *record) error {
	fields := r.fields
	if fields == nil {
		fields = []string{r.text}
	}
	row := make([]string, s.width, s.width+4)
	copy(row, fields)
	score, failure := "", ""
	if len(r.scores) > 0 {
		score = strconv.FormatFloat(r.score, 'f', 6, 64)
	}
	if r.err != nil {
		failure = r.err.Error()
	}
	return s.csv.Write(append(row, r.label, score, r.generated, failure))
}

func (s *csvSink) flush() error {
	s.csv.Flush()
	if err := s.csv.Error(); err != nil {
		return err
	}
	return s.out.Flush()
}

// jsonlSink writes one object a row: the input's own keys as they were, then the
// answer's.
type jsonlSink struct {
	out    *bufio.Writer
	prefix string
}

func (s *jsonlSink) write(r *record) error {
	answer := map[string]any{}
	if r.object == nil {
		answer[nameText] = r.text
	}
	if r.label != "" {
		answer[s.prefix+nameLabel] = r.label
	}
	if len(r.scores) > 0 {
		scores := map[string]float64{}
		for i, label := range r.labels {
			scores[label] = r.scores[i]
		}
		answer[s.prefix+nameScore], answer[s.prefix+nameScores] = r.score, scores
	}
	if r.generated != "" {
		answer[s.prefix+nameGenerated] = r.generated
	}
	if r.err != nil {
		answer[s.prefix+nameError] = r.err.Error()
	}
	if err := checkTaken(r, answer); err != nil {
		return err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(answer); err != nil {
		return err
	}
	_, err := s.out.Write(joinObjects(r.object, b.Bytes()))
	return err
}

func checkTaken(r *record, answer map[string]any) error {
	for name := range answer {
		if slices.Contains(r.keys, name) {
			return fmt.Errorf("%s: %w", r.place, errTaken(name))
		}
	}
	return nil
}

// joinObjects puts the members of b, an object and a line end, behind those of a,
// an object or nil.
func joinObjects(a, b []byte) []byte {
	a = bytes.TrimSpace(a)
	if len(a) == 0 {
		return b
	}
	head := bytes.TrimSpace(a[:len(a)-1])
	if len(head) > 1 && len(b) > len("{}\n") {
		head = append(head[:len(head):len(head)], ',')
	}
	return append(head[:len(head):len(head)], b[1:]...)
}

func (s *jsonlSink) flush() error { return s.out.Flush() }

// tableSink is for people.
type tableSink struct{ w *tabwriter.Writer }

func (s *tableSink) write(r *record) error {
	var err error
	switch {
	case r.err != nil:
		_, err = fmt.Fprintf(s.w, "error\t\t%s\t%s\n", r.err, oneLine(r.text))
	case len(r.scores) == 0:
		_, err = fmt.Fprintf(s.w, "%s\t\t%s\t%s\n", r.label, oneLine(r.generated), oneLine(r.text))
	default:
		var all []string
		for i, label := range r.labels {
			all = append(all, fmt.Sprintf("%s %.3f", label, r.scores[i]))
		}
		_, err = fmt.Fprintf(s.w, "%s\t%.3f\t%s\t%s\n", r.label, r.score, strings.Join(all, " "), oneLine(r.text))
	}
	return err
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (s *tableSink) flush() error { return s.w.Flush() }
