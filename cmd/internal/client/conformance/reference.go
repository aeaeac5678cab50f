package conformance

import (
	"context"
	"fmt"
	"math"
	"strings"

	"valence/cmd/internal/client"
)

// scores are the labels' probabilities.
type scores map[string]float64

// rounding is what the server's eight decimals of a probability leave open between two
// answers.
const rounding = 1.01e-8

// equal tells whether two answers have the same labels, and log-probabilities that
// differ by no more than the tolerance, beyond what rounding leaves open.
func (s scores) equal(o scores, tolerance float64) bool {
	if len(s) != len(o) {
		return false
	}
	for label, p := range s {
		q, ok := o[label]
		if !ok || !(math.Abs(p-q) <= math.Expm1(tolerance)*min(p, q)+rounding) {
			return false
		}
	}
	return true
}

// share is one version's part of what answers a row.
type share struct {
	digest string
	weight float64
}

// mix names what answers a row, by content: shares in their order, and the strength.
func mix(strength float64, parts ...share) string {
	var s strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&s, "%g %s, ", p.weight, p.digest)
	}
	fmt.Fprintf(&s, "strength %g", strength)
	return s.String()
}

// plain is the mix of one version as it is.
func plain(digest string) string { return mix(1, share{digest, 1}) }

// question is a text asked of a mix.
type question struct {
	text int
	mix  string
}

// references are the answers of rows that were asked alone. They are complete before
// the load begins, and only read then.
type references struct {
	tolerance float64
	answers   map[question]scores
	names     map[string]string // of mixes, for explanations
}

func newReferences(tolerance float64) *references {
	return &references{tolerance, map[question]scores{}, map[string]string{}}
}

func (r *references) add(text int, mix, name string, s scores) {
	r.answers[question{text, mix}] = s
	r.names[mix] = name
}

// like names the other mixes that give the text this answer.
func (r *references) like(text int, not string, s scores) []string {
	var out []string
	for q, want := range r.answers {
		if q.text == text && q.mix != not && want.equal(s, r.tolerance) {
			out = append(out, r.names[q.mix])
		}
	}
	return out
}

// apart is the share of pairs of versions (and of a version and the base) whose answers
// to the same text differ by more than the tolerance: the share of exchanged answers
// that comparing would find.
func (r *run) apart() float64 {
	pairs, differ := 0, 0
	compare := func(text int, a, b string) {
		x, y := r.references.answers[question{text, plain(a)}], r.references.answers[question{text, plain(b)}]
		if pairs++; !x.equal(y, r.Tolerance) {
			differ++
		}
	}
	last := map[int]*subject{} // by group
	for _, s := range r.subjects {
		for _, text := range r.textsOf(s) {
			for v := range s.variants {
				compare(text, s.variants[v].digest, r.baseDigest)
				for w := range v {
					compare(text, s.variants[v].digest, s.variants[w].digest)
				}
			}
			if other := last[s.group]; other != nil {
				compare(text, s.variants[0].digest, other.variants[0].digest)
			}
		}
		last[s.group] = s
	}
	return float64(differ) / float64(max(pairs, 1))
}

// leastApart is how large that share must be for a run to prove anything.
const leastApart = 0.9

// alone is a row to ask alone.
type alone struct {
	text     int
	mix      string
	name     string
	adapter  client.Mix
	strength float64
}

// measure asks every row alone.
func (r *run) measure(ctx context.Context) error {
	rows, err := r.rowsAlone()
	if err != nil {
		return err
	}
	for i, row := range rows {
		got, err := r.askAlone(ctx, row)
		if err != nil {
			return fmt.Errorf("%s, asked alone: %w", row.name, err)
		}
		r.references.add(row.text, row.mix, row.name, got)
		r.Progress("asking alone", int64(i+1), int64(len(rows)))
	}
	r.report.References = len(rows)
	r.report.Apart = r.apart()
	if r.report.Apart < leastApart {
		return fmt.Errorf("only %.0f %% of the adapters' answers differ from each other by more than the tolerance: exchanged answers would not be found; raise --spread above %g",
			100*r.report.Apart, r.Spread)
	}
	return nil
}

func (r *run) askAlone(ctx context.Context, row alone) (scores, error) {
	input := client.Input{Text: r.texts[row.text], Adapter: row.adapter}
	if row.strength != 1 {
		input.Strength = &row.strength
	}
	answer, err := r.api.Sentiment(ctx, client.Request{Inputs: []client.Input{input}})
	if err != nil {
		return nil, err
	}
	if len(answer.Results) != 1 {
		return nil, fmt.Errorf("%d results and %d errors came for one row", len(answer.Results), len(answer.Errors))
	}
	if got := mixUsed(answer.Results[0].Adapter); got != row.mix {
		return nil, fmt.Errorf("it was answered by %q; %q was asked", got, row.mix)
	}
	return answer.Results[0].Scores, nil
}

// mixUsed is the mix that an answer says it used.
func mixUsed(u client.Used) string {
	strength := 1.0
	if u.Strength != nil {
		strength = *u.Strength
	}
	if len(u.Blend) == 0 {
		return mix(strength, share{u.Digest, 1})
	}
	parts := make([]share, len(u.Blend))
	for i, p := range u.Blend {
		parts[i] = share{p.Digest, p.Weight}
	}
	return mix(strength, parts...)
}
