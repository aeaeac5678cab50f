package training

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"valence/adapters"
	"valence/runtime/engine"
	"valence/runtime/train"
	"valence/runtime/train/metrics"
)

// comparison is how the active version does on the rows that a new one was validated on.
type comparison struct {
	Version string  `json:"version"`
	Digest  string  `json:"digest"`
	MacroF1 float64 `json:"macro_f1"`
	// Other says that it has other labels, so that the two cannot be compared.
	Other bool `json:"other_labels,omitzero"`
}

// compare asks the active version for the rows, or gives nil where none is active.
func (t *Trainer) compare(ctx context.Context, adapter string, rows []train.Example) (*comparison, error) {
	info, err := t.o.Adapters.Info(ctx, adapter)
	if errors.Is(err, adapters.ErrNotFound) || err == nil && info.ActiveVersion() == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lease, err := t.o.Adapters.Lease(ctx, adapters.Ask(adapter))
	if err != nil {
		return nil, fmt.Errorf("training: compare with the active version: %w", err)
	}
	defer lease.Release()
	out := &comparison{Version: lease.Version, Digest: lease.Digest}
	names := make([]string, len(lease.Sidecar.Labels))
	for i, l := range lease.Sidecar.Labels {
		names[i] = l.Name
	}
	answers, err := t.judge(ctx, lease.Task, names, rows)
	switch {
	case errors.Is(err, errOtherLabels):
		out.Other = true
		return out, nil
	case err != nil:
		return nil, err
	}
	report, err := metrics.Evaluate(names, answers)
	if err != nil {
		return nil, err
	}
	out.MacroF1 = report.MacroF1
	return out, nil
}

var errOtherLabels = errors.New("training: a row has a label that the version lacks")

// judge asks for rows, a few at a time so that others find room in the queue.
func (t *Trainer) judge(ctx context.Context, task *engine.Task, names []string, rows []train.Example) ([]metrics.Row, error) {
	out := make([]metrics.Row, 0, len(rows))
	for chunk := range slices.Chunk(rows, 32) {
		reqs := make([]engine.Request, len(chunk))
		for i, row := range chunk {
			reqs[i] = engine.Request{Text: row.Text, Task: task, Truncate: true}
		}
		outcomes, err := t.predict(ctx, reqs)
		if err != nil {
			return nil, err
		}
		for i, o := range outcomes {
			truth := slices.Index(names, chunk[i].Label)
			if truth < 0 {
				return nil, errOtherLabels
			}
			if o.Err != nil {
				return nil, fmt.Errorf("training: row %d: %w", chunk[i].Row, o.Err)
			}
			row := metrics.Row{Truth: truth, Probs: make([]float64, len(o.LogProbs))}
			for k, lp := range o.LogProbs {
				row.Probs[k] = math.Exp(lp)
			}
			out = append(out, row)
		}
	}
	return out, nil
}

// busyPause is how long to wait when the engine's queue is full.
const busyPause = 200 * time.Millisecond

// predict asks again for as long as the engine is busy.
func (t *Trainer) predict(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error) {
	for {
		out, err := t.o.Engine.Predict(ctx, reqs)
		if !errors.Is(err, engine.ErrBusy) {
			return out, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(busyPause):
		}
	}
}

func isRepo(id string) bool { return strings.Contains(id, "/") }
