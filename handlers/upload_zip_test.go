package handlers

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"testing"
)

func TestDamagedZip(t *testing.T) {
	body := zipOf(t, sent{"", "adapter_config.json", strings.Repeat("abc", 100)}, weights)
	at := strings.Index(body, "adapter_config.json") + len("adapter_config.json") + 3
	refuse(t, typeZip, body[:at]+"\xff\xff\xff"+body[at+3:], 422, "invalid_upload", `"adapter_config.json" cannot be unpacked`)
}

func TestLinkInZip(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "adapter_config.json"}
	h.SetMode(os.ModeSymlink | 0o777)
	part, err := w.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(part, "/etc/passwd")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	refuse(t, typeZip, b.String(), 422, "invalid_upload", `"adapter_config.json" is a link`)
}

// bomb is a zip of one file of zeros, whose declared size is given.
func bomb(t *testing.T, size int64, declared uint64) string {
	t.Helper()
	var packed bytes.Buffer
	f, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	sum := crc32.NewIEEE()
	if _, err := io.CopyN(io.MultiWriter(f, sum), zeros{}, size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	part, err := w.CreateRaw(&zip.FileHeader{
		Name: "adapter_config.json", Method: zip.Deflate, CRC32: sum.Sum32(), CompressedSize64: uint64(packed.Len()), UncompressedSize64: declared,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(packed.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestZipBomb(t *testing.T) {
	const limit = 1 << 16 // Limits.UploadBytes of the tests
	tests := []struct {
		name     string
		declared uint64
		status   int
		code     string
		detail   string
	}{
		{"honest", 32 << 20, 413, "body_too_large", "unpacked, its files have more than the 65536 bytes"},
		{"it has gigabytes", 1 << 40, 413, "body_too_large", "unpacked, its files have more than the 65536 bytes"},
		{"it is small", 10, 422, "invalid_upload", `"adapter_config.json" cannot be unpacked`},
		{"it just fits", limit, 422, "invalid_upload", `"adapter_config.json" cannot be unpacked`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := bomb(t, 32<<20, tt.declared)
			if len(body) > limit {
				t.Fatalf("%d bytes do not even reach the unpacking", len(body))
			}
			refuse(t, typeZip, body, tt.status, tt.code, tt.detail)
			media, inForm := form(t, sent{"folder", "x.zip", body})
			refuse(t, media, inForm, tt.status, tt.code, tt.detail)
		})
	}
	half := strings.Repeat("a", limit/2+1)
	refuse(t, typeZip, zipOf(t, sent{"", "adapter_config.json", half}, sent{"", "README.md", half}), 413, "body_too_large", "unpacked") // only together
}

// TestZipOfManyEntries wants a directory of thousands refused before it is read.
func TestZipOfManyEntries(t *testing.T) {
	var entries []sent
	for i := range 500 {
		entries = append(entries, sent{"", fmt.Sprint(i), ""})
	}
	body := zipOf(t, entries...)
	refuse(t, typeZip, body, 422, "invalid_upload", "more than 16 entries")
	allocated := testing.AllocsPerRun(3, func() {
		f := folder{files: map[string][]byte{}, limit: 1 << 20}
		if err := f.readZip(strings.NewReader(body)); !errors.Is(err, errUpload) {
			t.Error(err)
		}
	})
	if allocated > 100 {
		t.Errorf("%v allocations: the directory was read", allocated)
	}
}
