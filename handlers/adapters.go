package handlers

import (
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json/jsontext"

	"valence/adapters"
)

// adapterRoutes are the routes of adapters. An id may hold one "/", written plain
// or as "%2F": each route exists once for either.
func (a *api) adapterRoutes(r chi.Router) {
	r.Get("/v1/adapters", a.listAdapters)
	byID(r, http.MethodGet, "", a.getAdapter)
	byID(r, http.MethodGet, "/anatomy", a.getAnatomy)
}

// byID adds a route below one adapter. An action's name wins over the second half
// of a plain id: such an id must be written with "%2F".
func byID(r chi.Router, method, action string, h http.HandlerFunc) {
	r.Method(method, "/v1/adapters/{id}"+action, h)
	r.Method(method, "/v1/adapters/{owner}/{name}"+action, h)
}

// adapterRefOf is the id, with any "@revision", that the path of a byID route names.
func adapterRefOf(r *http.Request) string {
	if owner := chi.URLParam(r, "owner"); owner != "" {
		return pathPart(r, owner) + "/" + pathPart(r, chi.URLParam(r, "name"))
	}
	return pathPart(r, chi.URLParam(r, "id"))
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

// adapterList answers GET /v1/adapters.
type adapterList struct {
	Adapters []adapterInfo `json:"adapters"`
}

// adapterInfo describes the version of an adapter that answers now.
type adapterInfo struct {
	ID           string         `json:"id"`
	Version      string         `json:"version"`
	Digest       string         `json:"digest"`
	Labels       []labelInfo    `json:"labels"`
	Template     string         `json:"template,omitzero"`
	Temperature  float64        `json:"temperature"`
	AbstainBelow float64        `json:"abstain_below"`
	Sites        int            `json:"sites"`
	Parameters   int            `json:"parameters"`
	Metrics      jsontext.Value `json:"metrics,omitzero"` // as the sidecar has them
}

type labelInfo struct {
	Name       string `json:"name"`
	Verbaliser string `json:"verbaliser"`
}

func (a *api) listAdapters(w http.ResponseWriter, r *http.Request) {
	entries := a.Adapters.List()
	out := adapterList{make([]adapterInfo, len(entries))}
	for i, e := range entries {
		out.Adapters[i] = infoOf(e)
	}
	a.respond(w, r, out)
}

func (a *api) getAdapter(w http.ResponseWriter, r *http.Request) {
	entry, err := a.Adapters.Lookup(r.Context(), adapterRefOf(r))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, infoOf(entry))
}

// anatomyInfo answers GET /v1/adapters/{id}/anatomy.
type anatomyInfo struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	adapters.Anatomy
	Similar []adapters.Similarity `json:"similar"`
}

func (a *api) getAnatomy(w http.ResponseWriter, r *http.Request) {
	entry, err := a.Adapters.Lookup(r.Context(), adapterRefOf(r))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, anatomyInfo{entry.ID, entry.Version, adapters.AnatomyOf(entry.Vectors), adapters.Similar(entry, a.Adapters.List())})
}

func infoOf(e *adapters.Entry) adapterInfo {
	info := adapterInfo{
		ID: e.ID, Version: e.Version, Digest: e.Digest,
		Labels:       make([]labelInfo, len(e.Sidecar.Labels)),
		Template:     e.Sidecar.Template,
		Temperature:  e.Sidecar.Temperature,
		AbstainBelow: e.Sidecar.AbstainBelow,
		Sites:        e.Sites,
		Parameters:   e.Parameters,
		Metrics:      e.Sidecar.Metrics,
	}
	for i, l := range e.Sidecar.Labels {
		info.Labels[i] = labelInfo(l)
	}
	return info
}
