// Package handlers is the HTTP API: a router, one file for each resource, and
// errors.go, the only table from an error to a status. The contract is
// openapi.yaml; tests hold the routes and real traffic against it.
package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	chimw "github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"valence/adapters"
	"valence/handlers/middleware"
	"valence/runtime/engine"
)

// Engine answers rows of text. It is met by *engine.Engine.
type Engine interface {
	Predict(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error)
}

// Adapters finds what a request names.
type Adapters interface {
	// Lookup gives the version that ref, an id with an optional "@revision",
	// stands for now. "" is the default adapter. An unknown one is
	// adapters.ErrNotFound.
	Lookup(ctx context.Context, ref string) (*adapters.Entry, error)
	// List gives every adapter that is served.
	List() []*adapters.Entry
}

// Readiness tells whether the server may be sent requests: nil, or an error that
// wraps ErrNotReady or ErrDraining.
type Readiness interface {
	Ready() error
}

// Limits bound one request. All are needed.
type Limits struct {
	BodyBytes int64         // most bytes of a body
	Inputs    int           // most inputs of one call
	Timeout   time.Duration // longest time to an answer
}

// DefaultLimits suit a server whose engine has its own defaults.
func DefaultLimits() Limits {
	return Limits{BodyBytes: 1 << 20, Inputs: 256, Timeout: time.Minute}
}

// Deps is what the API stands on. All but Origins and Keys are needed.
type Deps struct {
	Engine   Engine
	Adapters Adapters
	Ready    Readiness
	Limits   Limits
	Registry *prometheus.Registry // served at /metrics; the API adds its own collectors
	Log      *slog.Logger
	Origins  []string // web origins that may call the API; see middleware.CORS
	Keys     Keys     // who may do what
}

func (d Deps) check() error {
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"Engine", d.Engine == nil}, {"Adapters", d.Adapters == nil}, {"Ready", d.Ready == nil},
		{"Registry", d.Registry == nil}, {"Log", d.Log == nil},
		{"Limits.BodyBytes", d.Limits.BodyBytes < 1}, {"Limits.Inputs", d.Limits.Inputs < 1}, {"Limits.Timeout", d.Limits.Timeout <= 0},
	} {
		if f.missing {
			return fmt.Errorf("handlers: Deps.%s is missing or not positive", f.name)
		}
	}
	return nil
}

// api holds what the handlers share.
type api struct {
	Deps
	valid *validation
}

// New builds the API. The error says which dependency is missing, which origin
// is none, or which metric is registered already.
func New(d Deps) (http.Handler, error) {
	router, err := newRouter(d)
	if err != nil {
		return nil, err
	}
	return router, nil
}

func newRouter(d Deps) (*chi.Mux, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	metrics, errMetrics := middleware.Metrics(d.Registry)
	cors, errOrigins := middleware.CORS(d.Origins)
	if err := errors.Join(errMetrics, errOrigins); err != nil {
		return nil, fmt.Errorf("handlers: %w", err)
	}
	a := &api{Deps: d, valid: newValidation()}
	r := chi.NewRouter()
	r.Use(
		middleware.RequestID,
		middleware.AccessLog(d.Log, "/healthz", "/readyz", "/metrics"),
		metrics,
		middleware.ServerTiming,
		middleware.Recover(a.fail),
		cors,
		chimw.GetHead,
		middleware.BodyLimit(d.Limits.BodyBytes, a.fail),
	)
	r.NotFound(a.notFound)
	r.MethodNotAllowed(a.methodNotAllowed(r))
	a.operations(r)
	a.v1(r)
	return r, nil
}

// operations are the routes of operators and tools. They answer in every state, and
// without a key.
func (a *api) operations(r chi.Router) {
	r.Get("/healthz", a.healthz)
	r.Get("/readyz", a.readyz)
	r.Method(http.MethodGet, "/metrics", metricsHandler(a.Registry, a.Log))
	r.Get("/openapi.yaml", serveContract)
}

// v1 are the routes of users.
func (a *api) v1(r chi.Router) {
	r.Group(func(r chi.Router) {
		r.Use(middleware.Timeout(a.Limits.Timeout), a.allow(scopeInfer))
		a.adapterRoutes(r)
		// Scoring changes nothing, so it takes what curl -d sends unless told otherwise.
		r.With(
			middleware.ContentType(a.fail, middleware.JSON, "", "application/x-www-form-urlencoded", "text/plain"),
			a.whenReady,
		).Post("/v1/sentiment", a.sentiment)
	})
}
