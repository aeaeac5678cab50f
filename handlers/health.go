package handlers

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"valence/handlers/middleware"
)

// States in which a server should be sent nothing.
var (
	ErrNotReady = errors.New("the server is warming up")
	ErrDraining = errors.New("the server is shutting down")
)

const (
	stateWarming int32 = iota
	stateReady
	stateDraining
)

// Gate is the Readiness of a server: warming up, then ready, then draining. The
// zero Gate is warming up.
type Gate struct {
	state atomic.Int32

	mu       sync.Mutex
	draining chan struct{} // closed by Drain; nil before it is asked for
}

// Open tells that the warm-up is done. It opens no gate that drains.
func (g *Gate) Open() { g.state.CompareAndSwap(stateWarming, stateReady) }

// Drain tells load balancers to send nothing more. What still comes is answered
// for as long as the engine takes rows; streams end.
func (g *Gate) Drain() {
	g.Draining()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state.Swap(stateDraining) != stateDraining {
		close(g.draining)
	}
}

// Draining is closed when the server begins to drain.
func (g *Gate) Draining() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining == nil {
		g.draining = make(chan struct{})
	}
	return g.draining
}

// Ready is nil, ErrNotReady or ErrDraining.
func (g *Gate) Ready() error {
	switch g.state.Load() {
	case stateReady:
		return nil
	case stateDraining:
		return ErrDraining
	default:
		return ErrNotReady
	}
}

// healthStatus answers a probe.
type healthStatus struct {
	Status string `json:"status"`
}

// healthz tells that the process serves HTTP, whatever its state.
func (a *api) healthz(w http.ResponseWriter, r *http.Request) {
	a.respond(w, r, healthStatus{"ok"})
}

func (a *api) readyz(w http.ResponseWriter, r *http.Request) {
	if err := a.Ready.Ready(); err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, healthStatus{"ready"})
}

// whenReady refuses requests until the warm-up is done. While draining it lets
// them through: balancers take a moment to look elsewhere.
func (a *api) whenReady(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.Ready.Ready(); errors.Is(err, ErrNotReady) {
			a.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Loading answers while there is nothing to build the API on yet: it is alive, and
// everything else is not ready.
func Loading(log *slog.Logger) http.Handler {
	a := &api{Deps: Deps{Log: log}}
	r := chi.NewRouter()
	r.Use(middleware.RequestID)
	r.Get("/healthz", a.healthz)
	notReady := func(w http.ResponseWriter, r *http.Request) { a.fail(w, r, ErrNotReady) }
	r.NotFound(notReady)
	r.MethodNotAllowed(notReady)
	return r
}

func metricsHandler(reg *prometheus.Registry, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg, ErrorLog: scrapeLog{log}})
}

// scrapeLog lets promhttp report collectors that fail.
type scrapeLog struct{ *slog.Logger }

func (l scrapeLog) Println(v ...any) { l.Error("scrape", "error", fmt.Sprint(v...)) }
