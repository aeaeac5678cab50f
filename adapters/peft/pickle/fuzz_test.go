package pickle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"valence/runtime/safetensors"
)

// checkTensors checks what holds of every result.
func checkTensors(t *testing.T, tensors map[string]safetensors.Tensor, size int) {
	t.Helper()
	total := 0
	for name, x := range tensors {
		total += len(x.Data)
		if _, err := x.Float32s(); err != nil || x.Name != name {
			t.Errorf("%q: %v", name, err)
		}
	}
	if total > size {
		t.Errorf("%d bytes come out of a file of %d", total, size)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.bin")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	hostile, err := filepath.Glob("testdata/refused/*.bin")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range append(files, hostile...) {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tensors, err := Parse(data)
		if err != nil {
			return
		}
		checkTensors(t, tensors, len(data))
	})
}

// FuzzPickle spares the fuzzer the checksums of an archive.
func FuzzPickle(f *testing.F) {
	f.Add(vectorOf4, strings.Repeat("1234", 4))
	f.Add(program("(}"+text("b")+"Nst"), "")
	f.Fuzz(func(t *testing.T, program, storage string) {
		data := archiveOf(t, program, storage)
		tensors, err := Parse(data)
		if err != nil {
			return
		}
		checkTensors(t, tensors, len(data))
	})
}
