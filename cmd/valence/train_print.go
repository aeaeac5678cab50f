package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"valence/cmd/internal/client"
)

// plan tells what would be done.
func (c *trainCmd) plan(ctx context.Context, std streams, server *client.Client) error {
	request, err := c.request(ctx, std, server)
	if err != nil {
		return err
	}
	p, err := server.Plan(ctx, c.Adapter, request)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.MarshalWrite(std.out, p, jsontext.WithIndent("  "))
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nrows\t%d\n", p.Rows)
	for _, l := range p.Labels {
		fmt.Fprintf(w, "  %s\t%d (%.1f %%)\n", l.Label, l.Rows, 100*float64(l.Rows)/float64(max(p.Rows, 1)))
	}
	if len(p.Runs) > 0 {
		fmt.Fprintf(w, "learnt from, measured on\t%d, %d\n", p.Runs[0].Train, p.Runs[0].Validation)
	}
	if len(p.Runs) > 1 {
		fmt.Fprintf(w, "runs side by side\t%d\n", len(p.Runs))
	}
	fmt.Fprintf(w, "tokens of a text\tmean %.1f, median %d, 95 %% up to %d, longest %d\n", p.Tokens.Mean, p.Tokens.Median, p.Tokens.P95, p.Tokens.Max)
	fmt.Fprintf(w, "texts that are cut\t%d\n", p.Truncated)
	fmt.Fprintf(w, "steps\t%d\nparameters\t%d\n", p.Steps, p.Parameters)
	fmt.Fprintf(w, "time\tabout %v, at the present load\n", (time.Duration(p.Seconds) * time.Second).Round(time.Second))
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range p.Findings {
		fmt.Fprintf(std.out, "! %s (%d rows)\n", f.Message, f.Count)
	}
	fmt.Fprintln(std.out, "\nNothing was trained. Leave out --dry-run to begin.")
	if c.Server != "" {
		tellKept(std, server.URL(), request)
	}
	return nil
}

// tellKept says what a dry run leaves at a server: the files that the training will be of.
func tellKept(std streams, server string, r client.TrainRequest) {
	ids := []string{r.Data.Dataset}
	if r.Validation != nil {
		ids = append(ids, r.Validation.Dataset)
	}
	for _, id := range ids {
		if id != "" {
			fmt.Fprintf(std.out, "The server keeps the data set for it; to remove it: curl -X DELETE %s/v1/datasets/%s\n", server, id)
		}
	}
}

// finish tells how a job ended.
func (c *trainCmd) finish(std streams, w *watch, job *client.Job) error {
	if c.Picture != "" && len(w.curves.losses)+len(w.curves.epochs) > 0 {
		if err := drawCurves(c.Picture, job.Adapter, &w.curves); err != nil {
			return fmt.Errorf("--picture: %w", err)
		}
	}
	if c.JSON {
		if _, err := fmt.Fprintln(std.out, string(job.Raw)); err != nil {
			return err
		}
		if job.State != "succeeded" {
			return errSilent
		}
		return nil
	}
	switch job.State {
	case "failed":
		return jobFailed(job, c.whereFlags())
	case "cancelled":
		return fmt.Errorf("job %s was cancelled; go on with it: valence train --job %s%s", job.ID, job.ID, c.whereFlags())
	}
	return c.succeeded(std, job)
}

func jobFailed(job *client.Job, where string) error {
	e := job.Error
	if e == nil {
		return fmt.Errorf("job %s failed", job.ID)
	}
	lines := []string{fmt.Sprintf("job %s failed (%s) while %s: %s", job.ID, e.Code, e.Phase, e.Message)}
	for _, f := range e.Findings {
		lines = append(lines, "  "+(&client.FieldError{Pointer: f.Pointer, Row: f.Row, Detail: f.Message}).String())
	}
	lines = append(lines, fmt.Sprintf("Its last checkpoint is kept; once the cause is gone: valence train --job %s%s", job.ID, where))
	return errors.New(strings.Join(lines, "\n"))
}

func (c *trainCmd) succeeded(std streams, job *client.Job) error {
	r := job.Result
	if r != nil && len(r.Runs) > 1 {
		if err := printRuns(std, r); err != nil {
			return err
		}
	}
	fmt.Fprintln(std.out)
	if r != nil && r.Rows > 0 {
		fmt.Fprintf(std.out, "accuracy %.4f, macro-F1 %.4f, calibration error %.4f on %d rows that were not learnt from\n", r.Accuracy, r.MacroF1, r.ECE, r.Rows)
	}
	if c.Picture != "" {
		fmt.Fprintf(std.out, "curves in %s\n", c.Picture)
	}
	fmt.Fprintf(std.out, "%s@%s, %s, in %v\n", job.Adapter, job.Version, job.Digest, job.Finished.Sub(job.Started).Round(100*time.Millisecond))
	if !job.Activated {
		fmt.Fprintf(std.out, "It does not answer for %s alone; ask for %s@%s.\n", job.Adapter, job.Adapter, job.Version)
		return nil
	}
	if c.Server != "" {
		fmt.Fprintf(std.out, "It answers now: curl %s/v1/sentiment -d '{\"text\": \"...\", \"adapter\": \"%s\"}'\n", c.Server, job.Adapter)
		return nil
	}
	fmt.Fprintf(std.out, "Servers with this data folder answer with it: valence serve%s\n", c.whereFlags())
	return nil
}

// printRuns compares the runs of a job.
func printRuns(std streams, r *client.RunMetrics) error {
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nrun\tlearning rate\tseed\tfold\taccuracy\tmacro-F1\t")
	for _, x := range r.Runs {
		fold, note := "-", ""
		if x.Fold != nil {
			fold = fmt.Sprint(*x.Fold)
		}
		switch {
		case x.Failure != "":
			note = "failed: " + x.Failure
		case x.Run == r.Run:
			note = "kept"
		}
		fmt.Fprintf(w, "%d\t%g\t%d\t%s\t%.4f\t%.4f\t%s\n", x.Run, x.LearningRate, x.Seed, fold, x.Accuracy, x.MacroF1, note)
	}
	return w.Flush()
}
