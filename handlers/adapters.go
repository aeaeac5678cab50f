package handlers

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"valence/adapters"
)

// byID adds a route below one adapter. An id may hold one "/", written plain or as
// "%2F": each route exists once for either. An action's name wins over the second half
// of a plain id: such an id must be written with "%2F".
func byID(r chi.Router, method, action string, h http.HandlerFunc) {
	r.Method(method, "/v1/adapters/{id}"+action, h)
	r.Method(method, "/v1/adapters/{owner}/{name}"+action, h)
}

// adapterRefOf is the id, with any "@revision", that the path of a byID route names.
func adapterRefOf(r *http.Request) (adapters.Ref, error) {
	s := pathPart(r, chi.URLParam(r, "id"))
	if owner := chi.URLParam(r, "owner"); owner != "" {
		s = pathPart(r, owner) + "/" + pathPart(r, chi.URLParam(r, "name"))
	}
	return adapters.ParseID(s)
}

// adapterIDOf is the id of a byID route that takes no "@revision".
func adapterIDOf(r *http.Request) (string, error) {
	ref, err := adapterRefOf(r)
	if err == nil && ref.Revision != "" {
		err = fmt.Errorf("%w %q: this call is about the adapter as a whole; leave out %q", adapters.ErrID, ref, "@"+ref.Revision)
	}
	return ref.ID, err
}

// pathPart decodes a part of the path. chi matches the path as it was sent only
// where that differs from its plain spelling, and the decoded one otherwise.
func pathPart(r *http.Request, part string) string {
	if r.URL.RawPath == "" {
		return part
	}
	if s, err := url.PathUnescape(part); err == nil {
		return s
	}
	return part
}

// Bounds of a page of GET /v1/adapters.
const (
	defaultPage = 100
	maxPage     = 1000
)

// listAdapters answers GET /v1/adapters.
func (a *api) listAdapters(w http.ResponseWriter, r *http.Request) {
	q, err := queryOf(r, "limit", "after")
	if err != nil {
		a.fail(w, r, err)
		return
	}
	limit, after := q.limit(defaultPage, maxPage), q.id("after")
	if err := q.err(); err != nil {
		a.fail(w, r, err)
		return
	}
	list := a.visibleAll(r)
	if after != "" {
		list = slices.DeleteFunc(list, func(i adapters.Info) bool { return !listedAfter(i.ID, after) })
	}
	out := adapterList{Adapters: make([]adapterInfo, min(limit, len(list)))}
	for i := range out.Adapters {
		out.Adapters[i] = infoOf(list[i], list[i].ActiveVersion())
	}
	if len(list) > limit {
		out.Next = list[limit-1].ID
	}
	a.respond(w, r, out)
}

// listedAfter tells whether a list has id behind another one, which need not be there:
// the base is first.
func listedAfter(id, other string) bool {
	switch adapters.BaseID {
	case id:
		return false
	case other:
		return true
	default:
		return id > other
	}
}

// getAdapter answers GET /v1/adapters/{id}.
func (a *api) getAdapter(w http.ResponseWriter, r *http.Request) {
	ref, err := adapterRefOf(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	info, err := a.visible(r, ref.ID)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	top := info.ActiveVersion()
	if ref.Revision != "" {
		if top, err = versionOf(info, ref.Revision); err != nil {
			a.fail(w, r, err)
			return
		}
	}
	a.respond(w, r, detailOf(info, top))
}

// minDigestPrefix is the fewest hexadecimal digits that name a digest.
const minDigestPrefix = 6

// versionOf finds the version that a revision names without asking the Hub: a version,
// the beginning of a digest, or a whole commit that it was pulled from. Errors wrap
// adapters.ErrNotFound.
func versionOf(info adapters.Info, revision string) (*adapters.Version, error) {
	var found *adapters.Version
	prefix := strings.TrimPrefix(revision, "sha256:")
	for i := range info.Versions {
		v := &info.Versions[i]
		_, commit, _ := strings.Cut(v.Origin, "@")
		byDigest := len(prefix) >= minDigestPrefix && strings.HasPrefix(strings.TrimPrefix(v.Digest, "sha256:"), prefix)
		switch {
		case v.Name == revision:
			return v, nil
		case !byDigest && (v.Source != adapters.SourceHub || commit != revision):
		case found != nil && byDigest && found.Digest != v.Digest:
			return nil, fmt.Errorf("%w: %q has several versions whose digests begin with %q; give more of it", adapters.ErrNotFound, info.ID, prefix)
		default:
			found = v
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %q has no version %q", adapters.ErrNotFound, info.ID, revision)
	}
	return found, nil
}

// visible is what the caller may know of an adapter. Errors wrap adapters.ErrNotFound.
func (a *api) visible(r *http.Request, id string) (adapters.Info, error) {
	info, err := a.Adapters.Info(r.Context(), id)
	if err != nil || a.isAdmin(r) {
		return info, err
	}
	if info = withoutPrivate(info); len(info.Versions) == 0 {
		return adapters.Info{}, fmt.Errorf("%w: %q", adapters.ErrNotFound, id)
	}
	return info, nil
}

// visibleAll is what the caller may know of all adapters.
func (a *api) visibleAll(r *http.Request) []adapters.Info {
	list := a.Adapters.List()
	if a.isAdmin(r) {
		return list
	}
	var out []adapters.Info
	for _, info := range list {
		if info = withoutPrivate(info); len(info.Versions) > 0 {
			out = append(out, info)
		}
	}
	return out
}

// isAdmin tells whether the caller may see and change everything.
func (a *api) isAdmin(r *http.Request) bool { return a.Keys.check(r, scopeAdmin) == nil }

// withoutPrivate leaves out the versions that were pulled with a caller's own Hub
// token: whether they exist is not for everybody who may ask.
func withoutPrivate(info adapters.Info) adapters.Info {
	info.Versions = slices.DeleteFunc(slices.Clone(info.Versions), func(v adapters.Version) bool { return v.Private })
	return info
}
