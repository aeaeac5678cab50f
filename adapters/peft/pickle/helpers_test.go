package pickle

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func wants(t *testing.T, err error, parts ...string) {
	t.Helper()
	if !errors.Is(err, ErrFormat) {
		t.Fatalf("got %v, want ErrFormat", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
	if len(err.Error()) > 1000 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
}

type record struct{ name, data string }

// zipOf stores records in an archive.
func zipOf(t testing.TB, records ...record) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, r := range records {
		f, err := w.CreateHeader(&zip.FileHeader{Name: r.name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(r.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// archiveOf is a file as torch.save writes it, with one storage named 0.
func archiveOf(t testing.TB, program, storage string) []byte {
	t.Helper()
	return zipOf(t, record{"x/data.pkl", program}, record{"x/byteorder", "little"}, record{"x/data/0", storage}, record{"x/version", "3\n"})
}

// central finds the n-th entry of an archive's directory, to falsify it.
func central(data []byte, n int) []byte {
	const signature = "PK\x01\x02"
	for range n {
		data = data[bytes.Index(data, []byte(signature))+1:]
	}
	return data[bytes.Index(data, []byte(signature)):]
}

// The functions below write parts of a pickle.

func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func name(module, name string) string { return "c" + module + "\n" + name + "\n" }

func integer(n int64) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func tupled(parts ...string) string { return "(" + strings.Join(parts, "") + "t" }

func integers(values ...int64) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = integer(v)
	}
	return tupled(parts...)
}

func storageOf(dtype, key string, elements int64) string {
	return tupled(text("storage"), name("torch", dtype), text(key), text("cpu"), integer(elements)) + "Q"
}

const (
	no    = "\x89"
	hooks = "ccollections\nOrderedDict\n)R"
)

// call makes a tensor of the arguments.
func call(args ...string) string {
	return name("torch._utils", "_rebuild_tensor_v2") + tupled(args...) + "R"
}

func tensorOf(storage string, offset int64, size, stride []int64) string {
	return call(storage, integer(offset), integers(size...), integers(stride...), no, hooks)
}

// program is a pickle of a dict with one entry, "a".
func program(value string) string { return "\x80\x02}" + text("a") + value + "s." }
