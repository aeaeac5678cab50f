package handlers

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"valence/adapters"
	"valence/runtime/engine"
)

// verdict is what a jury adds to a result. The result's scores are the means of its
// members' scores.
type verdict struct {
	Jury      []juror `json:"jury"`      // in the order of the request
	Agreement float64 `json:"agreement"` // share of the members that give the best label
	// Disagreement is how far the members' scores lie apart, from 0 to 1; see divergence.
	Disagreement float64 `json:"disagreement"`
}

// juror is what one member says alone. It never abstains: the threshold is the jury's.
type juror struct {
	Adapter any     `json:"adapter"` // an adapterRef
	Label   string  `json:"label"`
	Score   float64 `json:"score"`
	Scores  scores  `json:"scores"`
}

// memberError is the error of one member of a jury.
type memberError struct {
	member string
	err    error
}

func (e *memberError) Error() string { return fmt.Sprintf("jury member %q: %v", e.member, e.err) }
func (e *memberError) Unwrap() error { return e.err }

// blame names the member that an error is of, if a jury is asked.
func (a asked) blame(err error) error {
	if a.member == "" {
		return err
	}
	return &memberError{a.member, err}
}

// verdict puts together what the members of a jury say of one text. Without a
// threshold in the request, the mean of theirs is the jury's. The error wraps
// errJuryLabels where they have not the same labels.
func (req *sentimentRequest) verdict(index int, members []*adapters.Entry, results []engine.Result) (result, error) {
	labels := results[0].Labels
	p := make([][]float64, len(members)) // members x labels
	v := &verdict{Jury: make([]juror, len(members))}
	out := result{Index: index, verdict: v}
	threshold := 0.0
	for i, res := range results {
		var err error
		if p[i], err = reorder(res, labels); err != nil {
			return result{}, fmt.Errorf("%w: %q has %s, %q has %s", errJuryLabels,
				req.Jury[0], strings.Join(labels, ", "), req.Jury[i], strings.Join(res.Labels, ", "))
		}
		ranked := rank(labels, p[i])
		v.Jury[i] = juror{answeredBy(members[i]), ranked[0].label, ranked[0].p, req.top(ranked)}
		out.Tokens, out.Truncated = max(out.Tokens, res.Tokens), out.Truncated || res.Truncated
		threshold += members[i].Sidecar.AbstainBelow / float64(len(members))
	}
	all := rank(labels, mean(p))
	req.score(&out, all, threshold)
	for _, j := range v.Jury {
		if j.Label == all[0].label {
			v.Agreement++
		}
	}
	v.Agreement = round(v.Agreement / float64(len(members)))
	v.Disagreement = round(divergence(p))
	return out, nil
}

// reorder gives the probabilities of a result in the order of labels. The error wraps
// errJuryLabels where it has others.
func reorder(res engine.Result, labels []string) ([]float64, error) {
	p := probabilities(res)
	if slices.Equal(res.Labels, labels) {
		return p, nil
	}
	if len(res.Labels) != len(labels) {
		return nil, errJuryLabels
	}
	out := make([]float64, len(labels))
	for i, l := range labels {
		at := slices.Index(res.Labels, l)
		if at < 0 {
			return nil, errJuryLabels
		}
		out[i] = p[at]
	}
	return out, nil
}

// mean of distributions, which are as long as each other.
func mean(p [][]float64) []float64 {
	out := make([]float64, len(p[0]))
	for _, member := range p {
		for i, x := range member {
			out[i] += x / float64(len(p))
		}
	}
	return out
}

// divergence is the generalised Jensen-Shannon divergence of n distributions over k
// labels with equal weights, in units of its bound:
//
//	(H(mean of p) - mean of H(p)) / log(min(n, k))
//
// with Shannon's entropy H. It is 0 where all are the same. It is at most 1, because the
// numerator is bounded by the entropy of the weights, log n, and by that of the mean,
// log k; it reaches 1 where each member is certain, and as many labels as there can be
// are named equally often.
//
// Source: Lin 1991, "Divergence Measures Based on the Shannon Entropy".
func divergence(p [][]float64) float64 {
	d := entropy(mean(p))
	for _, member := range p {
		d -= entropy(member) / float64(len(p))
	}
	d /= math.Log(float64(min(len(p), len(p[0]))))
	return min(max(d, 0), 1) // rounding can leave it a hair outside
}

func entropy(p []float64) float64 {
	h := 0.0
	for _, x := range p {
		if x > 0 {
			h -= x * math.Log(x)
		}
	}
	return h
}
