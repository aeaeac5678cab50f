package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"valence/cmd/internal/client"
)

// TestExportAndImport moves the adapters of a server to another one, which answers the
// same without being started anew.
func TestExportAndImport(t *testing.T) {
	from, to, folder := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "export")
	oldURL, _, _ := serve(t, "--data-dir", from)
	newURL, _, _ := serve(t, "--data-dir", to)
	old, err := client.New(client.Options{URL: oldURL})
	if err != nil {
		t.Fatal(err)
	}
	all := contents(t)
	for _, c := range all[:2] {
		if _, err := old.Upload(t.Context(), "acme/reviews", c.files, true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := old.Activate(t.Context(), "acme/reviews", "v1"); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := valence(t, "", "export", folder, "--data-dir", from)
	if status != 0 || !strings.HasPrefix(stdout, "2 versions are in ") {
		t.Fatalf("status %d, %s%s", status, stdout, stderr)
	}
	if _, err := os.Stat(filepath.Join(folder, "adapters/acme/reviews/v2/adapter_model.safetensors")); err != nil {
		t.Error(err)
	}
	status, stdout, stderr = valence(t, "", "import", folder, "--data-dir", to)
	if status != 0 || stdout != "2 versions and 1 adapters are new; 0 versions were there already\n" {
		t.Fatalf("status %d, %s%s", status, stdout, stderr)
	}
	api, err := client.New(client.Options{URL: newURL})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { _, err := api.Adapter(t.Context(), "acme/reviews"); return err == nil })
	for _, ref := range []string{"acme/reviews", "acme/reviews@v2"} {
		want, err := old.Sentiment(t.Context(), client.Request{Inputs: []client.Input{{Text: killText, Adapter: client.One(ref)}}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := api.Sentiment(t.Context(), client.Request{Inputs: []client.Input{{Text: killText, Adapter: client.One(ref)}}})
		if err != nil || *got.Results[0].Score != *want.Results[0].Score || got.Results[0].Adapter.Version != want.Results[0].Adapter.Version {
			t.Errorf("%s: %+v, %v; the old server says %+v", ref, got, err, want)
		}
	}
	if status, stdout, _ := valence(t, "", "import", folder, "--data-dir", to); status != 0 || !strings.Contains(stdout, "2 versions were there already") {
		t.Errorf("again: status %d, %s", status, stdout)
	}
}

func TestExportSaysWhatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"export"}, "<folder>"},
		{[]string{"export", t.TempDir(), "--data-dir", t.TempDir()}, "is there already"},
		{[]string{"export", "/no/such/folder/x", "--data-dir", "/no/such"}, "there is nothing to export"},
		{[]string{"export", "x", "--data-dir", "y", "--database-url", "postgres://localhost/x"}, "two places for one thing"},
		{[]string{"import", "/no/such"}, "/no/such"},
		{[]string{"import", t.TempDir(), "--data-dir", t.TempDir()}, "store.json"},
	} {
		status, _, stderr := valence(t, "", tc.args...)
		if status == 0 || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: status %d, %s", tc.args, status, stderr)
		}
	}
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 30 s")
		}
	}
}
