package adapters

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"valence/runtime/engine"
	"valence/runtime/mt5/spec"
)

// ErrSidecar is wrapped by every error about a valence.json.
var ErrSidecar = errors.New("adapters: valence.json")

// SidecarFormat is the format of valence.json that this package reads.
const SidecarFormat = 1

// Bounds of a sidecar.
const (
	maxSidecarBytes = 1 << 20
	maxCanaries     = 64

	maxCanaryTolerance = 0.1
)

// Sidecar is the valence.json beside an adapter: how its texts are read and what
// they are scored for.
type Sidecar struct {
	Format       int            `json:"format"`
	Labels       []Label        `json:"labels"`
	Template     string         `json:"template"`      // "" or a text that holds {text} once
	Temperature  float64        `json:"temperature"`   // above 0; 1 where absent
	AbstainBelow float64        `json:"abstain_below"` // 0 to 1: a best probability below it gives no label
	Metrics      jsontext.Value `json:"metrics,omitzero"`
	Training     jsontext.Value `json:"training,omitzero"` // how it was made: data, recipe, base
	Canary       []Canary       `json:"canary,omitempty"`
	// CanaryTolerance is how far the canaries may lie from what is recorded, where they
	// were recorded in a precision that needs more than that of the server; else 0.
	CanaryTolerance float64 `json:"canary_tolerance,omitzero"`
}

// Label is a class and the text that the model writes for it.
type Label struct {
	Name       string `json:"name"`
	Verbaliser string `json:"verbaliser"`
}

// Canary is a text with the probabilities of all labels that the adapter gave it
// when it was made.
type Canary struct {
	Text   string             `json:"text"`
	Scores map[string]float64 `json:"scores"`
}

// DefaultSidecar is that of an adapter that has none: negative, neutral and
// positive, and no template.
func DefaultSidecar() Sidecar {
	return Sidecar{
		Format:      SidecarFormat,
		Labels:      []Label{{"negative", "negative"}, {"neutral", "neutral"}, {"positive", "positive"}},
		Temperature: 1,
	}
}

// ParseSidecar reads a valence.json. Unknown fields, duplicate ones and values
// out of range are refused. Errors wrap ErrSidecar and name the field.
func ParseSidecar(data []byte) (Sidecar, error) {
	if len(data) > maxSidecarBytes {
		return Sidecar{}, fmt.Errorf("%w: it has %d bytes; at most %d are allowed", ErrSidecar, len(data), maxSidecarBytes)
	}
	s := Sidecar{Temperature: 1}
	if err := json.Unmarshal(data, &s, json.RejectUnknownMembers(true)); err != nil {
		return Sidecar{}, fmt.Errorf("%w: %w", ErrSidecar, err)
	}
	if err := s.validate(); err != nil {
		return Sidecar{}, fmt.Errorf("%w: %w", ErrSidecar, err)
	}
	return s, nil
}

func (s *Sidecar) validate() error {
	if s.Format != SidecarFormat {
		return fmt.Errorf("format is %d; only %d can be read", s.Format, SidecarFormat)
	}
	task := s.TaskSpec(nil)
	if err := task.Validate(); err != nil {
		return err
	}
	if !(s.AbstainBelow >= 0 && s.AbstainBelow <= 1) {
		return fmt.Errorf("abstain_below is %v; it must be from 0 to 1", s.AbstainBelow)
	}
	for _, f := range []struct {
		name  string
		value jsontext.Value
	}{{"metrics", s.Metrics}, {"training", s.Training}} {
		if f.value != nil && f.value.Kind() != jsontext.KindBeginObject {
			return fmt.Errorf("%s must be an object", f.name)
		}
	}
	if !(s.CanaryTolerance >= 0 && s.CanaryTolerance <= maxCanaryTolerance) {
		return fmt.Errorf("canary_tolerance is %v; it must be from 0 to %v", s.CanaryTolerance, maxCanaryTolerance)
	}
	if n := len(s.Canary); n > maxCanaries {
		return fmt.Errorf("canary has %d rows; at most %d are allowed", n, maxCanaries)
	}
	for i, c := range s.Canary {
		if err := s.validateCanary(c); err != nil {
			return fmt.Errorf("canary[%d]: %w", i, err)
		}
	}
	return nil
}

func (s *Sidecar) validateCanary(c Canary) error {
	if strings.TrimSpace(c.Text) == "" {
		return errors.New("text is empty")
	}
	for _, l := range s.Labels {
		p, ok := c.Scores[l.Name]
		if !ok {
			return fmt.Errorf("scores lacks label %q", l.Name)
		}
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("scores: label %q has %v; a probability is from 0 to 1", l.Name, p)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Scores)) {
		if !slices.ContainsFunc(s.Labels, func(l Label) bool { return l.Name == name }) {
			return fmt.Errorf("scores has %q, which is not among the labels", name)
		}
	}
	return nil
}

// TaskSpec is what the engine needs to know of the sidecar, with the adapter's
// vectors (nil for the base).
func (s *Sidecar) TaskSpec(vectors *spec.Vectors) engine.TaskSpec {
	labels := make([]engine.Label, len(s.Labels))
	for i, l := range s.Labels {
		labels[i] = engine.Label(l)
	}
	return engine.TaskSpec{Vectors: vectors, Labels: labels, Template: s.Template, Temperature: s.Temperature}
}
