package peft

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
)

func readFixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decodeFixture(t testing.TB, name string, to any) {
	t.Helper()
	if err := json.Unmarshal(readFixture(t, name), to); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// base is one of the two models of the fixtures: "mt5" or "t5".
func base(t testing.TB, name string) *spec.Config {
	t.Helper()
	c, err := spec.ParseConfig(readFixture(t, name+"/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// adapter is a folder in memory that a test can break.
type adapter struct {
	config  map[string]any
	tensors []safetensors.Tensor
	sidecar string
}

func loadAdapter(t testing.TB, name string) *adapter {
	t.Helper()
	a := &adapter{}
	decodeFixture(t, name+"/"+configFile, &a.config)
	f, err := safetensors.Parse(readFixture(t, name+"/"+weightsFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range f.Names() {
		x, _ := f.Tensor(n)
		x.Shape, x.Data = slices.Clone(x.Shape), slices.Clone(x.Data)
		a.tensors = append(a.tensors, x)
	}
	return a
}

func (a *adapter) fsys(t testing.TB) fstest.MapFS {
	t.Helper()
	config, err := json.Marshal(a.config)
	if err != nil {
		t.Fatal(err)
	}
	var weights bytes.Buffer
	if err := safetensors.Write(&weights, a.tensors, nil); err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{configFile: {Data: config}, weightsFile: {Data: weights.Bytes()}}
	if a.sidecar != "" {
		fsys[sidecarFile] = &fstest.MapFile{Data: []byte(a.sidecar)}
	}
	return fsys
}

func wants(t *testing.T, err error, parts ...string) {
	t.Helper()
	if !errors.Is(err, ErrAdapter) {
		t.Fatalf("got %v, want ErrAdapter", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}
