package handlers

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

const (
	inferKey = "infer-key-0123456789"
	adminKey = "admin-key-0123456789"
)

func withKeys(t *testing.T, infer, admin []string) func(*Deps) {
	t.Helper()
	keys, err := NewKeys(infer, admin)
	if err != nil {
		t.Fatal(err)
	}
	return func(d *Deps) { d.Keys = keys }
}

func TestKeys(t *testing.T) {
	tests := []struct {
		name   string
		header string
		status int
		code   string
	}{
		{"none", "", 401, "unauthorized"},
		{"another scheme", "Basic " + inferKey, 401, "unauthorized"},
		{"no key behind the scheme", "Bearer ", 401, "unauthorized"},
		{"unknown", "Bearer infer-key-0123456780", 401, "unauthorized"},
		{"a beginning of one", "Bearer infer-key-01234567", 401, "unauthorized"},
		{"infer", "Bearer " + inferKey, 200, ""},
		{"the second infer key", "bearer second-infer-key-1", 200, ""},
		{"admin", "Bearer " + adminKey, 200, ""},
	}
	s := serve(t, withKeys(t, []string{inferKey, "second-infer-key-1"}, []string{adminKey}))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, a := range []answer{
				s.post(`{"text":"good"}`, "Authorization", tt.header),
				s.do(http.MethodGet, "/v1/adapters", "", "Authorization", tt.header),
			} {
				if tt.code != "" {
					a.problem(t, tt.status, tt.code)
					if a.Header.Get("WWW-Authenticate") == "" {
						t.Error("no WWW-Authenticate")
					}
				} else if a.StatusCode != tt.status {
					t.Errorf("status %d: %s", a.StatusCode, a.body)
				}
			}
		})
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/openapi.yaml"} {
		if a := s.do(http.MethodGet, path, ""); a.StatusCode != http.StatusOK {
			t.Errorf("%s without a key: status %d", path, a.StatusCode)
		}
	}
	if strings.Contains(s.log.String(), "key-01234") {
		t.Error("a key is in the log")
	}
}

func TestScopes(t *testing.T) {
	keys, err := NewKeys([]string{inferKey}, []string{adminKey})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][2]error{inferKey: {nil, errScope}, adminKey: {nil, nil}, "unknown": {errBadKey, errBadKey}} {
		r, _ := http.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		for need, err := range map[scope]error{scopeInfer: want[0], scopeAdmin: want[1]} {
			if got := keys.check(r, need); !errors.Is(got, err) {
				t.Errorf("%s for scope %d: %v, want %v", key, need, got, err)
			}
		}
	}
	if status, code := classify(errScope); status != http.StatusForbidden || code != "forbidden" {
		t.Errorf("%d %s", status, code)
	}
	only, err := NewKeys(nil, []string{adminKey})
	if r, _ := http.NewRequest(http.MethodPost, "/", nil); err != nil || !errors.Is(only.check(r, scopeInfer), errNoKey) {
		t.Error("with an admin key alone, asking needs a key too")
	}
}

func TestShortKeysAreRefusedUnseen(t *testing.T) {
	_, err := NewKeys([]string{inferKey, "s3cret"}, nil)
	if err == nil || !strings.Contains(err.Error(), "infer key 2 has 6 bytes") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}
