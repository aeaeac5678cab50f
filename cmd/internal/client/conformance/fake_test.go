package conformance

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/go-json-experiment/json"

	"valence/adapters"
	"valence/adapters/peft"
	"valence/cmd/internal/client"
	"valence/runtime/mt5/spec"
)

// fakeVersion is a version of the fake server.
type fakeVersion struct {
	number int
	digest string
	labels []string
}

func (v fakeVersion) name() string { return fmt.Sprintf("v%d", v.number) }

// fakeAdapter is an adapter of the fake server.
type fakeAdapter struct {
	versions []fakeVersion
	history  []int // numbers that were active, the last of them is
}

func (a *fakeAdapter) find(revision string) (fakeVersion, bool) {
	for _, v := range a.versions {
		if revision == "" && v.number == a.history[len(a.history)-1] || revision == v.name() ||
			isDigest(revision) && revision != "" && strings.HasPrefix(v.digest, digestScheme+revision) {
			return v, true
		}
	}
	return fakeVersion{}, false
}

// faults make the fake server break its promise. A nil one does not.
type faults struct {
	// scores replaces the answer to a row; rows is how many the request has.
	scores func(f *fake, rows int, text string, was fakeVersion) map[string]float64
	// version replaces the version that answers for an id without a revision.
	version func(f *fake, id string, was fakeVersion) fakeVersion
	result  func(r *client.Result)
	answer  func(a *client.Answer)
	// found replaces the outcome of looking up what is not there.
	found    func(f *fake, id string) (fakeVersion, bool)
	activate func() bool // whether an activation happens
	upload   func() int  // a status to answer with in place of uploading, or 0
}

// fake is a server of the API whose scores are made from hashes.
type fake struct {
	faults
	model *spec.Config
	text  []byte // config.json

	mu       sync.Mutex
	adapters map[string]*fakeAdapter
	numbers  map[string]int
	gone     map[string]fakeVersion // last active versions of what was deleted
	last     map[string]fakeVersion // versions that were active before the present ones
	deleted  int
}

func newFake(t *testing.T, broken faults) (*fake, *httptest.Server) {
	t.Helper()
	text, err := os.ReadFile("../../../../runtime/mt5/testdata/mt5/config.json")
	if err != nil {
		t.Fatal(err)
	}
	model, err := spec.ParseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{faults: broken, model: model, text: text,
		adapters: map[string]*fakeAdapter{}, numbers: map[string]int{}, gone: map[string]fakeVersion{}, last: map[string]fakeVersion{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/base", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, client.Base{Name: "fake", Digest: "sha256:ff", DType: "float32", Device: "cpu", Config: f.text})
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# HELP x\nvalence_adapter_cache_hits_total 5\nvalence_torch_live_handles 7\nother{a=\"b\"} 1\n")
	})
	mux.HandleFunc("GET /v1/adapters", f.list)
	mux.HandleFunc("POST /v1/sentiment", f.sentiment)
	mux.HandleFunc("/v1/adapters/", f.adapter)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return f, server
}

func reply(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func refuse(w http.ResponseWriter, status int, code string) {
	reply(w, status, client.Problem{Status: status, Title: http.StatusText(status), Code: code})
}

// baseVersion answers for the base.
func baseVersion() fakeVersion {
	return fakeVersion{digest: "sha256:ba5e", labels: []string{"negative", "neutral", "positive"}}
}

func (f *fake) list(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := struct {
		Adapters []client.Adapter `json:"adapters"`
	}{[]client.Adapter{{ID: baseID}}}
	for _, id := range slices.Sorted(maps.Keys(f.adapters)) {
		out.Adapters = append(out.Adapters, f.describe(id))
	}
	reply(w, 200, out)
}

func (f *fake) describe(id string) client.Adapter {
	a := f.adapters[id]
	active, _ := a.find("")
	out := client.Adapter{ID: id, Version: active.name(), Digest: active.digest}
	for _, v := range a.versions {
		out.Versions = append(out.Versions, client.Version{Version: v.name(), Digest: v.digest, Active: v.number == active.number})
	}
	return out
}

// adapter serves everything below one adapter.
func (f *fake) adapter(w http.ResponseWriter, r *http.Request) {
	escaped, action, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/v1/adapters/"), "/")
	ref, err := url.PathUnescape(escaped)
	if err != nil {
		panic(err)
	}
	id, revision, _ := strings.Cut(ref, "@")
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodGet && id == baseID {
		reply(w, 200, client.Adapter{ID: baseID, Digest: baseVersion().digest})
		return
	}
	a, ok := f.adapters[id]
	if r.Method == http.MethodPut {
		f.put(w, r, id)
		return
	}
	if !ok {
		refuse(w, 404, codeNotFound)
		return
	}
	switch {
	case r.Method == http.MethodDelete:
		f.delete(w, id, revision)
		return
	case action == "activate":
		f.activateVersion(r, id, a)
	case action == "rollback":
		if !f.rollback(id, a) {
			refuse(w, 409, "conflict")
			return
		}
	}
	reply(w, 200, f.describe(id))
}

func (f *fake) put(w http.ResponseWriter, r *http.Request, id string) {
	if f.upload != nil {
		if status := f.upload(); status != 0 {
			refuse(w, status, "broken")
			return
		}
	}
	folder, labels, err := f.read(r)
	if err != nil {
		refuse(w, 422, err.Error())
		return
	}
	a, ok := f.adapters[id]
	if !ok {
		a = &fakeAdapter{}
		f.adapters[id] = a
	}
	v, there := a.find(strings.TrimPrefix(folder.Digest, digestScheme))
	if !there {
		f.numbers[id]++
		v = fakeVersion{f.numbers[id], folder.Digest, labels}
		a.versions = append(a.versions, v)
	}
	if r.URL.Query().Get("activate") == "true" {
		f.setActive(id, a, v.number)
	}
	out := client.Published{Adapter: f.describe(id), New: !there}
	reply(w, 200, out)
}

func (f *fake) setActive(id string, a *fakeAdapter, number int) {
	if was, ok := a.find0(); ok {
		if was.number == number {
			return
		}
		f.last[id] = was
	}
	a.history = append(a.history, number)
}

// find0 is the active version, if there is one yet.
func (a *fakeAdapter) find0() (fakeVersion, bool) {
	if len(a.history) == 0 {
		return fakeVersion{}, false
	}
	return a.find("")
}

func (f *fake) read(r *http.Request) (*peft.Folder, []string, error) {
	files, err := r.MultipartReader()
	if err != nil {
		return nil, nil, err
	}
	fsys := fstest.MapFS{}
	for {
		part, err := files.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, nil, err
		}
		fsys[part.FileName()] = &fstest.MapFile{Data: data}
	}
	folder, err := peft.Read(fsys, f.model)
	if err != nil {
		return nil, nil, err
	}
	sidecar := adapters.DefaultSidecar()
	if folder.Sidecar != nil {
		if sidecar, err = adapters.ParseSidecar(folder.Sidecar); err != nil {
			return nil, nil, err
		}
	}
	var labels []string
	for _, l := range sidecar.Labels {
		labels = append(labels, l.Name)
	}
	return folder, labels, nil
}

func (f *fake) delete(w http.ResponseWriter, id, revision string) {
	a := f.adapters[id]
	if revision == "" {
		f.deleted++
		f.gone[id], _ = a.find("")
		delete(f.adapters, id)
		w.WriteHeader(204)
		return
	}
	a.versions = slices.DeleteFunc(a.versions, func(v fakeVersion) bool { return v.name() == revision })
	w.WriteHeader(204)
}

func (f *fake) activateVersion(r *http.Request, id string, a *fakeAdapter) {
	var body struct {
		Version string `json:"version"`
	}
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	if err != nil {
		panic(err)
	}
	if v, ok := a.find(body.Version); ok && (f.activate == nil || f.activate()) {
		f.setActive(id, a, v.number)
	}
}

func (f *fake) rollback(id string, a *fakeAdapter) bool {
	for i := len(a.history) - 2; i >= 0; i-- {
		if v, ok := a.find(fmt.Sprintf("v%d", a.history[i])); ok && a.history[i] != a.history[len(a.history)-1] {
			f.last[id], _ = a.find("")
			a.history = a.history[:i+1]
			return v.number > 0
		}
	}
	return false
}

// hashScores are made from everything that an answer may depend on.
func hashScores(mix, text string, labels []string) map[string]float64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, mix+"\x00"+text)
	random := rand.New(rand.NewPCG(h.Sum64(), 1))
	out, sum := map[string]float64{}, 0.0
	for _, l := range labels {
		out[l] = 0.01 + random.Float64()
		sum += out[l]
	}
	for _, l := range labels {
		out[l] = math.Round(1e8*out[l]/sum) / 1e8
	}
	return out
}
