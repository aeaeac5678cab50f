package middleware

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestSameOrigin(t *testing.T) {
	const page = "https://app.example.com"
	tests := []struct {
		name    string
		origins []string
		method  string
		header  []string
		refused bool
	}{
		{"no browser", nil, "POST", nil, false},
		{"the server's own page", nil, "POST", []string{"Sec-Fetch-Site", "same-origin"}, false},
		{"typed by the user", nil, "POST", []string{"Sec-Fetch-Site", "none"}, false},
		{"the server's own page, an old browser", nil, "POST", []string{"Origin", "http://example.com"}, false},
		{"a foreign page", nil, "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", page}, true},
		{"a neighbour", nil, "DELETE", []string{"Sec-Fetch-Site", "same-site", "Origin", page}, true},
		{"a foreign page, an old browser", nil, "PUT", []string{"Origin", page}, true},
		{"a foreign page reads", nil, "GET", []string{"Sec-Fetch-Site", "cross-site", "Origin", page}, false},
		{"an allowed page", []string{page}, "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", page}, false},
		{"another than the allowed page", []string{page}, "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", page + ":8443"}, true},
		{"any page", []string{"*"}, "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", page}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var f failures
			mw, err := SameOrigin(tt.origins, f.fail)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(tt.method, "/things/1", nil)
			for i := 0; i < len(tt.header); i += 2 {
				r.Header.Set(tt.header[i], tt.header[i+1])
			}
			rec := send(t, r, answer(http.StatusAccepted, ""), mw)
			if tt.refused != (len(f.errs) == 1 && errors.Is(f.errs[0], ErrCrossOrigin)) || !tt.refused && rec.Code != http.StatusAccepted {
				t.Errorf("status %d, %v", rec.Code, f.errs)
			}
		})
	}
	if _, err := SameOrigin([]string{"app.example.com"}, nil); !errors.Is(err, ErrOrigin) {
		t.Errorf("got %v", err)
	}
}
