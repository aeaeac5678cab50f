package middleware

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

// send passes a request through the middleware to h on the route "/things/{id}".
func send(t *testing.T, r *http.Request, h http.HandlerFunc, mw ...func(http.Handler) http.Handler) *httptest.ResponseRecorder {
	t.Helper()
	router := chi.NewRouter()
	router.Use(mw...)
	router.HandleFunc("/things/{id}", h)
	rec := httptest.NewRecorder()
	router.ServeHTTP(rec, r)
	return rec
}

func get(path string) *http.Request { return httptest.NewRequest(http.MethodGet, path, nil) }

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// failures is a Fail that keeps what it was given and answers 418.
type failures struct{ errs []error }

func (f *failures) fail(w http.ResponseWriter, _ *http.Request, err error) {
	f.errs = append(f.errs, err)
	w.WriteHeader(http.StatusTeapot)
}

func textLog(buf *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(buf, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func wantParts(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%q lacks %q", got, p)
		}
	}
}
