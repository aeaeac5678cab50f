package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
)

// expected is what the fixtures' script says of one folder.
type expected struct {
	Digest  string
	DType   safetensors.DType
	Weights map[string]struct {
		Shape  []int64
		SHA256 string
	}
}

func readExpected(t *testing.T) map[string]expected {
	t.Helper()
	data, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]expected
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if len(out) != 3 {
		t.Fatalf("%d folders in expected.json", len(out))
	}
	return out
}

func TestOpenFixtures(t *testing.T) {
	for name, want := range readExpected(t) {
		dir := filepath.Join("testdata", name)
		for how, open := range map[string]func() (*Checkpoint, error){
			"disk": func() (*Checkpoint, error) { return Open(dir) },
			"fs":   func() (*Checkpoint, error) { return OpenFS(dir, os.DirFS(dir)) },
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				c, err := open()
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				checkAgainst(t, c, want)
				if c.Name != dir || c.Tokenizer != nil || c.Sidecar != nil || len(c.Unused()) != 0 {
					t.Errorf("name %q, tokenizer %q, sidecar %q, unused %q", c.Name, c.Tokenizer, c.Sidecar, c.Unused())
				}
			})
		}
	}
}

func checkAgainst(t *testing.T, c *Checkpoint, want expected) {
	t.Helper()
	if got := c.DType(); got != want.DType {
		t.Errorf("element type %s, want %s", got, want.DType)
	}
	for range 2 {
		if got := c.Digest(); got != want.Digest {
			t.Errorf("digest %s, want %s", got, want.Digest)
		}
	}
	if got := len(c.Config.Weights()); got != len(want.Weights) {
		t.Errorf("the model has %d weights, the checkpoint %d", got, len(want.Weights))
	}
	for name, w := range want.Weights {
		got, err := c.Weight(spec.Weight{Name: name, Shape: w.Shape})
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(got.Data); hex.EncodeToString(sum[:]) != w.SHA256 {
			t.Errorf("%s holds other bytes than the reference", name)
		}
	}
}

func TestWeightRefuses(t *testing.T) {
	c, err := Open("testdata/mt5")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, x := range []struct {
		weight spec.Weight
		want   string
	}{
		{spec.Weight{Name: "absent", Shape: []int64{1}}, `"absent" is missing`},
		{spec.Weight{Name: sharedWeight, Shape: []int64{4, 17}}, `"shared.weight" in model.safetensors has shape [17 4]; config.json asks for [4 17]`},
	} {
		if _, err := c.Weight(x.weight); !errors.Is(err, ErrCheckpoint) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("got %v, want %q", err, x.want)
		}
	}
}

func TestOpenReadsSideFiles(t *testing.T) {
	m := load(t, "mt5")
	fsys := m.fsys(t)
	fsys[tokenizerFile], fsys[sidecarFile] = file("tokens"), file("labels")
	c, err := OpenFS("memory", fsys)
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Tokenizer) != "tokens" || string(c.Sidecar) != "labels" {
		t.Errorf("tokenizer %q, sidecar %q", c.Tokenizer, c.Sidecar)
	}
}

func TestDigestFollowsContent(t *testing.T) {
	m := load(t, "t5")
	digest := func() string {
		c, err := OpenFS("memory", m.fsys(t))
		if err != nil {
			t.Fatal(err)
		}
		return c.Digest()
	}
	first := digest()
	m.config = strings.Replace(m.config, `"dropout_rate": 0.1`, `"dropout_rate": 0.2`, 1)
	second := digest()
	x := m.tensors[sharedWeight]
	x.Data = slices.Clone(x.Data)
	x.Data[0] ^= 1
	m.tensors[sharedWeight] = x
	if third := digest(); first == second || second == third || third == first {
		t.Errorf("digests %s, %s, %s", first, second, third)
	}
}

func TestClose(t *testing.T) {
	c, err := Open("testdata/sharded")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Weight(c.Config.Weights()[0]); err == nil {
		t.Error("a closed checkpoint still gives weights")
	}
	if got := c.Digest(); got != "" {
		t.Errorf("a closed checkpoint has the digest %s", got)
	}
}

// Whoever holds a checkpoint reads it after Close too.
func TestHold(t *testing.T) {
	c, err := Open("testdata/sharded")
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Weight(c.Config.Weights()[0])
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(w.Data)
	release, ok := c.Hold()
	if !ok {
		t.Fatal("mapped files cannot be held")
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.Data, want) {
		t.Error("the weights have changed")
	}
	if _, ok := c.Hold(); ok {
		t.Error("a closed checkpoint can be held")
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if n := c.files.users.Load(); n != 0 {
		t.Errorf("%d users are left", n)
	}
}

func TestMemoryIsNotHeld(t *testing.T) {
	c, err := OpenFS("memory", os.DirFS("testdata/mt5"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Hold(); ok {
		t.Error("memory of Go's can be held")
	}
}

func TestOpenAbsent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	if _, err := Open(dir); !errors.Is(err, ErrCheckpoint) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}

func TestOpenFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{configFile, singleFile} {
		target, err := filepath.Abs(filepath.Join("testdata/mt5", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Digest(), readExpected(t)["mt5"].Digest; got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
