package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// sink writes answered records.
type sink interface {
	write(r *record) error
	flush() error
}

func (c *predictCmd) sink(w io.Writer, s source) sink {
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
		return &csvSink{out: buffered, csv: csv.NewWriter(buffered), columns: s.header()}
	case "table":
		return &tableSink{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	default:
		return &jsonlSink{out: buffered}
	}
}

// csvSink repeats the input's columns and adds label, score, text written and
// error. Scores of single labels are left to JSONL: rows may have different labels.
type csvSink struct {
	out     *bufio.Writer
	csv     *csv.Writer
	columns []string
	begun   bool
}

func (s *csvSink) begin() error {
	if s.begun {
		return nil
	}
	s.begun = true
	if s.columns == nil {
		s.columns = []string{"text"}
	}
	return s.csv.Write(append(append([]string(nil), s.columns...), "label", "score", "generated", "error"))
}

func (s *csvSink) write(r *record) error {
	if err := s.begin(); err != nil {
		return err
	}
	fields := r.fields
	if fields == nil {
		fields = []string{r.text}
	}
	row := make([]string, len(s.columns), len(s.columns)+4)
	copy(row, fields)
	score, failure := "", ""
	if r.label != "" {
		score = strconv.FormatFloat(r.score, 'f', 6, 64)
	}
	if r.err != nil {
		failure = r.err.Error()
	}
	return s.csv.Write(append(row, r.label, score, r.generated, failure))
}

func (s *csvSink) flush() error {
	if err := s.begin(); err != nil {
		return err
	}
	s.csv.Flush()
	if err := s.csv.Error(); err != nil {
		return err
	}
	return s.out.Flush()
}

// jsonlSink writes one object a row: the input's own keys, then the answer's.
type jsonlSink struct{ out *bufio.Writer }

// answerJSON is what is added to a row's object.
type answerJSON struct {
	Text      string             `json:"text,omitempty"`
	Label     string             `json:"label,omitempty"`
	Score     *float64           `json:"score,omitempty"`
	Scores    map[string]float64 `json:"scores,omitempty"`
	Generated string             `json:"generated,omitempty"`
	Error     string             `json:"error,omitempty"`
}

func (s *jsonlSink) write(r *record) error {
	a := answerJSON{Label: r.label, Generated: r.generated}
	if r.object == nil {
		a.Text = r.text
	}
	if r.label != "" {
		a.Score, a.Scores = &r.score, map[string]float64{}
		for i, label := range r.labels {
			a.Scores[label] = r.scores[i]
		}
	}
	if r.err != nil {
		a.Error = r.err.Error()
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a); err != nil {
		return err
	}
	_, err := s.out.Write(joinObjects(r.object, b.Bytes()))
	return err
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
	case r.label == "":
		_, err = fmt.Fprintf(s.w, "%s\t\t\t%s\n", oneLine(r.generated), oneLine(r.text))
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
