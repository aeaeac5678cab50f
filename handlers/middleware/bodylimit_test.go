package middleware

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestBodyLimit(t *testing.T) {
	tests := []struct {
		name     string
		size     int
		declared bool
		early    bool // refused before the handler
		late     bool // refused while the handler reads
	}{
		{"nothing", 0, true, false, false},
		{"the limit", 10, true, false, false},
		{"the limit, length unknown", 10, false, false, false},
		{"one more", 11, true, true, false},
		{"one more, length unknown", 11, false, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/things/1", strings.NewReader(strings.Repeat("a", tt.size)))
			if !tt.declared {
				r.ContentLength = -1
			}
			var f failures
			var read []byte
			var err error
			called := false
			send(t, r, func(_ http.ResponseWriter, r *http.Request) {
				called = true
				read, err = io.ReadAll(r.Body)
			}, BodyLimit(10, f.fail))
			if called == tt.early || (len(f.errs) > 0) != tt.early {
				t.Fatalf("the handler was called: %v; fail was given %v", called, f.errs)
			}
			switch {
			case tt.early:
				err = f.errs[0]
				fallthrough
			case tt.late:
				if !errors.Is(err, ErrBodyTooLarge) || !strings.Contains(err.Error(), "10 bytes") {
					t.Errorf("got %v", err)
				}
			case err != nil || len(read) != tt.size:
				t.Errorf("read %d bytes, %v", len(read), err)
			}
		})
	}
}
