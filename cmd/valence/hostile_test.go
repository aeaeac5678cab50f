package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"valence/cmd/internal/client"
	"valence/runtime/builtin"
	"valence/runtime/safetensors"
)

const weightsName = "adapter_model.safetensors"

// hostile is an upload that must be refused.
type hostile struct {
	name   string
	path   string // of the id; "" is "x"
	media  string
	body   []byte
	status int
	code   string
	says   string
}

// TestHostileUploads sends what must be refused to a real server: each with the reason,
// nothing is kept, and the server goes on.
func TestHostileUploads(t *testing.T) {
	dir := t.TempDir()
	url, log, _ := serve(t, "--data-dir", dir, "--max-upload", "4194304")
	for _, h := range slices.Concat(hostileIDs(t), hostileFolders(t), hostileZips(t)) {
		t.Run(h.name, func(t *testing.T) {
			status, p := h.put(t, url)
			t.Logf("%d %s: %s", status, p.Code, p.Detail)
			if status != h.status || p.Code != h.code || !strings.Contains(p.Detail, h.says) {
				t.Errorf("got %d %s: %s\nwant %d %s with %q", status, p.Code, p.Detail, h.status, h.code, h.says)
			}
			if status, answer := post(t, url, `{"text": "I love it, wonderful!"}`); status != 200 {
				t.Errorf("afterwards the server answers %d %v", status, answer)
			}
		})
	}
	api, err := client.New(client.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := api.Adapters(t.Context()); err != nil || len(all) != 1+len(builtin.Adapters()) {
		t.Errorf("%d adapters, of which the base and %d are built in, %v", len(all), len(builtin.Adapters()), err)
	}
	if _, err := os.Stat("marker"); !os.IsNotExist(err) {
		t.Errorf("a pickle was run: %v", err)
	}
	if strings.Contains(log.String(), "panic") {
		t.Error(log)
	}
	if _, err := api.Upload(t.Context(), "x", contents(t)[0].files, true); err != nil {
		t.Errorf("a good one is refused: %v", err)
	}
}

func (h hostile) put(t *testing.T, url string) (int, client.Problem) {
	t.Helper()
	path := h.path
	if path == "" {
		path = "x"
	}
	r, err := http.NewRequest(http.MethodPut, url+"/v1/adapters/"+path, bytes.NewReader(h.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", h.media)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var p client.Problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, p
}

// hostileIDs are good folders under ids that must not be.
func hostileIDs(t *testing.T) []hostile {
	media, body := formOf(t, contents(t)[0].files)
	var out []hostile
	for name, path := range map[string]string{
		"..": "..%2F..%2Fetc", "%2e": "%2e%2e", "twice escaped": "%252e%252e%252fetc", "backslash": `a%5Cb`, "NUL": "a%00b",
		"absolute path": "%2Fetc%2Fpasswd", "300 characters": strings.Repeat("a", 300), "the base": "base",
	} {
		h := hostile{name: "id " + name, path: path, media: media, body: body, status: 422, code: "invalid_adapter_id"}
		if path == "base" {
			h.status, h.code = 409, "adapter_fixed"
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return out
}

// hostileFolders are folders of which one file is at fault.
func hostileFolders(t *testing.T) []hostile {
	good := contents(t)[0].files
	folder := func(name, says string, change map[string][]byte) hostile {
		files := maps.Clone(good)
		for file, data := range change {
			if files[file] = data; data == nil {
				delete(files, file)
			}
		}
		media, body := formOf(t, files)
		return hostile{name: name, media: media, body: body, status: 422, code: "invalid_adapter", says: says}
	}
	weights := func(name, says string, change func([]safetensors.Tensor) []safetensors.Tensor) hostile {
		f, err := safetensors.Parse(good[weightsName])
		if err != nil {
			t.Fatal(err)
		}
		var all []safetensors.Tensor
		for _, name := range f.Names() {
			tensor, _ := f.Tensor(name)
			all = append(all, tensor)
		}
		var b bytes.Buffer
		if err := safetensors.Write(&b, change(all), nil); err != nil {
			t.Fatal(err)
		}
		return folder(name, says, map[string][]byte{weightsName: b.Bytes()})
	}
	nan := []byte{0, 0, 0xc0, 0x7f}
	system := readFile(t, "../../adapters/peft/pickle/testdata/refused/system.bin")
	other := map[string][]byte{weightsName: readFile(t, fixtures+"mt5/adapters/default/"+weightsName)}
	truncated := good[weightsName][:len(good[weightsName])-100]
	huge := slices.Concat(binary.LittleEndian.AppendUint64(nil, 1<<63), good[weightsName][8:])
	return []hostile{
		weights("a missing vector", "is missing", func(all []safetensors.Tensor) []safetensors.Tensor { return all[1:] }),
		weights("an extra vector", "lora_A", func(all []safetensors.Tensor) []safetensors.Tensor {
			return append(all, safetensors.Tensor{Name: "base_model.model.encoder.block.0.layer.0.SelfAttention.k.lora_A", DType: safetensors.F32, Shape: []int64{1}, Data: make([]byte, 4)})
		}),
		weights("a misshapen vector", "shape", func(all []safetensors.Tensor) []safetensors.Tensor {
			all[0].Shape = []int64{all[0].Shape[1], all[0].Shape[0]}
			return all
		}),
		weights("a vector with a NaN", "NaN", func(all []safetensors.Tensor) []safetensors.Tensor {
			all[0].Data = slices.Concat(nan, all[0].Data[4:])
			return all
		}),
		folder("another base", "the model asks for [384 1]", other),
		folder("a truncated file", weightsName, map[string][]byte{weightsName: truncated}),
		folder("a header of 2^63 bytes", "header", map[string][]byte{weightsName: huge}),
		folder("overlapping offsets", "overlap", map[string][]byte{weightsName: overlapping(t, good[weightsName])}),
		folder("a pickle that calls os.system", "posix.system", map[string][]byte{weightsName: nil, "adapter_model.bin": system}),
		folder("another method", "IA3", map[string][]byte{"adapter_config.json": []byte(`{"peft_type": "LORA"}`)}),
		folder("a file too many", "run.py", map[string][]byte{"run.py": []byte("print()")}).as(422, "invalid_upload"),
	}
}

func (h hostile) as(status int, code string) hostile {
	h.status, h.code = status, code
	return h
}

// hostileZips are archives that must not be unpacked.
func hostileZips(t *testing.T) []hostile {
	good := contents(t)[0].files
	archive := func(name, says string, status int, code string, fill func(*zip.Writer) error) hostile {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		if err := fill(w); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return hostile{name: name, media: "application/zip", body: b.Bytes(), status: status, code: code, says: says}
	}
	entry := func(w *zip.Writer, name string, mode fs.FileMode, data []byte) error {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(mode)
		part, err := w.CreateHeader(h)
		if err == nil {
			_, err = part.Write(data)
		}
		return err
	}
	return []hostile{
		archive("a zip with a link out of the folder", "link", 422, "invalid_upload", func(w *zip.Writer) error {
			if err := entry(w, "adapter_config.json", 0o600, good["adapter_config.json"]); err != nil {
				return err
			}
			return entry(w, weightsName, fs.ModeSymlink|0o777, []byte("../../../../etc/passwd"))
		}),
		archive("a zip that climbs", "..", 422, "invalid_upload", func(w *zip.Writer) error {
			return entry(w, "../../adapter_config.json", 0o600, good["adapter_config.json"])
		}),
		archive("a zip bomb", "", 413, "body_too_large", func(w *zip.Writer) error {
			return entry(w, weightsName, 0o600, make([]byte, 64<<20))
		}),
		{name: "no zip", media: "application/zip", body: []byte("PK\x03\x04 nothing of the kind"), status: 422, code: "invalid_upload"},
	}
}

// overlapping gives two tensors of a file the same bytes.
func overlapping(t *testing.T, file []byte) []byte {
	t.Helper()
	n := binary.LittleEndian.Uint64(file)
	var header map[string]map[string]any
	if err := json.Unmarshal(file[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(header))
	for i, name := range names {
		other := header[names[(i+1)%len(names)]]
		if slices.Equal(header[name]["shape"].([]any), other["shape"].([]any)) {
			other["data_offsets"] = header[name]["data_offsets"]
			break
		}
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text, file[8+n:])
}

func formOf(t *testing.T, files map[string][]byte) (media string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, data := range files {
		part, err := w.CreateFormFile(name, name)
		if err == nil {
			_, err = io.Copy(part, bytes.NewReader(data))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
