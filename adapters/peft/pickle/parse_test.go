package pickle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"valence/runtime/safetensors"
)

func TestParseFixtures(t *testing.T) {
	var expected map[string]map[string]struct {
		DType  string
		Shape  []int64
		Values []float64
	}
	if err := json.Unmarshal(fixture(t, "expected.json"), &expected); err != nil {
		t.Fatal(err)
	}
	if len(expected) != 2 {
		t.Fatalf("%d files", len(expected))
	}
	dtypes := map[string]safetensors.DType{
		"float64": safetensors.F64, "float32": safetensors.F32, "float16": safetensors.F16, "bfloat16": safetensors.BF16,
	}
	for file, tensors := range expected {
		got, err := Parse(fixture(t, file))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(tensors) {
			t.Errorf("%s: %d tensors, want %d", file, len(got), len(tensors))
		}
		for name, want := range tensors {
			x := got[name]
			values, err := x.Float32s()
			if err != nil {
				t.Errorf("%s: %q: %v", file, name, err)
				continue
			}
			rounded := make([]float32, len(want.Values))
			for i, v := range want.Values {
				rounded[i] = float32(v)
			}
			if x.Name != name || x.DType != dtypes[want.DType] || !slices.Equal(x.Shape, want.Shape) || !slices.Equal(values, rounded) {
				t.Errorf("%s: %q: %s %v %v, want %+v", file, name, x.DType, x.Shape, values, want)
			}
		}
	}
}

// Each file was written by torch.save; see testdata/make.py.
func TestParseRefusesFixtures(t *testing.T) {
	refused := map[string]string{
		"system":        `"posix.system"`,
		"eval":          `"__builtin__.eval"`,
		"exec":          `"__builtin__.exec"`,
		"getattr":       `"__builtin__.getattr"`,
		"legacy_system": `object: byte 13 of the pickle: it names "posix.system"`,
		"parameter":     `"torch._utils._rebuild_parameter"`,
		"module":        `"torch.nn.modules.linear.Linear"`,
		"numpy":         `"numpy._core.multiarray._reconstruct"`,
		"numpy_scalar":  `"numpy._core.multiarray.scalar"`,
		"int":           `"torch.LongStorage"`,
		"complex":       `"torch.ComplexFloatStorage"`,
		"sparse":        `"torch._utils._rebuild_sparse_tensor"`,
		"quantized":     `"torch._utils._rebuild_qtensor"`,
		"untyped":       `"torch.storage.UntypedStorage"`,
		"float":         "operation 0x47 ('G')",
		"bytes":         `"_codecs.encode"`,
		"nested":        `"a" is a dict, not a tensor`,
		"list":          "it holds a list, not a dict",
		"tensor":        "it holds a tensor, not a dict",
		"expanded":      `storage "0": size [1099511627776] needs more than the 1 elements`,
		"shared":        `tensor "1": the tensors together are larger`,
		"protocol":      "protocol 4; only 2",
	}
	files, err := filepath.Glob("testdata/refused/*.bin")
	if err != nil || len(files) != len(refused) {
		t.Errorf("%d files, want %d (%v)", len(files), len(refused), err)
	}
	contents := map[string][]byte{}
	for name := range refused {
		contents[name] = fixture(t, "refused/"+name+".bin")
	}
	t.Chdir(t.TempDir())
	for name, want := range refused {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(contents[name])
			wants(t, err, want)
		})
	}
	// What the hostile ones make when Python loads them.
	if _, err := os.Stat("marker"); !os.IsNotExist(err) {
		t.Errorf("a command was run: %v", err)
	}
}

// Big-endian machines write the bytes of storages in their own order.
func TestParseByteOrder(t *testing.T) {
	pickled := program(tensorOf(storageOf("FloatStorage", "0", 2), 0, []int64{2}, []int64{1}))
	for order, data := range map[string]string{
		"":       "\x00\x00\xc0\x3f\x00\x00\x00\x40",
		"little": "\x00\x00\xc0\x3f\x00\x00\x00\x40",
		"big":    "\x3f\xc0\x00\x00\x40\x00\x00\x00",
	} {
		records := []record{{"x/data.pkl", pickled}, {"x/data/0", data}}
		if order != "" {
			records = append(records, record{"x/byteorder", order})
		}
		tensors, err := Parse(zipOf(t, records...))
		if err != nil {
			t.Fatal(err)
		}
		if values, err := tensors["a"].Float32s(); err != nil || !slices.Equal(values, []float32{1.5, 2}) {
			t.Errorf("%q: %v, %v", order, values, err)
		}
	}
	_, err := Parse(zipOf(t, record{"x/data.pkl", pickled}, record{"x/data/0", "12345678"}, record{"x/byteorder", "Little"}))
	wants(t, err, "byteorder", `"Little"`)
}

func TestParseCopies(t *testing.T) {
	for _, file := range []string{"tensors.bin", "legacy.bin"} {
		data := fixture(t, file)
		tensors, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		clear(data)
		for name, x := range tensors {
			if len(x.Data) > 0 && strings.Trim(string(x.Data), "\x00") == "" {
				t.Errorf("%s: %q changed with the file", file, name)
			}
		}
	}
}

// A file that ends early is an error wherever it ends.
func TestParseTruncated(t *testing.T) {
	for _, file := range []string{"tensors.bin", "legacy.bin"} {
		whole := fixture(t, file)
		for n := range whole {
			if _, err := Parse(whole[:n]); err == nil {
				t.Errorf("%s: its first %d bytes are read", file, n)
			}
		}
	}
}
