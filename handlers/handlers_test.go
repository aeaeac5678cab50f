package handlers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"valence/handlers/middleware"
	"valence/runtime/engine"
)

func TestNewRefuses(t *testing.T) {
	whole := func() Deps {
		var d Deps
		serve(t, func(built *Deps) { d = *built })
		d.Registry = serve(t, nil).reg
		return d
	}
	tests := []struct {
		name   string
		change func(*Deps)
		want   string
	}{
		{"no engine", func(d *Deps) { d.Engine = nil }, "Deps.Engine"},
		{"no adapters", func(d *Deps) { d.Adapters = nil }, "Deps.Adapters"},
		{"no readiness", func(d *Deps) { d.Ready = nil }, "Deps.Ready"},
		{"no registry", func(d *Deps) { d.Registry = nil }, "Deps.Registry"},
		{"no log", func(d *Deps) { d.Log = nil }, "Deps.Log"},
		{"no limit of bytes", func(d *Deps) { d.Limits.BodyBytes = 0 }, "Deps.Limits.BodyBytes"},
		{"no limit of uploads", func(d *Deps) { d.Limits.UploadBytes = 0 }, "Deps.Limits.UploadBytes"},
		{"no limit of changes", func(d *Deps) { d.Limits.ChangeTimeout = 0 }, "Deps.Limits.ChangeTimeout"},
		{"no limit of inputs", func(d *Deps) { d.Limits.Inputs = -1 }, "Deps.Limits.Inputs"},
		{"no limit of time", func(d *Deps) { d.Limits.Timeout = 0 }, "Deps.Limits.Timeout"},
		{"metrics twice", func(*Deps) {}, "duplicate metrics collector"},
		{"no origin", func(d *Deps) { d.Origins = []string{"app.example.com"} }, `CORS origin "app.example.com"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := whole()
			tt.change(&d)
			if h, err := New(d); h != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want an error with %q", h, err, tt.want)
			}
		})
	}
}

func TestUnrouted(t *testing.T) {
	tests := []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{http.MethodGet, "/", 404, "not_found", ""},
		{http.MethodGet, "/v1", 404, "not_found", ""},
		{http.MethodGet, "/%ff%00", 404, "not_found", ""},
		{http.MethodPost, "/v2/sentiment", 404, "not_found", ""},
		{http.MethodPost, "/v1/sentiment/", 404, "not_found", ""},
		{http.MethodGet, "/v1/sentiment", 405, "method_not_allowed", "POST"},
		{http.MethodOptions, "/v1/sentiment", 405, "method_not_allowed", "POST"},
		{http.MethodPost, "/healthz", 405, "method_not_allowed", "GET, HEAD"},
		{http.MethodPost, "/v1/adapters/acme%2Freviews", 405, "method_not_allowed", "GET, PUT, DELETE, HEAD"},
		{http.MethodPost, "/v1/adapters/acme/reviews", 405, "method_not_allowed", "GET, PUT, DELETE, HEAD"},
		{"BREW", "/healthz", 405, "method_not_allowed", "GET, HEAD"},
	}
	s := serve(t, nil)
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			a := s.do(tt.method, tt.path, "")
			a.problem(t, tt.status, tt.code)
			if got := a.Header.Get("Allow"); got != tt.allow {
				t.Errorf("Allow is %q, want %q", got, tt.allow)
			}
		})
	}
}

func TestHead(t *testing.T) {
	a := serve(t, nil).do(http.MethodHead, "/healthz", "")
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != typeJSON {
		t.Errorf("status %d, type %q", a.StatusCode, a.Header.Get("Content-Type"))
	}
}

func TestMediaTypes(t *testing.T) {
	tests := []struct {
		name   string
		header []string
		status int
	}{
		{"JSON", []string{"Content-Type", "application/json"}, 200},
		{"JSON in UTF-8", []string{"Content-Type", "Application/JSON; charset=UTF-8"}, 200},
		{"none", nil, 200},
		{"curl -d", []string{"Content-Type", "application/x-www-form-urlencoded"}, 200},
		{"text", []string{"Content-Type", "text/plain;charset=utf-8"}, 200},
		{"CSV", []string{"Content-Type", "text/csv"}, 415},
		{"JSON in Latin 1", []string{"Content-Type", "application/json; charset=iso-8859-1"}, 415},
		{"not a media type", []string{"Content-Type", "; ;"}, 415},
		{"compressed", []string{"Content-Encoding", "gzip"}, 415},
	}
	s := serve(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := s.do(http.MethodPost, "/v1/sentiment", `{"text":"a"}`, tt.header...)
			if tt.status == http.StatusOK {
				if a.StatusCode != tt.status {
					t.Errorf("status %d: %s", a.StatusCode, a.body)
				}
				return
			}
			a.problem(t, tt.status, "unsupported_media_type")
		})
	}
}

func TestBodyTooLarge(t *testing.T) {
	s := serve(t, nil)
	large := `{"text":"` + strings.Repeat("a", 4096) + `"}`
	if p := s.post(large).problem(t, 413, "body_too_large"); !strings.Contains(p.Detail, "4096 bytes") {
		t.Errorf("detail %q lacks the limit", p.Detail)
	}
	r := httptest.NewRequest(http.MethodPost, "/v1/sentiment", io.MultiReader(strings.NewReader(large))) // of unknown length
	rec := httptest.NewRecorder()
	s.h.ServeHTTP(rec, r)
	if rec.Code != http.StatusRequestEntityTooLarge || !strings.Contains(rec.Body.String(), "4096 bytes") {
		t.Errorf("status %d: %s", rec.Code, rec.Body)
	}
}

func TestRequestID(t *testing.T) {
	s := serve(t, nil)
	a := s.post(`{}`, middleware.RequestIDHeader, "order-17")
	p := a.problem(t, 422, codeInvalid)
	if p.RequestID != "order-17" || a.Header.Get(middleware.RequestIDHeader) != "order-17" || !strings.Contains(s.log.String(), "request_id=order-17") {
		t.Errorf("problem %q, header %q, log %s", p.RequestID, a.Header.Get(middleware.RequestIDHeader), s.log)
	}
}

func TestPanic(t *testing.T) {
	s := serve(t, func(d *Deps) {
		answer := d.Engine
		first := true
		d.Engine = fakeEngine{func(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error) {
			if first {
				first = false
				panic("out of cheese")
			}
			return answer.Predict(ctx, reqs)
		}}
	})
	s.post(`{"text":"a"}`).problem(t, 500, codeInternal)
	if log := s.log.String(); !strings.Contains(log, "out of cheese") || !strings.Contains(log, "handlers_test.go") {
		t.Errorf("the log lacks the cause or the stack: %s", log)
	}
	if a := s.post(`{"text":"a"}`); a.StatusCode != http.StatusOK {
		t.Errorf("afterwards: status %d", a.StatusCode)
	}
}

// TestClientGone wants nothing written for a client that left, and 499 in log and
// metrics.
func TestClientGone(t *testing.T) {
	s := serve(t, func(d *Deps) {
		d.Engine = fakeEngine{func(ctx context.Context, _ []engine.Request) ([]engine.Outcome, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
	})
	ctx, leave := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, leave)
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/sentiment", strings.NewReader(`{"text":"a"}`))
	w := &spy{ResponseWriter: httptest.NewRecorder()}
	s.h.ServeHTTP(w, r)
	if w.wrote {
		t.Error("an answer was written")
	}
	if log := s.log.String(); !strings.Contains(log, `level=DEBUG msg="client gone"`) || strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=INFO") {
		t.Errorf("log: %s", log)
	}
	want := `valence_http_request_duration_seconds_count{method="POST",route="/v1/sentiment",status="499"} 1`
	if a := s.do(http.MethodGet, "/metrics", ""); !strings.Contains(string(a.body), want) {
		t.Errorf("metrics lack %s", want)
	}
}

// spy tells whether anything was written.
type spy struct {
	http.ResponseWriter
	wrote bool
}

func (s *spy) WriteHeader(int)             { s.wrote = true }
func (s *spy) Write(p []byte) (int, error) { s.wrote = true; return len(p), nil }

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(d *Deps) {
			d.Engine = fakeEngine{func(ctx context.Context, _ []engine.Request) ([]engine.Outcome, error) {
				<-ctx.Done()
				return nil, errors.Join(errors.New("engine: predict"), ctx.Err())
			}}
		})
		start := time.Now()
		a := s.post(`{"text":"a"}`)
		a.problem(t, 503, "timeout")
		if took := time.Since(start); took != time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

func TestCORS(t *testing.T) {
	const page = "https://app.example.com"
	s := serve(t, func(d *Deps) { d.Origins = []string{page} })
	if got := s.post(`{"text":"a"}`, "Origin", page).Header.Get("Access-Control-Allow-Origin"); got != page {
		t.Errorf("allowed origin %q", got)
	}
	if got := s.post(`{`, "Origin", page).Header.Get("Access-Control-Allow-Origin"); got != page {
		t.Errorf("allowed origin %q of a problem: a page must be able to read it", got)
	}
	if got := serve(t, nil).post(`{"text":"a"}`, "Origin", page).Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("allowed origin %q without any configured", got)
	}
}
