package middleware

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestContentType(t *testing.T) {
	strict, lenient := []string{JSON}, []string{JSON, "", "text/plain"}
	upload := []string{"multipart/form-data", "application/zip"}
	tests := []struct {
		name     string
		allowed  []string
		media    string
		encoding string
		refused  string // part of the error, or ""
	}{
		{"JSON", strict, "application/json", "", ""},
		{"other case", strict, "Application/Json", "", ""},
		{"UTF-8", strict, `application/json; charset="UTF-8"`, "", ""},
		{"none", strict, "", "", "there is no Content-Type; send application/json"},
		{"curl's default", strict, "application/x-www-form-urlencoded", "", `Content-Type "application/x-www-form-urlencoded"`},
		{"text", strict, "text/plain", "", `Content-Type "text/plain"`},
		{"Latin 1", strict, "application/json; charset=latin1", "", `charset "latin1"; send UTF-8`},
		{"a kind of JSON", strict, "application/ld+json", "", "application/ld+json"},
		{"nonsense", strict, "application/json; charset", "", "application/json; charset"},
		{"none where allowed", lenient, "", "", ""},
		{"text where allowed", lenient, "text/plain", "", ""},
		{"a form where text is allowed", lenient, "multipart/form-data; boundary=x", "", "multipart/form-data"},
		{"identity", strict, "application/json", "identity", ""},
		{"a form", upload, "multipart/form-data; boundary=x", "", ""},
		{"the first is recommended", upload, "application/json", "", `Content-Type "application/json"; send multipart/form-data`},
		{"none for a form", upload, "", "", "there is no Content-Type; send multipart/form-data"},
		{"gzip", strict, "application/json", "gzip", `Content-Encoding "gzip"; send the body as it is`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/things/1", strings.NewReader("{}"))
			if tt.media != "" {
				r.Header.Set("Content-Type", tt.media)
			}
			if tt.encoding != "" {
				r.Header.Set("Content-Encoding", tt.encoding)
			}
			var f failures
			rec := send(t, r, answer(200, ""), ContentType(f.fail, tt.allowed...))
			if tt.refused == "" {
				if rec.Code != http.StatusOK || len(f.errs) > 0 {
					t.Errorf("refused: %v", f.errs)
				}
				return
			}
			if len(f.errs) != 1 || !errors.Is(f.errs[0], ErrMediaType) || !strings.Contains(f.errs[0].Error(), tt.refused) {
				t.Errorf("got %v, want an error with %q", f.errs, tt.refused)
			}
		})
	}
}

func TestContentTypeWithoutBody(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		unknown    bool // its length
		allowed    []string
		refused    bool
	}{
		{"no body", "", false, []string{JSON, NoBody}, false},
		{"a body", "{}", false, []string{JSON, NoBody}, true},
		{"a body of unknown length", "", true, []string{JSON, NoBody}, true},
		{"a body is needed", "", false, []string{JSON}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/things/1", strings.NewReader(tt.body))
			if tt.unknown {
				r.ContentLength = -1
			}
			var f failures
			send(t, r, answer(200, ""), ContentType(f.fail, tt.allowed...))
			if (len(f.errs) == 1) != tt.refused {
				t.Errorf("refused: %v", f.errs)
			}
		})
	}
}
