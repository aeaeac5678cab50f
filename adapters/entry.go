// Package adapters knows the adapters that a server can answer with: their ids,
// their sidecars, and which version an id stands for now.
package adapters

import (
	"context"
	"errors"
	"fmt"
	"math"

	"valence/runtime/engine"
	"valence/runtime/mt5/spec"
)

// ErrCanary is wrapped when an adapter no longer gives its recorded scores.
var ErrCanary = errors.New("adapters: canary")

// CanaryTolerance is how far a canary's probability may lie from the recorded one where
// the projections are computed in a precision such as "float32". It leaves room for
// rounding and for that of the record, and none for wrong vectors, labels or tokens: on
// 2,592 tweets the builtin base's probabilities lie at most 0.010 from float32's in
// bfloat16, and less than 0.0001 in float16; in int8, before its weights lay on a grid of 8
// bits, it was 0.053.
func CanaryTolerance(precision string) float64 {
	switch precision {
	case "bfloat16":
		return 0.03
	case "int8":
		return 0.1
	default:
		return 5e-3
	}
}

// Entry is one version of an adapter, ready to answer. It is immutable.
type Entry struct {
	ID         string
	Version    string // "v1", "v2", ...; "" for the base
	Digest     string // "sha256:..." of all that its answers depend on; see peft.Digest
	Sidecar    Sidecar
	Task       *engine.Task
	Vectors    *spec.Vectors // nil for the base
	Sites      int           // IA3 vectors
	Parameters int           // their elements
	Blend      *Blended      // what it was mixed from, or nil
}

// Blended says what an entry was mixed from. Such an entry has the ID, Version and Digest
// of its only part, or none of them where there are several.
type Blended struct {
	Parts    []BlendedPart // in the order of the query
	Strength float64
}

// BlendedPart is one version's share of a blend.
type BlendedPart struct {
	ID, Version, Digest string
	Weight              float64
}

// Predictor answers rows. It is met by *engine.Engine.
type Predictor interface {
	Predict(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error)
}

// CheckCanaries asks for the sidecar's canary rows and compares. It returns nil
// for an entry without canaries. An error that wraps ErrCanary names the row: the
// entry must not be served.
//
// They may lie within tolerance, or within the sidecar's own if that is larger.
func (e *Entry) CheckCanaries(ctx context.Context, p Predictor, tolerance float64) error {
	tolerance = max(tolerance, e.Sidecar.CanaryTolerance)
	if len(e.Sidecar.Canary) == 0 {
		return nil
	}
	reqs := make([]engine.Request, len(e.Sidecar.Canary))
	for i, c := range e.Sidecar.Canary {
		reqs[i] = engine.Request{Text: c.Text, Task: e.Task, Truncate: true, Fresh: true}
	}
	outcomes, err := p.Predict(ctx, reqs)
	if err != nil {
		return fmt.Errorf("adapters: canaries of %s: %w", e.ID, err)
	}
	for i, c := range e.Sidecar.Canary {
		if err := c.compare(outcomes[i], tolerance); err != nil {
			return fmt.Errorf("%w: %s: row %d (%q): %w", ErrCanary, e.ID, i, clip(c.Text), err)
		}
	}
	return nil
}

func (c Canary) compare(o engine.Outcome, tolerance float64) error {
	if o.Err != nil {
		return o.Err
	}
	for i, label := range o.Labels {
		got, want := math.Exp(o.LogProbs[i]), c.Scores[label]
		if !(math.Abs(got-want) <= tolerance) {
			return fmt.Errorf("label %q has probability %.6f; %.6f is recorded", label, got, want)
		}
	}
	return nil
}
