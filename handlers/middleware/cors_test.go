package middleware

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCORS(t *testing.T) {
	const page = "https://app.example.com"
	tests := []struct {
		name    string
		allowed []string
		origin  string
		want    string
	}{
		{"none configured", nil, page, ""},
		{"allowed", []string{"http://localhost:3000", page}, page, page},
		{"another", []string{page}, "https://evil.example.com", ""},
		{"another scheme", []string{page}, "http://app.example.com", ""},
		{"any", []string{"*"}, page, "*"},
		{"a pattern", []string{"https://*.example.com"}, page, page},
		{"not a page", []string{page}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mw, err := CORS(tt.allowed)
			if err != nil {
				t.Fatal(err)
			}
			for _, method := range []string{http.MethodPost, http.MethodOptions} {
				r := httptest.NewRequest(method, "/things/1", nil)
				if tt.origin != "" {
					r.Header.Set("Origin", tt.origin)
				}
				r.Header.Set("Access-Control-Request-Method", http.MethodPost)
				r.Header.Set("Access-Control-Request-Headers", "content-type")
				rec := send(t, r, answer(200, ""), mw)
				if got := rec.Header().Get("Access-Control-Allow-Origin"); got != tt.want {
					t.Errorf("%s: allowed %q, want %q", method, got, tt.want)
				}
				if tt.allowed == nil && len(rec.Header()) > 0 {
					t.Errorf("%s: headers %v without any origin configured", method, rec.Header())
				}
				if rec.Header().Get("Access-Control-Allow-Credentials") != "" {
					t.Error("credentials are allowed")
				}
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	mw, err := CORS([]string{"https://app.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	for header, allowed := range map[string]bool{"content-type": true, "authorization": true, "x-request-id": true, "x-hub-token": true, "x-secret": false} {
		r := httptest.NewRequest(http.MethodOptions, "/things/1", nil)
		r.Header.Set("Origin", "https://app.example.com")
		r.Header.Set("Access-Control-Request-Method", http.MethodPost)
		r.Header.Set("Access-Control-Request-Headers", header)
		rec := send(t, r, answer(500, ""), mw)
		if got := strings.EqualFold(rec.Header().Get("Access-Control-Allow-Headers"), header); got != allowed || rec.Code >= 300 {
			t.Errorf("%s: status %d, allowed %v", header, rec.Code, got)
		}
	}
}

func TestBadOrigins(t *testing.T) {
	for _, o := range []string{"", "app.example.com", "https://", "https://app.example.com/", "https://app.example.com/page", "ftp://app.example.com", "https://me@app.example.com", "null", "https://a b"} {
		if _, err := CORS([]string{"*", o}); !errors.Is(err, ErrOrigin) {
			t.Errorf("%q: got %v", o, err)
		}
	}
}
