package middleware

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func TestMetrics(t *testing.T) {
	tests := []struct {
		name, method, path string
		h                  http.HandlerFunc
		gone               bool
		want               string
	}{
		{"a route", "GET", "/things/1", answer(201, ""), false, `{method="GET",route="/things/{id}",status="201"}`},
		{"no route", "GET", "/other/1", answer(200, ""), false, `{method="GET",route="unmatched",status="404"}`},
		{"an invented method", "BREW", "/things/1", answer(200, ""), false, `{method="other",route="unmatched",status="405"}`},
		{"nothing written", "GET", "/things/1", func(http.ResponseWriter, *http.Request) {}, false, `{method="GET",route="/things/{id}",status="200"}`},
		{"client gone", "GET", "/things/1", func(http.ResponseWriter, *http.Request) {}, true, `{method="GET",route="/things/{id}",status="499"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			mw, err := Metrics(reg)
			if err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if tt.gone {
				leave()
			}
			send(t, httptest.NewRequestWithContext(ctx, tt.method, tt.path, nil), tt.h, mw)
			wantParts(t, scrape(reg), "valence_http_request_duration_seconds_count"+tt.want+" 1\n", "valence_http_requests_in_flight 0\n")
		})
	}
}

func TestInFlight(t *testing.T) {
	reg := prometheus.NewRegistry()
	mw, err := Metrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	send(t, get("/things/1"), func(http.ResponseWriter, *http.Request) {
		wantParts(t, scrape(reg), "valence_http_requests_in_flight 1\n")
	}, mw)
}

func TestMetricsTwice(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := Metrics(reg); err != nil {
		t.Fatal(err)
	}
	if _, err := Metrics(reg); err == nil || !strings.Contains(err.Error(), "duplicate") {
		t.Errorf("got %v", err)
	}
}

func scrape(reg *prometheus.Registry) string {
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(rec, get("/"))
	return rec.Body.String()
}
