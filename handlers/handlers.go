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
	"valence/adapters/datasets"
	"valence/adapters/jobs"
	"valence/handlers/middleware"
	"valence/runtime/engine"
)

// Engine answers rows of text. It is met by *engine.Engine.
type Engine interface {
	Predict(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error)
}

// Adapters knows, leases and changes what can answer. An id may name an adapter that
// is not there: adapters.ErrNotFound. A ref is an id with an optional "@revision".
type Adapters interface {
	// Lease gives what the query stands for now, loaded and checked. The caller
	// releases it.
	Lease(ctx context.Context, q adapters.Query) (*adapters.Lease, error)
	// List gives every adapter: the base, then the others by id.
	List() []adapters.Info
	Info(ctx context.Context, id string) (adapters.Info, error)
	// Resident leases the active versions that are in memory. The caller releases them.
	Resident() []*adapters.Lease

	// Changes are durable when they are answered.

	Upload(ctx context.Context, u adapters.UploadRequest) (adapters.Published, error)
	Pull(ctx context.Context, p adapters.PullRequest) (adapters.Published, error)
	Push(ctx context.Context, p adapters.PushRequest) (adapters.Pushed, error)
	Activate(ctx context.Context, ref string) (adapters.Info, error)
	Rollback(ctx context.Context, id string) (adapters.Info, error)
	Pin(ctx context.Context, id string) (adapters.Info, error)
	Unpin(ctx context.Context, id string) (adapters.Info, error)
	// Delete removes one version where ref has a revision, and the adapter otherwise.
	Delete(ctx context.Context, ref string) error
}

// Readiness tells whether the server may be sent requests: nil, or an error that
// wraps ErrNotReady or ErrDraining.
type Readiness interface {
	Ready() error
	// Draining is closed when the server begins to drain. Streams end then.
	Draining() <-chan struct{}
}

// Limits bound one request. All are needed.
type Limits struct {
	BodyBytes     int64         // most bytes of a body, but for uploads
	UploadBytes   int64         // most bytes of an adapter's upload, and of what it unpacks to
	DatasetBytes  int64         // most bytes of a data set's upload
	Inputs        int           // most rows of one call: inputs, times the members of a jury
	Timeout       time.Duration // longest time to an answer
	ChangeTimeout time.Duration // the same where adapters are changed, which may take the Hub's time
}

// DefaultLimits suit a server whose engine has its own defaults.
func DefaultLimits() Limits {
	return Limits{BodyBytes: 1 << 20, UploadBytes: 64 << 20, DatasetBytes: datasets.DefaultBytes, Inputs: 256, Timeout: time.Minute, ChangeTimeout: 5 * time.Minute}
}

// Deps is what the API stands on. All but Origins, Keys and Heartbeat are needed.
type Deps struct {
	Engine   Engine
	Adapters Adapters
	Jobs     Jobs
	Datasets Datasets
	Base     Base
	Ready    Readiness
	Limits   Limits
	Registry *prometheus.Registry // served at /metrics; the API adds its own collectors
	Log      *slog.Logger
	Origins  []string // web origins that may call the API; see middleware.CORS
	Keys     Keys     // who may do what
	// Heartbeat is how often a stream without events shows that it lives; 0 is 15 seconds.
	Heartbeat time.Duration
}

func (d Deps) check() error {
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"Engine", d.Engine == nil}, {"Adapters", d.Adapters == nil}, {"Jobs", d.Jobs == nil}, {"Datasets", d.Datasets == nil},
		{"Base.Name", d.Base.Name == ""}, {"Base.Config", d.Base.Config == nil},
		{"Ready", d.Ready == nil}, {"Registry", d.Registry == nil}, {"Log", d.Log == nil},
		{"Limits.BodyBytes", d.Limits.BodyBytes < 1}, {"Limits.UploadBytes", d.Limits.UploadBytes < 1},
		{"Limits.DatasetBytes", d.Limits.DatasetBytes < 1}, {"Limits.Inputs", d.Limits.Inputs < 1},
		{"Limits.Timeout", d.Limits.Timeout <= 0}, {"Limits.ChangeTimeout", d.Limits.ChangeTimeout <= 0},
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
	a := &api{Deps: d, valid: newValidation()}
	sameOrigin, errSame := middleware.SameOrigin(d.Origins, a.fail)
	if err := errors.Join(errMetrics, errOrigins, errSame); err != nil {
		return nil, fmt.Errorf("handlers: %w", err)
	}
	r := chi.NewRouter()
	r.Use(
		middleware.RequestID,
		middleware.AccessLog(d.Log, "/healthz", "/readyz", "/metrics"),
		metrics,
		middleware.ServerTiming,
		middleware.Recover(a.fail),
		cors,
		chimw.GetHead,
	)
	r.NotFound(a.notFound)
	r.MethodNotAllowed(a.methodNotAllowed(r))
	a.operations(r)
	r.Group(a.asking)
	r.Group(a.watching)
	r.Group(func(r chi.Router) {
		r.Use(sameOrigin)
		r.Group(a.telling)
		r.Group(a.changing)
	})
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

// asking are the routes that change nothing.
func (a *api) asking(r chi.Router) {
	r.Use(middleware.Timeout(a.Limits.Timeout), a.allow(scopeInfer), middleware.BodyLimit(a.Limits.BodyBytes, a.fail))
	r.Get("/v1/base", a.getBase)
	r.Get("/v1/adapters", a.listAdapters)
	byID(r, http.MethodGet, "", a.getAdapter)
	byID(r, http.MethodGet, "/anatomy", a.getAnatomy)
	byID(r, http.MethodGet, "/diff", a.getDiff)
	// Scoring changes nothing, so it takes what curl -d sends unless told otherwise.
	r.With(
		middleware.ContentType(a.fail, middleware.JSON, "", "application/x-www-form-urlencoded", "text/plain"),
		a.whenReady,
	).Post("/v1/sentiment", a.sentiment)
}

// watching are the routes of admins that change nothing.
func (a *api) watching(r chi.Router) {
	r.Use(a.allow(scopeAdmin), a.whenReady, middleware.BodyLimit(a.Limits.BodyBytes, a.fail))
	r.Get("/v1/jobs/{id}/events", a.jobEvents()) // sees to its own time
	r = r.With(middleware.Timeout(a.Limits.Timeout))
	r.Get("/v1/jobs", a.listJobs)
	r.Get("/v1/jobs/{id}", a.getJob)
	r.Get("/v1/datasets", a.listDatasets)
	r.Get("/v1/datasets/{id}", a.getDataset)
	r.Get("/v1/feedback", a.listFeedback)
}

// telling are the routes by which those who ask tell what they know.
func (a *api) telling(r chi.Router) {
	r.Use(middleware.Timeout(a.Limits.Timeout), a.allow(scopeInfer), a.whenReady, middleware.BodyLimit(a.Limits.BodyBytes, a.fail))
	r.With(middleware.ContentType(a.fail, middleware.JSON)).Post("/v1/feedback", a.addFeedback)
}

// changing are the routes of admins. The body's bytes are counted and its type is
// looked at only behind the key.
func (a *api) changing(r chi.Router) {
	r.Use(middleware.LongTimeout(a.Limits.ChangeTimeout), a.allow(scopeAdmin), a.whenReady)
	upload := r.With(middleware.BodyLimit(a.Limits.UploadBytes, a.fail), middleware.ContentType(a.fail, typeForm, typeZip))
	byID(upload, http.MethodPut, "", a.uploadAdapter)
	r.With(middleware.BodyLimit(a.Limits.DatasetBytes+formBytes, a.fail)).Post("/v1/datasets", a.uploadDataset)
	r = r.With(middleware.BodyLimit(a.Limits.BodyBytes, a.fail))
	byID(r, http.MethodDelete, "", a.deleteAdapter)
	r.Delete("/v1/jobs/{id}", a.deleteJob)
	r.Delete("/v1/datasets/{id}", a.deleteDataset)
	r.Delete("/v1/feedback/{id}", a.deleteFeedback)
	r = r.With(middleware.ContentType(a.fail, middleware.JSON, middleware.NoBody))
	byID(r, http.MethodPost, "/pull", a.pullAdapter)
	byID(r, http.MethodPost, "/push", a.pushAdapter)
	byID(r, http.MethodPost, "/activate", a.activateAdapter)
	byID(r, http.MethodPost, "/rollback", a.change(a.Adapters.Rollback))
	byID(r, http.MethodPost, "/pin", a.change(a.Adapters.Pin))
	byID(r, http.MethodPost, "/unpin", a.change(a.Adapters.Unpin))
	byID(r, http.MethodPost, "/train", a.trainAdapter)
	for action, do := range map[string]func(context.Context, string) (jobs.Job, error){
		"cancel": a.Jobs.Cancel, "pause": a.Jobs.Pause, "resume": a.Jobs.Resume, "retry": a.Jobs.Retry,
	} {
		r.Post("/v1/jobs/{id}/"+action, a.control(do))
	}
}

// formBytes is what a form may have around its file.
const formBytes = 1 << 20
