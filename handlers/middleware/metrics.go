package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	chimw "github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts and times requests by route pattern, method and status, and
// counts those in flight, in reg. The error says which collector reg refused.
func Metrics(reg prometheus.Registerer) (func(http.Handler) http.Handler, error) {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "valence_http_request_duration_seconds",
		Help: "Time from a request's header to the end of its answer.",
		// From a probe to a long batch on a CPU.
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"route", "method", "status"})
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "valence_http_requests_in_flight",
		Help: "Requests being answered now.",
	})
	if err := errors.Join(reg.Register(seconds), reg.Register(inFlight)); err != nil {
		return nil, fmt.Errorf("middleware: register HTTP metrics: %w", err)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			ww := chimw.NewWrapResponseWriter(w, r.ProtoMajor)
			inFlight.Inc()
			defer func() {
				inFlight.Dec()
				seconds.WithLabelValues(route(r), method(r), strconv.Itoa(status(ww, r))).Observe(time.Since(start).Seconds())
			}()
			next.ServeHTTP(ww, r)
		})
	}, nil
}

// method gathers invented methods under one name, for the reason of [Unmatched].
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	default:
		return "other"
	}
}
