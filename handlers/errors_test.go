package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"valence/adapters"
	"valence/adapters/hub"
	"valence/adapters/peft"
	"valence/adapters/store"
	"valence/runtime/engine"
)

func TestErrorKinds(t *testing.T) {
	tests := []struct {
		err    error
		use    string // where a text asks for an adapter
		change string // where a call changes one
	}{
		{adapters.ErrConflict, "409 conflict", "409 conflict"},
		{adapters.ErrFixed, "409 adapter_fixed", "409 adapter_fixed"},
		{adapters.ErrBlend, "422 invalid_blend", "422 invalid_blend"},
		{adapters.ErrCanary, "500 adapter_failed_self_test", "422 adapter_failed_self_test"},
		{adapters.ErrWrongBase, "409 wrong_base", "422 wrong_base"},
		{adapters.ErrSidecar, "422 invalid_sidecar", "422 invalid_sidecar"},
		{engine.ErrTask, "422 invalid_sidecar", "422 invalid_sidecar"},
		{peft.ErrAdapter, "422 invalid_adapter", "422 invalid_adapter"},
		{adapters.ErrPullForbidden, "403 pull_forbidden", "403 pull_forbidden"},
		{fmt.Errorf("%w: %w", adapters.ErrNotFound, adapters.ErrPullForbidden), "404 adapter_not_found", "404 adapter_not_found"},
		{hub.ErrInvalid, "422 hub_invalid", "422 hub_invalid"},
		{hub.ErrNotFound, "404 hub_not_found", "404 hub_not_found"},
		{hub.ErrConflict, "409 hub_conflict", "409 hub_conflict"},
		{hub.ErrUnauthorized, "424 hub_unauthorized", "424 hub_unauthorized"},
		{hub.ErrGated, "424 hub_gated", "424 hub_gated"},
		{hub.ErrRateLimited, "424 hub_rate_limited", "424 hub_rate_limited"},
		{hub.ErrOffline, "424 hub_offline", "424 hub_offline"},
		{hub.ErrTooLarge, "424 hub_too_large", "424 hub_too_large"},
		{hub.ErrCorrupt, "424 hub_corrupt", "424 hub_corrupt"},
		{hub.ErrRejected, "424 hub_rejected", "424 hub_rejected"},
		{hub.ErrUnavailable, "424 hub_unavailable", "424 hub_unavailable"},
		{hub.ErrCache, "500 internal", "500 internal"},
		{store.ErrFull, "507 storage_full", "507 storage_full"},
		{store.ErrBusy, "503 storage_busy", "503 storage_busy"},
		{store.ErrCorrupt, "500 internal", "500 internal"},
		{context.DeadlineExceeded, "503 timeout", "503 timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			err := fmt.Errorf("registry: acme/x: %w: what exactly", tt.err)
			s := serve(t, func(d *Deps) {
				f := (&changed{err: err}).fake()
				f.lease = func(context.Context, adapters.Query) (*adapters.Lease, error) { return nil, err }
				d.Adapters = f
			})
			check := func(want string, a answer) {
				t.Helper()
				var status int
				var code string
				if _, err := fmt.Sscan(want, &status, &code); err != nil {
					t.Fatal(err)
				}
				p := a.problem(t, status, code)
				if status != 500 && code != codeTimeout && code != codeFull && !strings.Contains(p.Detail, "what exactly") {
					t.Errorf("detail %q", p.Detail)
				}
				if (a.Header.Get("Retry-After") != "") != (status == 503) {
					t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
				}
			}
			check(tt.use, s.post(`{"text":"a"}`))
			check(tt.change, s.do(http.MethodPost, "/v1/adapters/a/pull", ""))
		})
	}
}

// TestHubsPatience wants the Hub's Retry-After, and its own deadlines told apart from ours.
func TestHubsPatience(t *testing.T) {
	s := serveChanges(t, &changed{err: &hub.Error{Kind: hub.ErrRateLimited, Repo: "a/b", RetryAfter: 90500 * time.Millisecond}})
	a := s.admin(http.MethodPost, "a/pull", "")
	a.problem(t, 424, "hub_rate_limited")
	if got := a.Header.Get("Retry-After"); got != "91" {
		t.Errorf("Retry-After is %q", got)
	}
	s = serveChanges(t, &changed{err: &hub.Error{Kind: hub.ErrUnavailable, Repo: "a/b", Detail: "it stalls", Cause: context.DeadlineExceeded}})
	if p := s.admin(http.MethodPost, "a/pull", "").problem(t, 424, "hub_unavailable"); !strings.Contains(p.Detail, "it stalls") {
		t.Errorf("detail %q", p.Detail)
	}
}

func TestDetailNamesNoPackage(t *testing.T) {
	for _, s := range []string{"registry: store: no space left", "peft: no space left", "hub: no space left", "adapters: no space left"} {
		if got := detail(errors.New(s)); got != "no space left" {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}
