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
	Index     int        `json:"index"`
	Label     *string    `json:"label"`           // null: abstained, or the generated text is no label
	Score     *float64   `json:"score,omitzero"`  // of the best label; none in mode generate
	Scores    scores     `json:"scores,omitzero"` // none in mode generate
	Adapter   adapterRef `json:"adapter"`
	Tokens    int        `json:"tokens"`
	Truncated bool       `json:"truncated"`
	Text      *string    `json:"text,omitzero"` // mode generate only
	Abstained bool       `json:"abstained,omitzero"`
}

// adapterRef names the version that answered.
type adapterRef struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	Digest  string `json:"digest"`
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
		Adapter:   adapterRef{entry.ID, entry.Version, entry.Digest},
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
	req.score(&out, entry, rank(res))
	return out
}

// score fills in what the labels' probabilities, best first, say.
func (req *sentimentRequest) score(out *result, entry *adapters.Entry, all scores) {
	best := all[0]
	out.Score, out.Scores = &best.p, all
	if req.TopK != nil {
		out.Scores = all[:min(*req.TopK, len(all))]
	}
	if best.p < or(req.AbstainBelow, entry.Sidecar.AbstainBelow) {
		out.Abstained = true
		return
	}
	out.Label = &best.label
}

// labelScore is a label with its probability.
type labelScore struct {
	label string
	p     float64
}

// scores are ordered best first, and are written as an object in that order.
type scores []labelScore

// rank orders the labels by probability, equal ones as the adapter has them.
func rank(res engine.Result) scores {
	s := make(scores, len(res.Labels))
	for i, label := range res.Labels {
		s[i] = labelScore{label, round(math.Exp(res.LogProbs[i]))}
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
