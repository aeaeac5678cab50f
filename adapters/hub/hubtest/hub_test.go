package hubtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func start(t *testing.T) *Server {
	t.Helper()
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.AddToken("hf_alice", "alice")
	s.AddToken("hf_bob", "bob")
	s.Create("alice/a", Repo{})
	return s
}

func TestLoopbackOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:80", "localhost:0", "127.0.0.1", ""} {
		if s, err := StartAt(address); err == nil {
			_ = s.Close()
			t.Errorf("%q is listened at", address)
		}
	}
	s, err := StartAt("127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.URL, "http://127.0.0.2:") {
		t.Error(s.URL)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// The same history has the same hashes, so that tests can record them.
func TestHashes(t *testing.T) {
	commits := func() string {
		h := New()
		h.Create("alice/a", Repo{})
		return h.Commit("alice/a", "main", "add", map[string][]byte{"b.bin": []byte("b"), "c": []byte("c"), "d": nil})
	}
	if a, b := commits(), commits(); a != b || len(a) != 40 {
		t.Errorf("%s, %s", a, b)
	}
	// As git hash-object and sha256sum have them.
	h := New()
	if f := h.newLargeFile([]byte("b")); newFile([]byte("b")).git != "63d8dbd40c23542e740659a7168a0ce3138ea748" ||
		f.sha256 != "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d" || f.git == newFile([]byte("b")).git {
		t.Errorf("%+v", f)
	}
}

func TestFiles(t *testing.T) {
	h := New()
	h.Create("alice/a", Repo{})
	first := h.Commit("alice/a", "main", "add", map[string][]byte{"b": []byte("b")})
	h.Tag("alice/a", "v1", first)
	h.Commit("alice/a", "main", "drop", map[string][]byte{"b": nil})
	if h.Files("alice/a", "main")["b"] != nil || string(h.Files("alice/a", "v1")["b"]) != "b" {
		t.Error("the history has changed")
	}
	if h.Files("alice/a", first[:8]) != nil || h.Files("alice/none", "main") != nil || h.Create("alice/a", Repo{}) {
		t.Error("something is there that should not be")
	}
}

// ask sends a request and gives the status and the code of the error.
func ask(t *testing.T, method, url, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("X-Error-Code")
}

func TestStatuses(t *testing.T) {
	s := start(t)
	s.Create("alice/private", Repo{Private: true})
	s.Create("alice/gated", Repo{Gated: true, Granted: []string{"bob"}})
	s.AddToken("hf_carol", "carol")
	s.Commit("alice/a", "main", "add", map[string][]byte{"b.bin": []byte("b"), "c": []byte("c")})
	const file = "/resolve/main/.gitattributes"
	for _, tt := range []struct {
		method, path, token, body string
		status                    int
		code                      string
	}{
		{"GET", "/api/models/alice/a", "", "", 200, ""},
		{"GET", "/api/models/alice/a/revision/main", "", "", 200, ""},
		{"GET", "/api/models/alice/a/revision/none", "", "", 404, "RevisionNotFound"},
		{"GET", "/api/models/alice/none", "", "", 401, "RepoNotFound"},
		{"GET", "/api/models/alice/none", "hf_bob", "", 404, "RepoNotFound"},
		{"GET", "/api/models/alice/a", "hf_wrong", "", 401, ""},
		{"GET", "/api/models/alice/private", "", "", 401, "RepoNotFound"},
		{"GET", "/api/models/alice/private", "hf_bob", "", 404, "RepoNotFound"},
		{"GET", "/api/models/alice/private", "hf_alice", "", 200, ""},
		{"HEAD", "/alice/gated" + file, "", "", 401, "GatedRepo"},
		{"HEAD", "/alice/gated" + file, "hf_carol", "", 403, "GatedRepo"},
		{"HEAD", "/alice/gated" + file, "hf_bob", "", 200, ""},
		{"GET", "/api/models/alice/gated", "", "", 200, ""},
		{"HEAD", "/alice/a/resolve/main/none", "", "", 404, "EntryNotFound"},
		{"HEAD", "/alice/a/resolve/main/b.bin", "", "", 302, ""},
		{"HEAD", "/alice/a/resolve/main/c", "", "", 200, ""},
		{"GET", "/", "", "", 404, ""},
		{"GET", "/api/whoami-v2", "", "", 401, ""},
		{"GET", "/api/whoami-v2", "hf_alice", "", 200, ""},
		{"POST", "/api/repos/create", "hf_alice", `{"name":"a"}`, 409, ""},
		{"POST", "/api/repos/create", "hf_alice", `{"name":"b"}`, 200, ""},
		{"POST", "/api/repos/create", "hf_bob", `{"name":"b","organization":"alice"}`, 403, ""},
		{"POST", "/api/repos/create", "hf_bob", `{`, 400, ""},
		{"POST", "/api/models/alice/a/commit/main", "hf_bob", "", 403, ""},
		{"POST", "/api/models/alice/a/commit/none", "hf_alice", "", 404, "RevisionNotFound"},
		{"POST", "/api/models/alice/a/commit/main", "hf_alice", "", 400, ""},
		{"POST", "/api/models/alice/a/commit/main", "hf_alice", "{", 400, ""},
		{"POST", "/api/models/alice/a/commit/main", "hf_alice", `{"key":"lfsFile","value":{"path":"x","oid":"00"}}`, 400, ""},
		{"POST", "/api/models/alice/a/commit/main", "hf_alice", `{"key":"other"}`, 400, ""},
		{"POST", "/api/models/alice/a/branch/next", "hf_alice", `{}`, 200, ""},
		{"POST", "/api/models/alice/a/branch/next", "hf_alice", `{}`, 409, ""},
		{"POST", "/alice/a.git/info/lfs/objects/verify", "hf_alice", `{"oid":"00"}`, 404, ""},
		{"POST", "/alice/a.git/info/lfs/objects/batch", "hf_alice", `{"operation":"download"}`, 400, ""},
	} {
		status, code := ask(t, tt.method, s.URL+tt.path, tt.token, tt.body)
		if status != tt.status || code != tt.code {
			t.Errorf("%s %s by %q: %d %s", tt.method, tt.path, tt.token, status, code)
		}
	}
}

func TestStorage(t *testing.T) {
	s := start(t)
	s.Commit("alice/a", "main", "add", map[string][]byte{"b.bin": []byte("content")})
	oid := s.repos["alice/a"].find("main").files["b.bin"].sha256
	for _, tt := range []struct {
		method, url string
		status      int
	}{
		{"GET", s.signed(oid), 200},
		{"GET", strings.TrimSuffix(s.signed(oid), "0123456789abcdef"[:1]) + "x", 403},
		{"GET", s.signed("00"), 404},
		{"PUT", s.signed("00"), 400}, // the content has another hash
		{"GET", s.storage + "/other", 404},
	} {
		if status, _ := ask(t, tt.method, tt.url, "", "body"); status != tt.status {
			t.Errorf("%s %s: %d", tt.method, tt.url, status)
		}
	}
}

func TestControl(t *testing.T) {
	s := start(t)
	model := s.URL + "/api/models/alice/a"
	if status, _ := ask(t, "POST", s.URL+"/-/faults", "", `{"kind":"status","status":503,"path":"/api/","times":1}`); status != 200 {
		t.Error(status)
	}
	for _, want := range []int{503, 200} {
		if status, _ := ask(t, "GET", model, "", ""); status != want {
			t.Errorf("%d, not %d", status, want)
		}
	}
	s.Fail(Fault{Kind: Status, Status: 500})
	ask(t, "DELETE", s.URL+"/-/faults", "", "")
	if status, _ := ask(t, "GET", model, "hf_alice", ""); status != 200 {
		t.Error(status)
	}
	resp, err := http.Get(s.URL + "/-/requests")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var seen []Seen
	if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil {
		t.Fatal(err)
	}
	want := []Seen{
		{"hub", "GET", "/api/models/alice/a", "", ""}, {"hub", "GET", "/api/models/alice/a", "", ""},
		{"hub", "GET", "/api/models/alice/a", "Bearer hf_alice", ""},
	}
	if !slices.Equal(seen, want) {
		t.Errorf("%+v", seen)
	}
}

// Each fault does to a body what it says; package hub meets all of them.
func TestBodies(t *testing.T) {
	for _, tt := range []struct {
		fault Fault
		want  string
		fails bool
	}{
		{Fault{Kind: Cut, Bytes: 3}, "con", true},
		{Fault{Kind: WrongLength, Bytes: -2}, "conte", false},
		{Fault{Kind: WrongLength, Bytes: 1}, "content\x00", false},
		{Fault{Kind: WrongHash}, "bontent", false},
		{Fault{Kind: Drip}, "content", false},
		{Fault{Kind: Endless}, "content\x00\x00\x00", false},
		{Fault{Kind: NoRange}, "content", false},
		{Fault{Kind: Redirect}, "content", false},
	} {
		t.Run(string(tt.fault.Kind), func(t *testing.T) {
			s := start(t)
			s.Commit("alice/a", "main", "add", map[string][]byte{"c": []byte("content")})
			s.Fail(tt.fault)
			resp, err := http.Get(s.URL + "/alice/a/resolve/main/c")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(io.LimitReader(resp.Body, int64(len(tt.want))))
			if err == nil {
				_, err = io.ReadFull(resp.Body, make([]byte, 1))
			}
			ended := errors.Is(err, io.EOF)
			if !bytes.Equal(got, []byte(tt.want)) || ended == (tt.fails || tt.fault.Kind == Endless) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
