package handlers

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"

	"valence/adapters"
)

// sent is one part of a form, or one entry of a zip.
type sent struct{ field, name, data string }

// form writes multipart/form-data.
func form(t *testing.T, parts ...sent) (mediaType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		disposition := fmt.Sprintf(`form-data; name="%s"`, p.field)
		if p.name != "" {
			disposition += fmt.Sprintf(`; filename="%s"`, p.name)
		}
		h := textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {"application/octet-stream"}}
		part, err := w.CreatePart(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, p.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.String()
}

// zipOf writes a zip; a name that ends in "/" is a folder.
func zipOf(t *testing.T, entries ...sent) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		part, err := w.Create(e.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var (
	config  = sent{"file", "adapter_config.json", "{}"}
	weights = sent{"file", "adapter_model.safetensors", "abc"}
	pickle  = sent{"file", "adapter_model.bin", "abcd"}
	sidecar = sent{"file", "valence.json", "{ }"}
	readme  = sent{"file", "README.md", "# x"}
)

func (s sent) at(folder string) sent { s.name = folder + s.name; return s }

func TestUpload(t *testing.T) {
	const all = "upload acme/reviews true adapter_config.json=2 adapter_model.safetensors=3 valence.json=3 README.md=3 of 4"
	const two = "upload acme/reviews true adapter_config.json=2 adapter_model.safetensors=3 of 2"
	formOf := func(parts ...sent) func(*testing.T) (string, string) {
		return func(t *testing.T) (string, string) { return form(t, parts...) }
	}
	zipBody := func(entries ...sent) func(*testing.T) (string, string) {
		return func(t *testing.T) (string, string) { return typeZip, zipOf(t, entries...) }
	}
	tests := []struct {
		name, path string
		body       func(*testing.T) (mediaType, body string)
		call       string
	}{
		{"by file names", "acme/reviews", formOf(config, weights, sidecar, readme), all},
		{"escaped", "acme%2Freviews", formOf(config, weights, sidecar, readme), all},
		{"a pickle", "a?activate=true", formOf(pickle, config), "upload a true adapter_config.json=2 adapter_model.bin=4 of 2"},
		{"without activating it", "a?activate=false", formOf(config, weights), "upload a false adapter_config.json=2 adapter_model.safetensors=3 of 2"},
		{"by field names", "acme/reviews", formOf(sent{"adapter_config.json", "cfg", "{}"}, sent{"adapter_model.safetensors", "", "abc"}), two},
		{"by both", "acme/reviews", formOf(sent{"adapter_config.json", "adapter_config.json", "{}"}, weights), two},
		{"in a folder", "acme/reviews", formOf(config.at("out/"), weights.at("out/")), two},
		{"an empty file", "acme/reviews", formOf(config, weights, sent{"README.md", "", ""}),
			"upload acme/reviews true adapter_config.json=2 adapter_model.safetensors=3 README.md=0 of 3"},
		{"a zip", "acme/reviews", zipBody(config, weights, sidecar, readme), all},
		{"a zip with a folder", "acme/reviews", zipBody(sent{"", "out/", ""}, config.at("out/"), weights.at("out/")), two},
		{"a zip in a form", "acme/reviews", func(t *testing.T) (string, string) {
			return form(t, sent{"folder", "out.zip", zipOf(t, config, weights)})
		}, two},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &changed{}
			media, body := tt.body(t)
			a := serveChanges(t, c).admin(http.MethodPut, tt.path, body, "Content-Type", media)
			if a.StatusCode != http.StatusCreated || a.Header.Get("Location") != "/v1/adapters/acme%2Freviews@v1" || !strings.HasSuffix(string(a.body), `,"new":true}`+"\n") {
				t.Errorf("status %d, Location %q: %s", a.StatusCode, a.Header.Get("Location"), a.body)
			}
			if got := strings.Join(c.calls, "; "); got != tt.call {
				t.Errorf("got  %s\nwant %s", got, tt.call)
			}
		})
	}
}

// TestBadUpload wants each refused with the reason, and nothing done.
func TestBadUpload(t *testing.T) {
	many := func(n int) (out []sent) {
		for i := range n {
			out = append(out, sent{"f", fmt.Sprintf("f%d", i), ""})
		}
		return out
	}
	tests := []struct {
		name   string
		parts  []sent
		detail string
		only   string // "form" or "zip", where the other says something else
	}{
		{"nothing", nil, "adapter_config.json is missing", ""},
		{"no configuration", []sent{weights}, "adapter_config.json is missing", ""},
		{"no tensors", []sent{config, sidecar}, "adapter_model.safetensors, or adapter_model.bin, is missing", ""},
		{"tensors twice", []sent{config, weights, pickle}, "send one of them", ""},
		{"another file", []sent{config, weights, {"file", "model.py", "x"}}, `"model.py" is none of adapter_config.json`, ""},
		{"other letters", []sent{{"file", "Adapter_Config.json", "{}"}, weights}, `"Adapter_Config.json" is none of`, ""},
		{"a file twice", []sent{config, weights, config}, `"adapter_config.json" is there twice`, ""},
		{"a file twice in two folders", []sent{config, weights, config.at("x/")}, `"adapter_config.json" is there twice`, ""},
		{"two folders", []sent{config.at("a/"), weights.at("b/")}, "stands in another folder", ""},
		{"a nested folder", []sent{config.at("a/b/"), weights.at("a/b/")}, "lies in a nested folder", ""},
		{"out of the folder", []sent{config.at("../"), weights}, `the path "../adapter_config.json"`, ""},
		{"out of the folder within", []sent{config.at("a/../../"), weights}, "without .. is wanted", ""},
		{"an absolute path", []sent{config.at("/etc/"), weights}, `the path "/etc/adapter_config.json"`, ""},
		{"a path of Windows", []sent{config.at("C:/x/"), weights}, "a relative path with /", ""},
		{"a backslash", []sent{config.at(`..\`), weights}, "a relative path with /", "zip"},
		{"a NUL", []sent{{"file", "adapter_config.json\x00.png", "{}"}, weights}, "", "zip"},
		{"17 entries", many(17), "more than 16", "zip"},
		{"17 parts", append([]sent{config, weights, sidecar, readme}, many(13)...), `"f0" is none of`, "form"},
		{"a nested folder's entry", []sent{{"", "a/b/", ""}}, "is a nested folder", "zip"},
		{"a folder's entry outside", []sent{{"", "../", ""}}, "without .. is wanted", "zip"},
		{"a part of no file", []sent{{"comment", "", "hello"}}, `the part "comment" is none of`, "form"},
		{"a part without a name", []sent{{"", "", "hello"}}, `the part "" is none of`, "form"},
		{"a part of two names", []sent{{"valence.json", "adapter_config.json", "{}"}}, "which is it?", "form"},
		{"a folder that is no zip", []sent{{"folder", "x.zip", "PK..."}}, "the zip cannot be read", "form"},
		{"a file beside a folder", []sent{config, {"folder", "x.zip", "PK"}}, `a part named "folder" is the whole upload`, "form"},
	}
	for _, tt := range tests {
		if tt.only != "zip" {
			t.Run(tt.name+" in a form", func(t *testing.T) {
				media, body := form(t, tt.parts...)
				refuse(t, media, body, 422, "invalid_upload", tt.detail)
			})
		}
		if tt.only != "form" {
			t.Run(tt.name+" in a zip", func(t *testing.T) {
				refuse(t, typeZip, zipOf(t, tt.parts...), 422, "invalid_upload", tt.detail)
			})
		}
	}
}

// refuse sends an upload that must be refused before it reaches the adapters.
func refuse(t *testing.T, media, body string, status int, code, detail string) {
	t.Helper()
	c := &changed{}
	p := serveChanges(t, c).admin(http.MethodPut, "acme/reviews", body, "Content-Type", media).problem(t, status, code)
	if !strings.Contains(p.Detail, detail) || len(c.calls) > 0 {
		t.Errorf("detail %q, calls %v", p.Detail, c.calls)
	}
}

func TestBadUploadParameters(t *testing.T) {
	c := &changed{}
	s := serveChanges(t, c)
	media, body := form(t, config, weights)
	put := func(path string) answer { return s.admin(http.MethodPut, path, body, "Content-Type", media) }
	for path, want := range map[string]string{"a?activate=yes": "not_allowed", "a?activate=": "not_allowed", "a?activat=true": "unknown_field", "a?activate=true&activate=false": "duplicate"} {
		if p := put(path).problem(t, 422, codeInvalid); len(p.Errors) != 1 || p.Errors[0].Code != want {
			t.Errorf("%s: %+v", path, p.Errors)
		}
	}
	put("a@v1").problem(t, 422, codeID)
	put("..%2Fa").problem(t, 422, codeID)
	if len(c.calls) > 0 {
		t.Errorf("calls %v", c.calls)
	}
}

func TestUploadMediaTypes(t *testing.T) {
	s := serveChanges(t, &changed{})
	_, body := form(t, config, weights)
	for _, media := range []string{"application/json", "application/octet-stream", "multipart/mixed; boundary=x", "application/x-zip-compressed"} {
		p := s.admin(http.MethodPut, "a", body, "Content-Type", media).problem(t, 415, "unsupported_media_type")
		if !strings.Contains(p.Detail, "send multipart/form-data") {
			t.Errorf("%s: %s", media, p.Detail)
		}
	}
	s.admin(http.MethodPut, "a", body, "Content-Type", "multipart/form-data").problem(t, 422, "invalid_upload") // no boundary
	s.admin(http.MethodPut, "a", body, "Content-Type", typeForm+"; boundary=x", "Content-Encoding", "gzip").problem(t, 415, "unsupported_media_type")
}

func TestUploadCutOff(t *testing.T) {
	media, body := form(t, config, weights)
	for n := 1; n < len(body)-4; n += 7 { // the last "--" and line end are its end
		refuse(t, media, body[:n], 400, "incomplete_body", "it ends, or stops, within")
	}
	zipped := zipOf(t, config, weights)
	for _, n := range []int{1, len(zipped) / 2, len(zipped) - 5} {
		refuse(t, typeZip, zipped[:n], 422, "invalid_upload", "the zip cannot be read")
	}
}

// endless never ends, and counts what was read of it.
type endless struct {
	head io.Reader
	read int64
}

func (e *endless) Read(p []byte) (int, error) {
	if n, err := e.head.Read(p); err == nil {
		return n, nil
	}
	e.read += int64(len(p))
	clear(p)
	return len(p), nil
}

func TestUploadTooLarge(t *testing.T) {
	media, body := form(t, config, sent{"file", "adapter_model.safetensors", strings.Repeat("a", 1<<16)})
	refuse(t, media, body, 413, "body_too_large", "at most 65536 bytes are allowed")
	for name, media := range map[string]string{"form": `multipart/form-data; boundary=b`, "zip": typeZip} {
		c := &changed{}
		s := serve(t, func(d *Deps) { d.Adapters = c.fake() })
		e := &endless{head: strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"valence.json\"\r\n\r\n")}
		r := httptest.NewRequest(http.MethodPut, "/v1/adapters/a", e)
		r.ContentLength = -1
		r.Header.Set("Content-Type", media)
		rec := httptest.NewRecorder()
		s.h.ServeHTTP(rec, r)
		if rec.Code != http.StatusRequestEntityTooLarge || len(c.calls) > 0 || e.read > 1<<18 {
			t.Errorf("%s: status %d after %d bytes: %s", name, rec.Code, e.read, rec.Body)
		}
	}
}

func TestUploadFails(t *testing.T) {
	media, body := form(t, config, weights)
	for want, err := range map[string]error{
		"422 adapter_failed_self_test": fmt.Errorf("registry: %w: acme/reviews: row 0", adapters.ErrCanary),
		"422 wrong_base":               fmt.Errorf("registry: %w: it was made for sha256:1", adapters.ErrWrongBase),
		"409 adapter_fixed":            fmt.Errorf("registry: %w", adapters.ErrFixed),
	} {
		s := serveChanges(t, &changed{err: err})
		status, code, _ := strings.Cut(want, " ")
		p := s.admin(http.MethodPut, "acme/reviews", body, "Content-Type", media)
		if got := fmt.Sprint(p.StatusCode); got != status || !strings.Contains(string(p.body), `"code":"`+code+`"`) {
			t.Errorf("%s: status %s: %s", want, got, p.body)
		}
	}
}

// FuzzUpload: whatever is sent is a folder of known files within the limit, or an error
// that is the sender's.
func FuzzUpload(f *testing.F) {
	t := new(testing.T)
	f.Add(true, zipOf(t, config, weights.at("x/"), sidecar))
	f.Add(true, "PK\x05\x06"+strings.Repeat("\xff", 18))
	_, body := form(t, config, weights, sent{"folder", "x.zip", zipOf(t, config)})
	f.Add(false, strings.ReplaceAll(body, body[2:62], "b"))
	f.Add(false, "--b\r\nContent-Disposition: form-data; name=\"folder\"\r\n\r\nPK\r\n--b--")
	f.Fuzz(func(t *testing.T, zipped bool, body string) {
		const limit = 1 << 12
		up := folder{files: map[string][]byte{}, left: limit, limit: limit}
		r := httptest.NewRequest(http.MethodPut, "/v1/adapters/a", strings.NewReader(body))
		r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		if zipped {
			r.Header.Set("Content-Type", typeZip)
		}
		if err := errors.Join(up.read(r), up.complete()); err != nil {
			if status, _ := classify(err); status >= 500 {
				t.Error(err)
			}
			return
		}
		total := 0
		for name, data := range up.files {
			total += len(data)
			if !isFolderFile(name) {
				t.Errorf("%q was taken", name)
			}
		}
		if total > limit {
			t.Errorf("%d bytes were taken", total)
		}
	})
}
