package handlers

import (
	"cmp"
	"math"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"valence/adapters"
	"valence/runtime/engine"
)

// sentimentResponse answers POST /v1/sentiment. Every input's index is in exactly
// one of the two arrays; each is in the order of the inputs.
type sentimentResponse struct {
	Results []result   `json:"results"`
	Errors  []rowError `json:"errors"`
}

// result answers one text.
type result struct {
	Index     int      `json:"index"`
	Label     *string  `json:"label"`            // null: abstained, or the generated text is no label
	Score     *float64 `json:"score,omitzero"`   // of the best label; none in mode generate
	Scores    scores   `json:"scores,omitzero"`  // none in mode generate
	Adapter   any      `json:"adapter,omitzero"` // an adapterRef or a blendRef; none of a jury
	Tokens    int      `json:"tokens"`           // of a jury, the most that a member read
	Truncated bool     `json:"truncated"`
	Text      *string  `json:"text,omitzero"` // mode generate only
	Abstained bool     `json:"abstained,omitzero"`
	*verdict           // of a jury only
}

// adapterRef names the version that answered.
type adapterRef struct {
	ID       string   `json:"id"`
	Version  string   `json:"version"`
	Digest   string   `json:"digest"`
	Strength *float64 `json:"strength,omitzero"` // where it is not 1
}

// blendRef names the versions that answered as one.
type blendRef struct {
	Blend    []blendPart `json:"blend"` // in the order of the request
	Strength *float64    `json:"strength,omitzero"`
}

type blendPart struct {
	adapterRef
	Weight float64 `json:"weight"`
}

// answeredBy names an entry in an answer.
func answeredBy(e *adapters.Entry) any {
	one := adapterRef{ID: e.ID, Version: e.Version, Digest: e.Digest}
	if e.Blend == nil {
		return one
	}
	var strength *float64
	if e.Blend.Strength != 1 {
		strength = &e.Blend.Strength
	}
	if len(e.Blend.Parts) == 1 {
		one.Strength = strength
		return one
	}
	blend := blendRef{make([]blendPart, len(e.Blend.Parts)), strength}
	for i, p := range e.Blend.Parts {
		blend.Blend[i] = blendPart{adapterRef{ID: p.ID, Version: p.Version, Digest: p.Digest}, p.Weight}
	}
	return blend
}

// rowError is the problem of one input.
type rowError struct {
	Index int `json:"index"`
	problem
}

func (c *call) response() sentimentResponse {
	errs := make([]rowError, len(c.faults))
	for i, f := range c.faults {
		errs[i] = rowError{f.index, problemOf(f.err)}
	}
	return sentimentResponse{Results: c.results, Errors: errs}
}

func (req *sentimentRequest) result(index int, entry *adapters.Entry, res engine.Result) result {
	out := result{
		Index:     index,
		Adapter:   answeredBy(entry),
		Tokens:    res.Tokens,
		Truncated: res.Truncated,
	}
	if req.mode() == engine.ModeGenerate {
		out.Text = &res.Generated
		if res.Written != "" {
			out.Label = &res.Written
		}
		return out
	}
	req.score(&out, rank(res.Labels, probabilities(res)), entry.Sidecar.AbstainBelow)
	return out
}

// score fills in what the labels' probabilities, best first, say. Below the threshold,
// unless the request has its own, there is no label.
func (req *sentimentRequest) score(out *result, all scores, threshold float64) {
	best := all[0]
	out.Score, out.Scores = &best.p, req.top(all)
	if best.p < or(req.AbstainBelow, threshold) {
		out.Abstained = true
		return
	}
	out.Label = &best.label
}

// top are the scores that the request wants to see.
func (req *sentimentRequest) top(all scores) scores {
	return all[:min(or(req.TopK, len(all)), len(all))]
}

// labelScore is a label with its probability.
type labelScore struct {
	label string
	p     float64
}

// scores are ordered best first, and are written as an object in that order.
type scores []labelScore

// probabilities are those of the result's labels, in their order.
func probabilities(res engine.Result) []float64 {
	p := make([]float64, len(res.LogProbs))
	for i, l := range res.LogProbs {
		p[i] = math.Exp(l)
	}
	return p
}

// rank orders labels by probability, rounded; equal ones stay in their order.
func rank(labels []string, p []float64) scores {
	s := make(scores, len(labels))
	for i, label := range labels {
		s[i] = labelScore{label, round(p[i])}
	}
	slices.SortStableFunc(s, func(a, b labelScore) int { return cmp.Compare(b.p, a.p) })
	return s
}

// round keeps 8 decimals: more than float32 logits carry, and the fewest with
// which the errors of 64 labels, each at most 5e-9, leave their sum within 1e-6
// of 1.
func round(p float64) float64 { return math.Round(p*1e8) / 1e8 }

// MarshalJSONTo writes {label: probability, ...}.
func (s scores) MarshalJSONTo(enc *jsontext.Encoder) error {
	if err := enc.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, l := range s {
		if err := enc.WriteToken(jsontext.String(l.label)); err != nil {
			return err
		}
		if err := enc.WriteToken(jsontext.Float(l.p)); err != nil {
			return err
		}
	}
	return enc.WriteToken(jsontext.EndObject)
}
