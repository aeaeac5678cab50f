package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"valence/adapters"
	"valence/runtime/engine"
	"valence/runtime/train/metrics"
)

type evaluateCmd struct {
	baseFlags
	Data        string `required:"" short:"d" help:"A .csv, .tsv or .jsonl file of labelled texts." placeholder:"FILE"`
	InputFormat string `default:"auto" enum:"auto,csv,tsv,jsonl" help:"Format of the data; auto goes by the file's name."`
	TextColumn  string `default:"text" help:"Column or key that holds the text."`
	LabelColumn string `default:"label" help:"Column or key that holds the true label."`
	Use         string `short:"u" help:"Id of the adapter that is judged; without it, the base." placeholder:"ID"`
	JSON        bool   `help:"Print one JSON object instead of tables."`
	Picture     string `help:"Draw the confusion matrix and the calibration curve into this .png or .svg file." placeholder:"FILE"`
}

// Validate is called by kong after parsing.
func (c *evaluateCmd) Validate() error {
	if err := c.baseFlags.Validate(); err != nil {
		return err // kong asks the outermost Validate alone
	}
	if c.Picture != "" {
		if _, err := pictureFormat(c.Picture); err != nil {
			return fmt.Errorf("--picture %w", err)
		}
	}
	return nil
}

// evaluation is what the command prints.
type evaluation struct {
	Base    string `json:"base"`
	Adapter string `json:"adapter"`
	Digest  string `json:"digest"`
	*metrics.Report
	Truncated     int     `json:"truncated"` // rows that were cut
	RowsPerSecond float64 `json:"rows_per_s"`
}

// Run answers every row and judges the answers.
func (c *evaluateCmd) Run(ctx context.Context, std streams) (err error) {
	records, err := c.read()
	if err != nil {
		return err
	}
	s, err := c.open(ctx, openOptions{log: quietLog(std), progress: byteBar(std, "loading"), fetched: byteBar(std, "fetching"), answers: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	entry, err := s.adapters.Lookup(ctx, c.Use)
	if err != nil {
		return err
	}
	e, err := c.evaluate(ctx, std, s, entry, records)
	if err != nil {
		return err
	}
	if c.Picture != "" {
		if err := drawEvaluation(c.Picture, e.Report); err != nil {
			return fmt.Errorf("--picture: %w", err)
		}
	}
	if c.JSON {
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		return enc.Encode(e)
	}
	return e.print(std.out)
}

// maxFaults is how many bad rows are named before the rest is only counted.
const maxFaults = 5

// faults collects what is wrong with rows: figures over fewer rows than the file
// holds would be taken for what they are not.
type faults struct{ errs []error }

func (f *faults) err(rows int) error {
	if len(f.errs) == 0 {
		return nil
	}
	shown := f.errs[:min(len(f.errs), maxFaults)]
	return fmt.Errorf("%d of %d rows cannot be judged:\n%w", len(f.errs), rows, errors.Join(shown...))
}

// read gives all rows of the data; one that is wrong is an error that names its line.
func (c *evaluateCmd) read() ([]*record, error) {
	source, err := inputFile{c.Data, c.InputFormat, columns{c.TextColumn, c.LabelColumn}}.open()
	if err != nil {
		return nil, err
	}
	defer source.Close()
	records, err := readChunk(source, math.MaxInt)
	if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", c.Data, err)
	}
	var bad faults
	for _, r := range records {
		if r.err != nil {
			bad.errs = append(bad.errs, r.err)
		}
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("%s holds no rows", c.Data)
	}
	return records, bad.err(len(records))
}

func (c *evaluateCmd) evaluate(ctx context.Context, std streams, s *stack, entry *adapters.Entry, records []*record) (*evaluation, error) {
	labels := make([]string, len(entry.Sidecar.Labels))
	for i, l := range entry.Sidecar.Labels {
		labels[i] = l.Name
	}
	var bad faults
	for _, r := range records {
		if !slices.Contains(labels, r.want) {
			bad.errs = append(bad.errs, fmt.Errorf("%s: the label %q is not one of %q", r.place, r.want, labels))
		}
	}
	if err := bad.err(len(records)); err != nil {
		return nil, err
	}
	e := &evaluation{Base: s.base.Name, Adapter: entry.ID, Digest: entry.Digest}
	start := time.Now()
	rows, err := e.answer(ctx, std, s.engine, entry.Task, labels, records)
	if err != nil {
		return nil, err
	}
	e.RowsPerSecond = float64(len(rows)) / time.Since(start).Seconds()
	e.Report, err = metrics.Evaluate(labels, rows)
	return e, err
}

// answer asks for every row's scores, in batches of similar length.
func (e *evaluation) answer(ctx context.Context, std streams, eng *engine.Engine, task *engine.Task, labels []string, records []*record) ([]metrics.Row, error) {
	bar := newBar(std, int64(len(records)), "evaluating", "rows", false)
	var rows []metrics.Row
	var bad faults
	for part := range slices.Chunk(records, chunk) {
		reqs := make([]engine.Request, len(part))
		for i, r := range part {
			reqs[i] = engine.Request{Text: r.text, Task: task, Truncate: true}
		}
		outcomes, err := eng.Predict(ctx, reqs)
		if err != nil {
			return nil, err
		}
		for i, o := range outcomes {
			if o.Err != nil {
				bad.errs = append(bad.errs, fmt.Errorf("%s: %w", part[i].place, o.Err))
				continue
			}
			if o.Truncated {
				e.Truncated++
			}
			row := metrics.Row{Truth: slices.Index(labels, part[i].want)}
			for _, lp := range o.LogProbs {
				row.Probs = append(row.Probs, math.Exp(lp))
			}
			rows = append(rows, row)
		}
		_ = bar.Add(len(part)) // a bar that cannot be drawn stops nothing
	}
	_ = bar.Finish()
	return rows, bad.err(len(records))
}

func (e *evaluation) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "base %s, adapter %s, %s\n", e.Base, e.Adapter, e.Digest)
	fmt.Fprintf(w, "%d rows, %d of them cut, %.0f rows/s\n\n", e.Rows, e.Truncated, e.RowsPerSecond)
	fmt.Fprintf(w, "accuracy\t%.4f\nmacro-F1\t%.4f\ncalibration error\t%.4f\n\n", e.Accuracy, e.MacroF1, e.ECE)
	fmt.Fprintln(w, "label\tprecision\trecall\tF1\trows")
	for _, c := range e.Classes {
		fmt.Fprintf(w, "%s\t%.4f\t%.4f\t%.4f\t%d\n", c.Label, c.Precision, c.Recall, c.F1, c.Support)
	}
	e.printConfusion(w)
	fmt.Fprintln(w, "\nbelow\tno answer\tright of the rest")
	for _, a := range e.Abstention {
		if math.Mod(a.Threshold*10+1e-9, 1) < 1e-6 || a.Threshold > 0.9 {
			fmt.Fprintf(w, "%.2f\t%.1f %%\t%.4f\n", a.Threshold, 100*(1-a.Coverage), a.Accuracy)
		}
	}
	return w.Flush()
}

func (e *evaluation) printConfusion(w io.Writer) {
	fmt.Fprint(w, "\ntruth, answered")
	for _, c := range e.Classes {
		fmt.Fprintf(w, "\t%s", c.Label)
	}
	fmt.Fprintln(w)
	for i, c := range e.Classes {
		fmt.Fprint(w, c.Label)
		for _, n := range e.Confusion[i] {
			fmt.Fprintf(w, "\t%d", n)
		}
		fmt.Fprintln(w)
	}
}
