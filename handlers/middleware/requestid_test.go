package middleware

import (
	"net/http"
	"strings"
	"testing"
)

func TestRequestID(t *testing.T) {
	tests := []struct {
		name, given string
		taken       bool
	}{
		{"none", "", false},
		{"plain", "order-17", true},
		{"UUID", "0190163d-8694-739b-aea5-966c26f8ad91", true},
		{"trace id", "1-67891233:abcdef/=+_.", true},
		{"longest", strings.Repeat("a", 128), true},
		{"too long", strings.Repeat("a", 129), false},
		{"space", "a b", false},
		{"quote", `a"b`, false},
		{"line break", "a\nlevel=ERROR", false},
		{"not ASCII", "é", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := get("/things/1")
			r.Header.Set(RequestIDHeader, tt.given)
			var seen string
			rec := send(t, r, func(_ http.ResponseWriter, r *http.Request) { seen = RequestIDFrom(r.Context()) }, RequestID)
			echoed := rec.Header().Get(RequestIDHeader)
			if seen != echoed || !saneID(seen) {
				t.Errorf("the handler saw %q, the client %q", seen, echoed)
			}
			if (seen == tt.given) != tt.taken {
				t.Errorf("%q became %q", tt.given, seen)
			}
		})
	}
}

func TestRequestIDFromNowhere(t *testing.T) {
	if id := RequestIDFrom(t.Context()); id != "" {
		t.Errorf("got %q", id)
	}
}
