package middleware

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
)

func TestAccessLog(t *testing.T) {
	tests := []struct {
		name  string
		path  string
		h     http.HandlerFunc
		gone  bool
		parts []string
	}{
		{"answered", "/things/1?key=secret", answer(200, "hello"), false, []string{"level=INFO", "method=GET", "path=/things/1 ", "route=/things/{id}", "status=200", "bytes=5", "request_id=", "took="}},
		{"refused", "/things/1", answer(404, ""), false, []string{"level=INFO", "status=404"}},
		{"failed", "/things/1", answer(500, ""), false, []string{"level=WARN", "status=500"}},
		{"no such route", "/other", nil, false, []string{"level=INFO", "route=unmatched", "status=404"}},
		{"nothing written", "/things/1", func(http.ResponseWriter, *http.Request) {}, false, []string{"status=200"}},
		{"client gone", "/things/1", func(http.ResponseWriter, *http.Request) {}, true, []string{"level=DEBUG", "status=499"}},
		{"gone after the answer", "/things/1", answer(200, ""), true, []string{"level=INFO", "status=200"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var buf bytes.Buffer
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if tt.gone {
				leave()
			}
			h := tt.h
			if h == nil {
				h = answer(200, "")
			}
			send(t, get(tt.path).WithContext(ctx), h, RequestID, AccessLog(textLog(&buf)))
			wantParts(t, buf.String(), tt.parts...)
			if strings.Contains(buf.String(), "secret") {
				t.Errorf("the query is logged: %s", buf.String())
			}
		})
	}
}

func TestQuietRoute(t *testing.T) {
	for _, status := range []int{200, 503} { // a probe of a server that warms up is no news
		var buf bytes.Buffer
		send(t, get("/things/1"), answer(status, ""), AccessLog(textLog(&buf), "/things/{id}"))
		wantParts(t, buf.String(), "level=DEBUG")
	}
}

// TestLogOnPanic wants a line for a request that a panic ends.
func TestLogOnPanic(t *testing.T) {
	var buf bytes.Buffer
	func() {
		defer func() { _ = recover() }()
		send(t, get("/things/1"), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, AccessLog(textLog(&buf)))
	}()
	wantParts(t, buf.String(), "route=/things/{id}")
}
