package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"valence/runtime/builtin"
	"valence/runtime/torch"
)

// Packed weights of a base in a folder are kept by its first start and used by the next, with
// the same answers; what was damaged is told of and made anew.
func TestPackedWeightsAreKept(t *testing.T) {
	if torch.Layout(torch.PackedFloat32) == "" {
		t.Skip("this processor's weights cannot be kept")
	}
	cache, base := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	if err := os.CopyFS(base, builtin.Base()); err != nil {
		t.Fatal(err)
	}
	const kept, anew = "kept the packed weights", "are not used, and made anew"
	start := func(name string, says, saysNot string, more ...string) map[string]any {
		t.Helper()
		url, log, stop := serve(t, append([]string{"--base", base, "--dtype", "float32"}, more...)...)
		status, answer := post(t, url, `{"text": "Not what I paid for."}`)
		if code := stop(); status != 200 || code != 0 || !strings.Contains(log.String(), says) || strings.Contains(log.String(), saysNot) {
			t.Errorf("%s: answer %d, status %d\n%s", name, status, code, log)
		}
		return answer
	}
	first := start("not kept", "ready", kept, "--no-keep-packed")
	files := func() []string {
		found, err := filepath.Glob(filepath.Join(cache, "valence", "packed", "*.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if len(files()) != 0 {
		t.Errorf("%v", files())
	}
	if got := start("the first start", kept, anew); !reflect.DeepEqual(got, first) {
		t.Errorf("%v, want %v", got, first)
	}
	if got := start("the second start", "ready", kept); !reflect.DeepEqual(got, first) {
		t.Errorf("%v, want %v", got, first)
	}
	if len(files()) != 1 {
		t.Fatalf("%v", files())
	}
	data, err := os.ReadFile(files()[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(files()[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := start("a damaged file", anew, "level=ERROR"); !reflect.DeepEqual(got, first) {
		t.Errorf("%v, want %v", got, first)
	}
	if got := start("after the damage", "ready", anew); !reflect.DeepEqual(got, first) {
		t.Errorf("%v, want %v", got, first)
	}
}
