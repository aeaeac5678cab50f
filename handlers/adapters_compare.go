package handlers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"valence/adapters"
	"valence/handlers/middleware"
)

// anatomyInfo answers GET /v1/adapters/{id}/anatomy.
type anatomyInfo struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	adapters.Anatomy
	Compared int                   `json:"compared"` // adapters in memory that it was compared with
	Similar  []adapters.Similarity `json:"similar"`
}

func (a *api) getAnatomy(w http.ResponseWriter, r *http.Request) {
	out, err := a.anatomy(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, out)
}

func (a *api) anatomy(r *http.Request) (anatomyInfo, error) {
	ref, err := adapterRefOf(r)
	if err != nil {
		return anatomyInfo{}, err
	}
	lease, err := a.leaseFor(r, ref.String())
	if err != nil {
		return anatomyInfo{}, err
	}
	defer lease.Release()
	resident := a.Adapters.Resident()
	defer func() {
		for _, l := range resident {
			l.Release()
		}
	}()
	others := a.othersThan(r, lease.Entry, resident)
	return anatomyInfo{
		lease.ID, lease.Version, adapters.AnatomyOf(lease.Vectors), len(others), adapters.Similar(lease.Entry, others),
	}, nil
}

// othersThan are the entries that the caller may know of, other than one.
func (a *api) othersThan(r *http.Request, e *adapters.Entry, resident []*adapters.Lease) []*adapters.Entry {
	type version struct{ id, name string }
	known := map[version]bool{}
	for _, info := range a.visibleAll(r) {
		for _, v := range info.Versions {
			known[version{info.ID, v.Name}] = true
		}
	}
	var out []*adapters.Entry
	for _, l := range resident {
		if l.Entry != e && known[version{l.ID, l.Version}] {
			out = append(out, l.Entry)
		}
	}
	return out
}

// leaseFor leases one adapter as it is, with the Hub token of the caller.
func (a *api) leaseFor(r *http.Request, ref string) (*adapters.Lease, error) {
	q := adapters.Ask(ref)
	q.HubToken = r.Header.Get(middleware.HubTokenHeader)
	return a.Adapters.Lease(r.Context(), q)
}

// diffInfo answers GET /v1/adapters/{id}/diff.
type diffInfo struct {
	From any `json:"from"` // an adapterRef
	To   any `json:"to"`
	adapters.Difference
	Changes changes `json:"changes"`
}

// changes are what else differs between two versions; absent is equal.
type changes struct {
	Labels       *change[[]labelInfo] `json:"labels,omitzero"`
	Template     *change[string]      `json:"template,omitzero"`
	Temperature  *change[float64]     `json:"temperature,omitzero"`
	AbstainBelow *change[float64]     `json:"abstain_below,omitzero"`
}

type change[T any] struct {
	From T `json:"from"`
	To   T `json:"to"`
}

func changeOf[T comparable](from, to T) *change[T] {
	if from == to {
		return nil
	}
	return &change[T]{from, to}
}

func changesOf(from, to adapters.Sidecar) changes {
	out := changes{
		Template:     changeOf(from.Template, to.Template),
		Temperature:  changeOf(from.Temperature, to.Temperature),
		AbstainBelow: changeOf(from.AbstainBelow, to.AbstainBelow),
	}
	if !slices.Equal(from.Labels, to.Labels) {
		out.Labels = &change[[]labelInfo]{labelsOf(from), labelsOf(to)}
	}
	return out
}

func (a *api) getDiff(w http.ResponseWriter, r *http.Request) {
	out, err := a.diff(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, out)
}

func (a *api) diff(r *http.Request) (diffInfo, error) {
	id, err := adapterIDOf(r)
	if err != nil {
		return diffInfo{}, err
	}
	fromRef, toRef, err := a.diffRefs(r, id)
	if err != nil {
		return diffInfo{}, err
	}
	from, err := a.leaseFor(r, fromRef)
	if err != nil {
		return diffInfo{}, err
	}
	defer from.Release()
	to, err := a.leaseFor(r, toRef)
	if err != nil {
		return diffInfo{}, err
	}
	defer to.Release()
	return diffInfo{
		answeredBy(from.Entry), answeredBy(to.Entry), adapters.DiffOf(from.Vectors, to.Vectors), changesOf(from.Sidecar, to.Sidecar),
	}, nil
}

// diffRefs are the two sides of a comparison. Without "to" it is the active version;
// without "from" the one before "to", or this adapter's active one where "to" is
// another adapter.
func (a *api) diffRefs(r *http.Request, id string) (from, to string, err error) {
	q, err := queryOf(r, "from", "to")
	if err != nil {
		return "", "", err
	}
	to, from = q.ref("to", id, id), q.ref("from", id, "")
	if err := q.err(); err != nil || from != "" {
		return from, to, err
	}
	other, revision, _ := strings.Cut(to, "@")
	if other != id {
		return id, to, nil
	}
	from, err = a.versionBefore(r, id, revision)
	return from, to, err
}

// ref is a whole ref where it holds "@", a revision of id otherwise, or def where it is
// absent.
func (q *query) ref(name, id, def string) string {
	if !q.values.Has(name) {
		return def
	}
	s := q.values.Get(name)
	if !strings.Contains(s, "@") {
		s = id + "@" + s
	}
	if _, err := adapters.ParseID(s); err != nil {
		q.fault(name, codeID, "%s", detail(err))
	}
	return s
}

// versionBefore is the ref of the version that came before a revision, or before the
// active version where that is "".
func (a *api) versionBefore(r *http.Request, id, revision string) (string, error) {
	info, err := a.visible(r, id)
	if err != nil {
		return "", err
	}
	v := info.ActiveVersion()
	if revision != "" {
		if v, err = versionOf(info, revision); err != nil {
			return "", err
		}
	}
	if v == nil {
		return "", fmt.Errorf("%w: %q has no active version; name two by from and to", adapters.ErrConflict, id)
	}
	i := slices.IndexFunc(info.Versions, func(o adapters.Version) bool { return o.Name == v.Name })
	if i == 0 {
		return "", fmt.Errorf("%w: %q has no version before %q; name one by from", adapters.ErrConflict, id, v.Name)
	}
	return id + "@" + info.Versions[i-1].Name, nil
}
