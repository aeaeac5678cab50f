package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/schollz/progressbar/v3"

	"valence/cmd/internal/client"
)

// watch shows a job as it goes: a bar on a terminal, and a table with a line an epoch.
type watch struct {
	std    streams
	quiet  bool // no table
	bar    *progressbar.ProgressBar
	left   string // time that the job last said it needs, with a comma before it, or ""
	table  bool   // its head is printed
	curves curves
}

// curves are what a picture shows.
type curves struct {
	losses []point             // of steps
	epochs []client.RunMetrics // of the run that is ahead
	steps  []int               // at which those ended
}

type point struct {
	step int
	loss float64
}

func newWatch(std streams, quiet bool) *watch { return &watch{std: std, quiet: quiet} }

// follow shows a job to its end, and gives it as it is then. A context's error comes with
// the job as it was last seen.
func (w *watch) follow(ctx context.Context, server *client.Client, job *client.Job) (*client.Job, error) {
	defer w.clear()
	lost := func(err error, pause time.Duration) {
		w.clear()
		fmt.Fprintf(w.std.err, "lost the server (%v); trying again\n", err)
	}
	for event, err := range server.Follow(ctx, job.ID, 0, patience, lost) {
		if err == nil {
			err = w.show(event)
		}
		if err != nil {
			return job, err
		}
	}
	return server.Job(ctx, job.ID)
}

func (w *watch) show(e client.Event) error {
	switch e.Kind {
	case "state":
		var s client.State
		if err := json.Unmarshal(e.Data, &s); err != nil {
			return fmt.Errorf("event %d: %w", e.Sequence, err)
		}
		w.state(s)
	case "step", "epoch":
		var p client.Progress
		if err := json.Unmarshal(e.Data, &p); err != nil {
			return fmt.Errorf("event %d: %w", e.Sequence, err)
		}
		w.progress(p)
	case "recovery":
		w.clear()
		fmt.Fprintln(w.std.err, "the work was interrupted; it goes on from the last checkpoint")
	}
	return nil
}

// state tells of the states that take a while without a step.
func (w *watch) state(s client.State) {
	if what, ok := map[string]string{
		"queued": "waiting for its turn", "validating": "checking the data", "paused": "paused", "evaluating": "evaluating", "publishing": "publishing",
	}[s.To]; ok && w.bar != nil {
		w.bar.Describe(what)
	}
}

func (w *watch) progress(p client.Progress) {
	if w.bar == nil {
		w.bar = stepBar(w.std, p.Steps)
	}
	if p.Metrics != nil {
		w.clear()
		w.epoch(p)
		return
	}
	w.curves.losses = append(w.curves.losses, point{p.Step, p.Loss})
	if p.SecondsLeft > 0 { // none with the first step after a pause
		w.left = fmt.Sprintf(", %v left", (time.Duration(p.SecondsLeft) * time.Second).Round(time.Second))
	}
	w.bar.Describe(fmt.Sprintf("training, loss %.4f%s", p.Loss, w.left))
	_ = w.bar.Set(p.Step) // a bar that cannot be drawn stops nothing
}

// epoch adds a line to the table.
func (w *watch) epoch(p client.Progress) {
	w.curves.epochs = append(w.curves.epochs, *p.Metrics)
	w.curves.steps = append(w.curves.steps, p.Step)
	if w.quiet {
		return
	}
	if !w.table {
		w.table = true
		fmt.Fprintf(w.std.out, "\n%5s %11s %11s %9s %9s %12s %7s\n", "epoch", "train loss", "valid. loss", "accuracy", "macro-F1", "calib. error", "rows/s")
	}
	m := p.Metrics
	if m.Rows == 0 {
		fmt.Fprintf(w.std.out, "%5d %11.4f %11s %9s %9s %12s %7.1f\n", m.Epoch, m.TrainLoss, "-", "-", "-", "-", p.ExamplesPerSecond)
		return
	}
	fmt.Fprintf(w.std.out, "%5d %11.4f %11.4f %9.4f %9.4f %12.4f %7.1f\n", m.Epoch, m.TrainLoss, m.ValidationLoss, m.Accuracy, m.MacroF1, m.ECE, p.ExamplesPerSecond)
}

// clear takes the bar from the terminal; it comes again with the next step.
func (w *watch) clear() {
	if w.bar != nil {
		_ = w.bar.Clear()
	}
}

// stepBar counts steps. The time left is the job's own to say: a bar that begins halfway
// would guess wrong.
func stepBar(std streams, steps int) *progressbar.ProgressBar {
	out := std.err
	if !std.errTTY {
		out = io.Discard
	}
	return progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(out), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetDescription("training"))
}
