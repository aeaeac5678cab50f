package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json"

	"valence/handlers/middleware"
)

const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json" // RFC 9457
)

// problem is an error as RFC 9457 has it. Its type is always "about:blank", so
// that the title is the status's own; code tells errors of one status apart.
type problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	Code      string       `json:"code"`
	RequestID string       `json:"request_id,omitzero"`
	Errors    []fieldError `json:"errors,omitempty"`
}

// fieldError is one fault of a request's body, or of a query parameter.
type fieldError struct {
	Pointer   string `json:"pointer"` // RFC 6901; "" is the body itself, or a parameter
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	Parameter string `json:"parameter,omitzero"` // name of the query parameter, form field or header that is at fault
	Row       int    `json:"row,omitzero"`       // of a data set, from 1
	Line      int    `json:"line,omitzero"`      // of its file, from 1
	Column    string `json:"column,omitzero"`    // of the row
}

// fail answers with the problem that err stands for. To a client that is gone it
// writes nothing.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	log := a.logOf(r)
	if errors.Is(r.Context().Err(), context.Canceled) {
		log.Debug("client gone", "error", err)
		return
	}
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		logInternal(log, err)
	}
	p.RequestID = middleware.RequestIDFrom(r.Context())
	if after := retryAfter(err, p.Status); after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	a.write(w, r, p.Status, typeProblem, p)
}

// logOf is a log whose lines name the request.
func (a *api) logOf(r *http.Request) *slog.Logger {
	return a.Log.With("request_id", middleware.RequestIDFrom(r.Context()))
}

func logInternal(log *slog.Logger, err error) {
	if p, ok := errors.AsType[*middleware.PanicError](err); ok {
		log = log.With("stack", string(p.Stack))
	}
	log.Error("request failed", "error", err)
}

// respond answers 200 with v.
func (a *api) respond(w http.ResponseWriter, r *http.Request, v any) {
	a.write(w, r, http.StatusOK, typeJSON, v)
}

func (a *api) write(w http.ResponseWriter, r *http.Request, status int, mediaType string, v any) {
	body, err := json.Marshal(v, json.Deterministic(true))
	if err != nil { // a fault of ours, such as a score that is NaN
		panic(err)
	}
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(append(body, '\n')); err != nil {
		a.logOf(r).Debug("answer not sent", "error", err)
	}
}

func (a *api) notFound(w http.ResponseWriter, r *http.Request) {
	a.fail(w, r, fmt.Errorf("%w: %q", errNoRoute, r.URL.Path))
}

// methodNotAllowed answers with the methods that the path has, which chi knows
// but does not tell a handler of one's own.
func (a *api) methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", strings.Join(allowedMethods(routes, r), ", "))
		a.fail(w, r, fmt.Errorf("%w: %s %q", errMethod, r.Method, r.URL.Path))
	}
}

func allowedMethods(routes chi.Routes, r *http.Request) []string {
	path := r.URL.RawPath
	if path == "" {
		path = r.URL.Path
	}
	var out []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if routes.Match(chi.NewRouteContext(), m, path) {
			out = append(out, m)
		}
	}
	if slices.Contains(out, http.MethodGet) {
		out = append(out, http.MethodHead)
	}
	return out
}
