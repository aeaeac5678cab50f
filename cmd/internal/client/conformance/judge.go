package conformance

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"valence/cmd/internal/client"
)

// Wrong is an answer that must not be.
type Wrong struct {
	Kind    string `json:"kind"`
	Row     string `json:"row"`              // what was asked
	Detail  string `json:"detail"`           // what is wrong with the answer
	Request string `json:"request,omitzero"` // id in the server's log, where it gave one
}

// faultError is a verdict: the kind of a Wrong, and what is wrong.
type faultError struct{ kind, detail string }

func (e *faultError) Error() string { return e.kind + ": " + e.detail }

func fault(kind, format string, args ...any) error {
	return &faultError{kind, fmt.Sprintf(format, args...)}
}

// errUndecided says that a change was under way whose outcome decides.
var errUndecided = errors.New("undecided")

// judged is a row with its answer: exactly one of result and failure is there, unless
// the server lost the row.
type judged struct {
	asked
	result  *client.Result
	failure *client.RowError
	trip    client.Trip
}

// pair puts each row together with its answer. err is what the call gave.
func pair(rows []asked, answer *client.Answer, err error) ([]judged, error) {
	out := make([]judged, len(rows))
	for i, row := range rows {
		out[i] = judged{asked: row, trip: answer.Trip}
	}
	if problem, ok := errors.AsType[*client.Problem](err); ok {
		answer.Errors = rowErrors(problem, len(rows))
	} else if err != nil {
		return nil, fault("no answer", "%v", err)
	}
	for i := range answer.Results {
		at := answer.Results[i].Index
		if at < 0 || at >= len(rows) || out[at].result != nil {
			return nil, fault("rows", "a second result came for row %d", at)
		}
		out[at].result = &answer.Results[i]
	}
	for i := range answer.Errors {
		at := answer.Errors[i].Index
		if at < 0 || at >= len(rows) || out[at].failure != nil || out[at].result != nil {
			return nil, fault("rows", "a second answer came for row %d", at)
		}
		out[at].failure = &answer.Errors[i]
	}
	return out, nil
}

// rowErrors are the rows' errors where no row could be answered: the problem points at
// each. One that points at no row is that of all.
func rowErrors(p *client.Problem, n int) []client.RowError {
	var out []client.RowError
	for _, e := range p.Errors {
		rest, ok := strings.CutPrefix(e.Pointer, "/inputs/")
		number, _, _ := strings.Cut(rest, "/")
		if at, err := strconv.Atoi(number); ok && err == nil {
			out = append(out, client.RowError{Index: at, Status: p.Status, Code: e.Code, Detail: e.Detail})
		}
	}
	if len(out) > 0 && p.Status < 500 {
		return out
	}
	out = nil
	for i := range n {
		out = append(out, client.RowError{Index: i, Status: p.Status, Code: p.Code, Detail: p.Error()})
	}
	return out
}

// judge gives nil for an answer that may be, errUndecided, or a *faultError.
func (r *run) judge(row judged) error {
	switch {
	case row.result == nil && row.failure == nil:
		return fault("lost row", "the answer has neither a result nor an error for it")
	case row.failure != nil:
		return r.judgeFailure(row)
	case row.mustFail != "":
		return fault("answered", "it must fail with %s; %q answered it", row.mustFail, row.result.Adapter.ID)
	case row.jury != nil:
		return r.judgeJury(row)
	default:
		return r.judgeResult(row, row.parts, row.result.Adapter, row.result.Scores, row.result.Label)
	}
}

// judgeFailure allows the error that was provoked, and that of an adapter which was not
// there at some moment of the row's trip. A server that may pull asks the Hub then.
func (r *run) judgeFailure(row judged) error {
	f := row.failure
	absent := f.Code == codeNotFound || strings.HasPrefix(f.Code, "hub_")
	switch {
	case f.Status >= 500:
		return fault("server error", "%d %s: %s", f.Status, f.Code, f.Detail)
	case row.mustFail == f.Code, row.mustFail == codeNotFound && absent:
		return nil
	case row.mustFail != "":
		return fault("wrong error", "it must fail with %s; it did with %s: %s", row.mustFail, f.Code, f.Detail)
	case !absent:
		return fault("refused", "%d %s: %s", f.Status, f.Code, f.Detail)
	}
	undecided := false
	for _, p := range append(slices.Clone(row.parts), row.jury...) {
		if p.subject == nil {
			continue
		}
		possible, open := p.subject.timeline.during(row.trip.Sent, row.trip.Received)
		undecided = undecided || open
		for _, s := range possible {
			if _, _, ok := s.resolve(p.revision); !ok {
				return nil
			}
		}
	}
	if undecided {
		return errUndecided
	}
	return fault("not found", "%s: %s; all of it was there", f.Code, f.Detail)
}

// judgeResult checks which versions answered, then the scores against those of the same
// versions alone.
func (r *run) judgeResult(row judged, parts []part, used client.Used, got scores, label *string) error {
	shares := make([]share, len(parts))
	undecided := false
	for i, p := range parts {
		u := client.UsedPart{ID: used.ID, Version: used.Version, Digest: used.Digest}
		if len(parts) > 1 {
			if len(used.Blend) != len(parts) {
				return fault("wrong adapter", "it was blended from %d adapters", len(used.Blend))
			}
			u = used.Blend[i]
		}
		err := r.judgeVersion(p, u, row.trip)
		if undecided = undecided || errors.Is(err, errUndecided); err != nil && !errors.Is(err, errUndecided) {
			return err
		}
		shares[i] = share{u.Digest, p.weight}
	}
	want := mix(row.strength, shares...)
	if said := mixUsed(used); said != want {
		return fault("wrong blend", "%s answered; %s was asked", said, want)
	}
	if err := r.judgeScores(row, want, got, label); err != nil {
		return err
	}
	if undecided {
		return errUndecided
	}
	return nil
}

// judgeVersion checks that the version could answer for the part at the time.
func (r *run) judgeVersion(p part, u client.UsedPart, trip client.Trip) error {
	if p.subject == nil {
		if u.ID != baseID || u.Digest != r.baseDigest {
			return fault("wrong adapter", "%s %s answered in place of the base", u.ID, u.Digest)
		}
		return nil
	}
	switch {
	case u.Digest == r.baseDigest || u.ID == baseID:
		return fault("base instead of adapter", "the base answered")
	case u.ID != p.subject.id:
		return fault("wrong adapter", "%s answered", u.ID)
	}
	possible, open := p.subject.timeline.during(trip.Sent, trip.Received)
	for _, s := range possible {
		if version, digest, ok := s.resolve(p.revision); ok && version == u.Version && digest == u.Digest {
			return nil
		}
	}
	if open {
		return errUndecided
	}
	return fault("wrong version", "%s (%s) answered; between sending and receiving there was only %s", u.Version, u.Digest, describe(possible, p.revision))
}

// describe tells what a revision could stand for.
func describe(possible []snapshot, revision string) string {
	var out []string
	for _, s := range possible {
		version, digest, ok := s.resolve(revision)
		if !ok {
			version, digest = "none", "absent"
		}
		out = append(out, version+" ("+digest+")")
	}
	return strings.Join(slices.Compact(out), ", ")
}

// judgeScores compares with the same row alone.
func (r *run) judgeScores(row judged, mix string, got scores, label *string) error {
	want, ok := r.references.answers[question{row.text, mix}]
	if !ok {
		return fault("unknown content", "nothing like %q was uploaded", mix)
	}
	if got.equal(want, r.Tolerance) {
		return checkLabel(got, label)
	}
	kind := "wrong scores"
	if len(got) != len(want) || !sameLabels(got, want) {
		kind = "wrong labels"
	}
	detail := fmt.Sprintf("%v; alone %v", got, want)
	if like := r.references.like(row.text, mix, got); len(like) > 0 {
		slices.Sort(like)
		detail += "; it is the answer of " + strings.Join(slices.Compact(like), ", ")
	}
	return fault(kind, "%s", detail)
}

func sameLabels(a, b scores) bool {
	for label := range a {
		if _, ok := b[label]; !ok {
			return false
		}
	}
	return true
}

// checkLabel wants the label, unless the server abstained, to be one with the highest score.
func checkLabel(got scores, label *string) error {
	if label == nil {
		return nil
	}
	for other, p := range got {
		if p > got[*label]+rounding {
			return fault("wrong label", "it is %q, though %q has %v", *label, other, p)
		}
	}
	return nil
}

// judgeJury judges each member as if it was asked alone, and the mean.
func (r *run) judgeJury(row judged) error {
	if len(row.result.Jury) != len(row.jury) {
		return fault("jury", "%d of %d members answered", len(row.result.Jury), len(row.jury))
	}
	undecided := false
	mean := scores{}
	for i, member := range row.result.Jury {
		err := r.judgeResult(row, row.jury[i:i+1], member.Adapter, member.Scores, member.Label)
		if undecided = undecided || errors.Is(err, errUndecided); err != nil && !errors.Is(err, errUndecided) {
			return err
		}
		for label, p := range member.Scores {
			mean[label] += p / float64(len(row.jury))
		}
	}
	for label, p := range mean {
		if math.Abs(row.result.Scores[label]-p) > 2*rounding || len(mean) != len(row.result.Scores) {
			return fault("jury", "the scores are %v; the members' mean is %v", row.result.Scores, mean)
		}
	}
	if undecided {
		return errUndecided
	}
	return checkLabel(row.result.Scores, row.result.Label)
}

// name is what was asked, for explanations.
func (a asked) name() string {
	var refs []string
	for _, p := range append(slices.Clone(a.parts), a.jury...) {
		refs = append(refs, p.ref())
	}
	if a.mustFail != "" {
		refs = append(refs, a.input.Adapter[0].Ref)
	}
	return fmt.Sprintf("%s %s, text %d", a.kind, strings.Join(refs, " + "), a.text)
}
