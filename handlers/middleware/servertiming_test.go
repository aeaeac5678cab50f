package middleware

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"
)

func TestServerTiming(t *testing.T) {
	stage := func(name string, d time.Duration) func(http.ResponseWriter, *http.Request) {
		return func(_ http.ResponseWriter, r *http.Request) { Stage(r.Context(), name, d) }
	}
	tests := []struct {
		name  string
		steps []func(http.ResponseWriter, *http.Request)
		want  string
	}{
		{"only the total", nil, `^total;dur=[0-9.]+$`},
		{"stages in order", []func(http.ResponseWriter, *http.Request){stage("b", 1500*time.Microsecond), stage("a", 2*time.Second)},
			`^b;dur=1\.5, a;dur=2000, total;dur=[0-9.]+$`},
		{"the slowest of one stage", []func(http.ResponseWriter, *http.Request){stage("a", 1*time.Millisecond), stage("a", 3*time.Millisecond), stage("a", 2*time.Millisecond)},
			`^a;dur=3, total;dur=[0-9.]+$`},
		{"nothing after the first byte", []func(http.ResponseWriter, *http.Request){answer(204, ""), stage("late", time.Second)}, `^total;dur=[0-9.]+$`},
		{"after an early hint", []func(http.ResponseWriter, *http.Request){
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusEarlyHints) }, stage("a", time.Millisecond),
		}, `^a;dur=1, total;dur=[0-9.]+$`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := send(t, get("/things/1"), func(w http.ResponseWriter, r *http.Request) {
				for _, step := range tt.steps {
					step(w, r)
				}
				_, _ = w.Write(nil)
			}, ServerTiming)
			if got := rec.Header().Get(ServerTimingHeader); !regexp.MustCompile(tt.want).MatchString(got) {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}
}

func TestStageWithoutServerTiming(t *testing.T) {
	Stage(t.Context(), "a", time.Second)
}

// TestFlushThroughServerTiming keeps streams possible.
func TestFlushThroughServerTiming(t *testing.T) {
	rec := httptest.NewRecorder()
	ServerTiming(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})).ServeHTTP(rec, get("/"))
	if !rec.Flushed {
		t.Error("not flushed")
	}
}
