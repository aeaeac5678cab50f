package safetensors

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	f, err := Open("testdata/plain.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	w, ok := f.Tensor("w")
	if !ok || w.DType != F32 || !slices.Equal(w.Shape, []int64{2, 3}) {
		t.Fatalf("tensor w: %v, %v", w, ok)
	}
	values, err := w.Float32s()
	if err != nil || !slices.Equal(values, []float32{0, 1, 2, 3, 4, 5}) {
		t.Errorf("values %v, %v", values, err)
	}
	if _, ok := f.Tensor("absent"); ok {
		t.Error("found a tensor that is not there")
	}
	if f.Metadata() != nil {
		t.Errorf("metadata %v, want nil", f.Metadata())
	}
	var whole bytes.Buffer
	if n, err := f.WriteTo(&whole); err != nil || n != int64(whole.Len()) || !bytes.Equal(whole.Bytes(), fixture(t, "plain.safetensors")) {
		t.Errorf("WriteTo gave %d bytes and %v, not the file", n, err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := f.Tensor("w"); ok || len(f.Names()) != 0 {
		t.Error("a closed file still shows tensors")
	}
}

func TestOpenSurvivesReplacement(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	original := fixture(t, "plain.safetensors")
	if err := os.WriteFile(path, original, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.WriteFile(path+".new", []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	w, _ := f.Tensor("w")
	if !bytes.Equal(w.Data, original[len(original)-24:]) {
		t.Error("a file replaced by a rename changed under its reader")
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	whole := fixture(t, "plain.safetensors")
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":          {nil, "too few"},
		"cut in length":  {whole[:5], "too few"},
		"cut in header":  {whole[:20], "reaches beyond"},
		"cut in tensors": {whole[:len(whole)-1], "truncated"},
		"a byte more":    {append(slices.Clone(whole), 0), "1 bytes follow"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want ErrFormat with the path and %q", err, c.want)
			}
		})
	}
	if _, err := Open(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("folder: %v", err)
	}
}

func TestTensorsEndAtTheirCapacity(t *testing.T) {
	f, err := Parse(file(`{"a":`+one+`,"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, "12"))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := f.Tensor("a")
	_ = append(a.Data, 'x')
	if b, _ := f.Tensor("b"); !reflect.DeepEqual(b.Data, []byte("2")) {
		t.Error("appending to one tensor wrote into the next")
	}
}
