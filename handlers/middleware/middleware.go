// Package middleware holds what every request passes on its way to a handler,
// one file each. Nothing here knows a status code for an error: what goes wrong
// is given to a [Fail], which the handlers map to an answer in one place.
package middleware

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-chi/chi/v5"
	chimw "github.com/go-chi/chi/v5/middleware"
)

// Fail answers a request with an error.
type Fail func(w http.ResponseWriter, r *http.Request, err error)

// StatusClientGone is what logs and metrics show for a request whose client left
// before an answer was written. It is never sent.
const StatusClientGone = 499

// HubTokenHeader carries the caller's own token for the Hugging Face Hub. It is never
// logged.
const HubTokenHeader = "X-Hub-Token"

// Unmatched is the route of requests that no pattern matches. They share one
// name, so that a scan of random paths adds no metric series.
const Unmatched = "unmatched"

// status is what the client saw, or StatusClientGone.
func status(w chimw.WrapResponseWriter, r *http.Request) int {
	switch {
	case w.Status() != 0:
		return w.Status()
	case errors.Is(r.Context().Err(), context.Canceled):
		return StatusClientGone
	default:
		return http.StatusOK // what net/http sends when a handler writes nothing
	}
}

// route is the pattern that matched, known once the router has run.
func route(r *http.Request) string {
	if rctx := chi.RouteContext(r.Context()); rctx != nil {
		if p := rctx.RoutePattern(); p != "" {
			return p
		}
	}
	return Unmatched
}
