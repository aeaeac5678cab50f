package handlers

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestStates(t *testing.T) {
	tests := []struct {
		name   string
		state  func(*Gate)
		ready  int
		code   string // of /readyz
		answer int    // to a text
	}{
		{"warming up", func(*Gate) {}, 503, "not_ready", 503},
		{"ready", func(g *Gate) { g.Open() }, 200, "", 200},
		{"draining", func(g *Gate) { g.Open(); g.Drain() }, 503, "draining", 200},
		{"drained before it was ready", func(g *Gate) { g.Drain(); g.Open() }, 503, "draining", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			gate := new(Gate)
			tt.state(gate)
			s := serve(t, func(d *Deps) { d.Ready = gate })
			if a := s.do(http.MethodGet, "/healthz", ""); a.StatusCode != http.StatusOK || string(a.body) != "{\"status\":\"ok\"}\n" {
				t.Errorf("healthz: status %d: %s", a.StatusCode, a.body)
			}
			a := s.do(http.MethodGet, "/readyz", "")
			if tt.code == "" {
				if a.StatusCode != tt.ready || string(a.body) != "{\"status\":\"ready\"}\n" {
					t.Errorf("readyz: status %d: %s", a.StatusCode, a.body)
				}
			} else {
				a.problem(t, tt.ready, tt.code)
				if a.Header.Get("Retry-After") == "" {
					t.Error("readyz: no Retry-After")
				}
			}
			if a := s.post(`{"text":"a"}`); a.StatusCode != tt.answer {
				t.Errorf("sentiment: status %d: %s", a.StatusCode, a.body)
			}
		})
	}
}

func TestGateTellsOfDraining(t *testing.T) {
	gate := new(Gate)
	early := gate.Draining()
	gate.Open()
	select {
	case <-early:
		t.Error("it drains while it is ready")
	default:
	}
	gate.Drain()
	gate.Drain() // again
	<-early
	<-gate.Draining()
}

func TestLoading(t *testing.T) {
	h := Loading(slog.New(slog.DiscardHandler))
	for _, tt := range []struct {
		method, path string
		status       int
		want         string
	}{
		{http.MethodGet, "/healthz", 200, `{"status":"ok"}`},
		{http.MethodGet, "/readyz", 503, `"code":"not_ready"`},
		{http.MethodPost, "/v1/sentiment", 503, `"code":"not_ready"`},
		{http.MethodPost, "/healthz", 503, `"code":"not_ready"`},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s %s: status %d: %s", tt.method, tt.path, w.Code, w.Body)
		}
	}
}

func TestMetrics(t *testing.T) {
	s := serve(t, nil)
	s.post(`{"text":"a"}`)
	s.do(http.MethodGet, "/v1/adapters/acme/reviews", "")
	s.do(http.MethodGet, "/v1/adapters/acme%2Freviews", "")
	s.do(http.MethodGet, "/wp-login.php", "")
	s.do(http.MethodDelete, "/healthz", "")
	a := s.do(http.MethodGet, "/metrics", "")
	for _, want := range []string{
		`valence_http_request_duration_seconds_count{method="POST",route="/v1/sentiment",status="200"} 1`,
		`valence_http_request_duration_seconds_count{method="GET",route="/v1/adapters/{id}",status="200"} 1`,
		`valence_http_request_duration_seconds_count{method="GET",route="/v1/adapters/{owner}/{name}",status="200"} 1`,
		`valence_http_request_duration_seconds_count{method="GET",route="unmatched",status="404"} 1`,
		`valence_http_request_duration_seconds_count{method="DELETE",route="unmatched",status="405"} 1`,
		"valence_http_requests_in_flight 1",
	} {
		if !strings.Contains(string(a.body), want+"\n") {
			t.Errorf("lacks %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", a.body)
	}
}
