package main

import (
	"encoding/json"
	"strings"
	"testing"

	"valence/cmd/internal/client/conformance"
)

// TestConformance proves a real server whose cache holds four of the adapters.
func TestConformance(t *testing.T) {
	url, log, stop := serve(t, "--cache-bytes", "250000")
	status, stdout, stderr := valence(t, "", "conformance", url, "--adapters", "12", "--clients", "4", "--duration", "2s", "--compare-one", "--json")
	if status != 0 {
		t.Fatalf("status %d\n%s%s", status, stdout, stderr)
	}
	var r conformance.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Base.Name != "builtin" || r.Wrong != 0 || r.Versions != 36 || r.Load == nil || r.Load.Rows == 0 || r.One == nil || len(r.Changes) == 0 {
		t.Errorf("%s", stdout)
	}
	if f := r.Server["valence_adapter_cache_evictions_total"]; f.Loaded <= f.Before {
		t.Errorf("nothing was evicted: %+v", f)
	}
	if code := stop(); code != 0 || !strings.Contains(log.String(), "tensor_handles=0") {
		t.Errorf("status %d\n%s", code, log)
	}
}

// TestConformanceOfKeptAnswers proves what the server remembers of rows, while the
// adapters that gave the answers change.
func TestConformanceOfKeptAnswers(t *testing.T) {
	url, _, _ := serve(t)
	status, stdout, stderr := valence(t, "", "conformance", url, "--adapters", "6", "--clients", "4", "--duration", "2s", "--kept")
	if status != 0 || !strings.Contains(stdout, "wrong answers") {
		t.Fatalf("status %d\n%s%s", status, stdout, stderr)
	}
	if gauge(t, url, `valence_engine_rows_total{outcome="known"}`) == 0 {
		t.Error("the server remembered nothing: the test shows nothing")
	}
}

func TestConformanceSaysWhatIsWrong(t *testing.T) {
	url, _ := oneAnswer(t, 401, `{"title":"Unauthorized","status":401,"code":"unauthorized","detail":"this call needs a key"}`)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"conformance"}, "<url>"},
		{[]string{"conformance", url, "--adapters", "0"}, "--adapters is 0"},
		{[]string{"conformance", url, "--distribution", "normal"}, `"zipf","uniform"`},
		{[]string{"conformance", url, "--hub-repo", "reviews"}, "OWNER/NAME"},
		{[]string{"conformance", "localhost:8080"}, "write http://HOST:PORT"},
		{[]string{"conformance", url}, "this call needs a key"},
	} {
		status, _, stderr := valence(t, "", tc.args...)
		if status == 0 || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: status %d, %s", tc.args, status, stderr)
		}
	}
}
