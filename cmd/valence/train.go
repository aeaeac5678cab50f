package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"valence/cmd/internal/client"
)

type trainCmd struct {
	Data     string `short:"d" type:"existingfile" help:"File of labelled texts: .csv, .tsv, .jsonl or .parquet." placeholder:"FILE"`
	Feedback bool   `env:"-" help:"Learn from the feedback that was given to the adapter, in place of a file."`
	Adapter  string `short:"a" env:"-" help:"Id of the adapter that gets the new version. One that is not there is made." placeholder:"ID"`
	Job      string `env:"-" help:"Watch this job, in place of starting one. A job that was stopped goes on." placeholder:"JOB"`
	Cancel   bool   `env:"-" help:"End the job that --job names."`
	DryRun   bool   `env:"-" help:"Only tell what would be done: rows, labels, lengths, steps, time, and what is odd about the data."`
	Picture  string `help:"Draw the curves of loss and quality into this .png or .svg file." placeholder:"FILE"`
	JSON     bool   `help:"Print the finished job, or the plan, as JSON in place of tables."`

	trainData    `group:"What is learnt from"`
	trainRecipe  `group:"How it is learnt"`
	trainOutcome `group:"What becomes of it"`
	trainWhere   `group:"Where it is done"`
}

// Help is shown by kong below the usage.
func (c *trainCmd) Help() string {
	return `Learns a new version of an adapter from labelled texts, and shows how it goes.

With --server a running server does the work, while it goes on serving; the version answers there at once. Without it this process does, in the data folder that "valence serve" uses, so that the next server has the version.

Columns with usual names (text, sentence, review, ...; label, sentiment, stars, ...) are found by themselves. A job is never lost: whatever stops it, "valence train --job JOB" goes on from its last checkpoint.

  valence train --data reviews.csv --adapter reviews --dry-run
  valence train --data reviews.csv --adapter reviews --picture curves.png
  valence train --data stars.tsv --label-column stars --label-map 1=negative --label-map 5=positive --drop-unmapped --adapter shop
  valence train --data reviews.csv --adapter reviews --learning-rate 0.002 --learning-rate 0.008 --seed 1 --seed 2   # four runs, the best is kept
  VALENCE_KEY=... valence train --server https://valence.example --feedback --adapter reviews --activate if_better`
}

// Validate is called by kong after parsing.
func (c *trainCmd) Validate() error {
	given := 0
	for _, is := range []bool{c.Data != "", c.Feedback, c.Job != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("give one of --data, --feedback and --job")
	case c.Job == "" && c.Adapter == "":
		return errors.New("--adapter is missing: the id that gets the new version, such as reviews or acme/reviews")
	case c.Job != "" && (c.Adapter != "" || c.DryRun):
		return errors.New("--job names a job that there is; leave out --adapter and --dry-run")
	case c.Cancel && c.Job == "":
		return errors.New("--cancel needs --job")
	}
	if c.Picture != "" {
		if _, err := pictureFormat(c.Picture); err != nil {
			return fmt.Errorf("--picture %w", err)
		}
	}
	return errors.Join(c.validateWhere(), c.validateRecipe())
}

// Run starts a job, or finds one, and watches it to its end.
func (c *trainCmd) Run(ctx context.Context, std streams) (err error) {
	server, stop, err := c.connect(ctx, std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if c.Job == "" && c.DryRun {
		return c.plan(ctx, std, server)
	}
	if c.Cancel {
		return c.cancel(ctx, std, server)
	}
	job, err := c.begin(ctx, std, server)
	if err != nil {
		return err
	}
	w := newWatch(std, c.JSON)
	job, err = w.follow(ctx, server, job)
	if errors.Is(err, context.Canceled) || errors.Is(err, client.ErrUnreachable) {
		return c.interrupted(std, job, err)
	}
	if err != nil {
		return err
	}
	return c.finish(std, w, job)
}

// begin starts a job, or takes up the one that is named.
func (c *trainCmd) begin(ctx context.Context, std streams, server *client.Client) (*client.Job, error) {
	if c.Job == "" {
		request, err := c.request(ctx, std, server)
		if err != nil {
			return nil, err
		}
		job, err := server.Train(ctx, c.Adapter, request, "train-"+rand.Text())
		if err == nil {
			c.say(std, "job %s trains %s\n", job.ID, job.Adapter)
		}
		return job, err
	}
	job, err := server.Job(ctx, c.Job)
	switch {
	case err != nil:
		return nil, err
	case job.State == "paused":
		return server.Resume(ctx, c.Job)
	case job.State == "failed" || job.State == "cancelled":
		c.say(std, "job %s was %s; it goes on from its last checkpoint\n", job.ID, job.State)
		return server.Retry(ctx, c.Job)
	}
	return job, nil
}

// cancel ends a job, and waits until it has.
func (c *trainCmd) cancel(ctx context.Context, std streams, server *client.Client) error {
	job, err := server.Cancel(ctx, c.Job)
	if err == nil && !job.Final() {
		job, err = newWatch(std, true).follow(ctx, server, job)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = fmt.Fprintln(std.out, string(job.Raw))
		return err
	}
	c.say(std, "job %s is %s\n", job.ID, job.State)
	return nil
}

// say tells people; with --json nothing but JSON is written.
func (c *trainCmd) say(std streams, format string, args ...any) {
	if !c.JSON {
		fmt.Fprintf(std.out, format, args...)
	}
}

// request says what is to be trained, once the files are at the server.
func (c *trainCmd) request(ctx context.Context, std streams, server *client.Client) (client.TrainRequest, error) {
	r := c.trainRequest()
	r.Data.Feedback = c.Feedback
	if c.Data != "" {
		set, err := c.upload(ctx, std, server, c.Data)
		if err != nil {
			return r, err
		}
		r.Data.Dataset = set.ID
	}
	file := c.validationFile()
	if file == "" {
		return r, nil
	}
	set, err := c.upload(ctx, std, server, file)
	if err != nil {
		return r, err
	}
	r.Validation = &client.Validation{Dataset: set.ID}
	return r, nil
}

func (c *trainCmd) upload(ctx context.Context, std streams, server *client.Client, path string) (*client.Dataset, error) {
	query, err := c.query(path)
	if err != nil {
		return nil, err
	}
	set, err := server.UploadDataset(ctx, path, query)
	if err != nil {
		return nil, dataError(path, err)
	}
	var labels []string
	for _, l := range set.Labels {
		labels = append(labels, fmt.Sprintf("%d %s", l.Rows, l.Label))
	}
	c.say(std, "%s: %d rows, %s\n", path, set.Rows, strings.Join(labels, ", "))
	for _, odd := range oddities(&set.Report) {
		fmt.Fprintf(std.err, "%s: %s\n", path, odd)
	}
	return set, nil
}

// oddities are what may be wrong with a data set that can be used.
func oddities(r *client.Report) (out []string) {
	for _, o := range []struct {
		n    int
		what string
	}{
		{r.Dropped.Empty, "are empty and were left out"},
		{r.Dropped.Unmapped, "have a label that is not mapped and were left out"},
		{r.Duplicates.Exact + r.Duplicates.Near, "have a text that stands before"},
		{r.Conflicts.Rows, "have a text that stands before with another label: keep the right one"},
	} {
		if o.n > 0 {
			out = append(out, fmt.Sprintf("%d rows %s", o.n, o.what))
		}
	}
	return out
}

// dataError says what is wrong with a file, row by row where the server does.
func dataError(path string, err error) error {
	problem, ok := errors.AsType[*client.Problem](err)
	if !ok || len(problem.Errors) == 0 {
		return fmt.Errorf("%s: %w", path, err)
	}
	lines := []string{path + " cannot be used:"}
	for i := range problem.Errors {
		lines = append(lines, "  "+problem.Errors[i].String())
	}
	return errors.New(strings.Join(lines, "\n"))
}

// interrupted tells how to go on with a job that is not at its end.
func (c *trainCmd) interrupted(std streams, job *client.Job, err error) error {
	again := "valence train --job " + job.ID + c.whereFlags()
	fmt.Fprintln(std.err)
	if errors.Is(err, client.ErrUnreachable) {
		fmt.Fprintf(std.err, "valence: %v\nThe job is kept. When the server is back, watch it again:\n  %s\n", err, again)
		return errSilent
	}
	if c.Server != "" {
		fmt.Fprintf(std.err, "The job goes on at the server. Watch it again, or end it:\n  %s\n  %s --cancel\n", again, again)
		return errSilent
	}
	fmt.Fprintf(std.err, "The job stops at its next step and is kept. Go on with it, or end it:\n  %s\n  %s --cancel\nA server with the same data folder goes on with it, too.\n", again, again)
	return errSilent
}

// patience is how long a server may be away while its job is watched.
const patience = 5 * time.Minute
