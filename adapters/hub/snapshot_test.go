package hub

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"valence/adapters"
	"valence/adapters/hub/hubtest"
)

func TestCachedFilesAreNotFetchedAgain(t *testing.T) {
	server, _ := start(t)
	c := newClient(t, server, nil)
	c.mustPull(t, "")
	server.Requests()
	c.mustPull(t, "")
	seen := server.Requests()
	if count(seen, "GET", "/resolve/") != 0 || count(seen, "GET", objects) != 0 || count(seen, "HEAD", "") == 0 {
		t.Errorf("%+v", seen)
	}
}

func TestProgress(t *testing.T) {
	server, _ := start(t)
	var done, total int64
	c := newClient(t, server, func(o *Options) {
		o.Progress = func(d, n int64) {
			if d < done || n <= 0 {
				t.Errorf("%d of %d after %d", d, n, done)
			}
			done, total = d, n
		}
	})
	s := c.mustPull(t, "")
	if done != s.Bytes || total != s.Bytes {
		t.Errorf("%d of %d; the files have %d bytes", done, total, s.Bytes)
	}
}

// A new commit fetches what has changed, and shares the rest.
func TestNewCommit(t *testing.T) {
	server, first := start(t)
	c := newClient(t, server, nil)
	c.mustPull(t, "")
	server.Requests()
	second := server.Commit(reviews.ID, "main", "labels", map[string][]byte{"valence.json": []byte("{}")})
	s, err := c.pull(t, "")
	if err != nil || s.Commit != second || len(s.Files) != 4 {
		t.Fatalf("%+v, %v", s, err)
	}
	if seen := server.Requests(); count(seen, "GET", "/resolve/") != 1 {
		t.Errorf("%+v", seen)
	}
	old, err := c.offline(t).Snapshot(t.Context(), adapters.Ref{ID: reviews.ID, Revision: first}, AdapterFiles(), "")
	if err != nil || len(old.Files) != 3 {
		t.Errorf("%+v, %v", old, err)
	}
}

func TestAccess(t *testing.T) {
	server, _ := start(t)
	for id, repo := range map[string]hubtest.Repo{
		"alice/private": {Private: true},
		"alice/gated":   {Gated: true, Granted: []string{"carol"}},
	} {
		server.Create(id, repo)
		server.Commit(id, "main", "add", adapter())
	}
	server.AddToken("hf_carol", "carol")
	public := newClient(t, server, nil)
	owned := newClient(t, server, func(o *Options) { o.Token, o.CacheDir = alice, public.o.CacheDir })
	for _, tt := range []struct {
		c           *testClient
		repo, token string
		want        error
		says        string
	}{
		{public, "alice/private", "", ErrNotFound, "private one that needs another token"},
		{public, "alice/gated", "", ErrGated, "ask for access"},
		// From here on the files are in the cache.
		{public, "alice/private", alice, nil, ""},
		{public, "alice/gated", alice, nil, ""},
		{public, "alice/private", "", ErrNotFound, "private"},
		{public, "alice/private", bob, ErrNotFound, "private"},
		{public, "alice/private", "hf_nobody", ErrUnauthorized, "token is not valid"},
		{public, "alice/gated", "", ErrGated, "ask for access"},
		{public, "alice/gated", bob, ErrGated, "/alice/gated"},
		{public, "alice/gated", "hf_carol", nil, ""},
		{owned, "alice/private", "", nil, ""}, // by the client's own token
		{owned, "alice/gated", "", nil, ""},
		{owned, "alice/private", bob, ErrNotFound, ""}, // the caller's token comes first
	} {
		_, err := tt.c.Snapshot(t.Context(), adapters.Ref{ID: tt.repo}, AdapterFiles(), tt.token)
		if tt.want != nil {
			expect(t, err, tt.want, tt.says)
		} else if err != nil {
			t.Errorf("%s with %q: %v", tt.repo, tt.token, err)
		}
	}
}

func TestChoiceOfFiles(t *testing.T) {
	server, _ := start(t)
	server.Create("alice/old", hubtest.Repo{})
	server.Commit("alice/old", "main", "add", map[string][]byte{
		"adapter_config.json": []byte("{}"), "adapter_model.bin": []byte("pickle"), "sub/deep/file": {}, "valence.json": []byte("{}"),
	})
	c := newClient(t, server, nil)
	for _, tt := range []struct {
		files []File
		want  []string
		says  string // of the error, where files cannot be had
	}{
		{AdapterFiles(), []string{"adapter_config.json", "adapter_model.bin", "valence.json"}, ""},
		{[]File{{Names: []string{"sub/deep/file"}}}, []string{"sub/deep/file"}, ""},
		{[]File{{Names: []string{"a", "b"}}}, nil, "a or b: the repository has no such file"},
		{[]File{{Names: []string{"a", "b"}, Need: Optional}}, nil, ""},
		{nil, nil, ""},
	} {
		s, err := c.Snapshot(t.Context(), adapters.Ref{ID: "alice/old"}, tt.files, "")
		if tt.says != "" {
			expect(t, err, ErrNotFound, tt.says)
			continue
		}
		if err != nil || !reflect.DeepEqual(s.Files, tt.want) {
			t.Errorf("%v: %+v, %v", tt.files, s, err)
		}
	}
	for _, name := range []string{"", ".", "..", "../x", "/etc/passwd", "a//b", "a/../../b", `a\b`, "c:x", "a\x00"} {
		_, err := c.Snapshot(t.Context(), reviews, []File{{Names: []string{name}}}, "")
		expect(t, err, ErrInvalid, "relative path")
	}
	_, err := c.Snapshot(t.Context(), reviews, []File{{}}, "")
	expect(t, err, ErrInvalid, "without a name")
}

func TestLimits(t *testing.T) {
	server, _ := start(t)
	for limit, says := range map[int64]string{
		20:   "adapter_config.json: with its 21 bytes the files are larger than the limit of 20",
		2000: "adapter_model.safetensors: with its 2048 bytes",
		2105: "README.md: with its 37 bytes",
	} {
		c := newClient(t, server, func(o *Options) { o.MaxBytes = limit })
		server.Requests()
		_, err := c.pull(t, "")
		expect(t, err, ErrTooLarge, says)
		if seen := server.Requests(); count(seen, "GET", "/resolve/") != 0 {
			t.Error("something was fetched")
		}
	}
	newClient(t, server, func(o *Options) { o.MaxBytes = 2106 }).mustPull(t, "")
	c := newClient(t, server, nil)
	c.mustPull(t, "")
	small := c.offline(t)
	small.o.MaxBytes = 2000
	_, err := small.pull(t, "")
	expect(t, err, ErrTooLarge, "adapter_model.safetensors")
}

// What the Hub announces is checked before it is used as a file's name.
func TestStrangeAnnouncements(t *testing.T) {
	const commit = "1234567890123456789012345678901234567890"
	good := map[string][]string{"X-Repo-Commit": {commit}, "X-Linked-Etag": {`"` + strings.Repeat("a", 64) + `"`}, "X-Linked-Size": {"5"}}
	for name, value := range map[string]string{
		"X-Repo-Commit": "../../etc",
		"X-Linked-Etag": `"../../../etc/passwd"`,
		"X-Linked-Size": "-1",
	} {
		h := map[string][]string{}
		for n, v := range good {
			h[n] = v
		}
		h[name] = []string{value}
		if _, err := (target{repo: "a/b", file: "f"}).announced(h, commit); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s %s: %v", name, value, err)
		}
	}
	for _, etag := range []string{`W/"` + strings.Repeat("b", 40) + `"`, strings.Repeat("b", 40)} {
		h := map[string][]string{"X-Repo-Commit": {commit}, "Etag": {etag}, "Content-Length": {"0"}}
		meta, err := (target{}).announced(h, commit)
		if err != nil || meta != (metadata{strings.Repeat("b", 40), 0}) {
			t.Errorf("%s: %+v, %v", etag, meta, err)
		}
	}
}

func TestSnapshotOpens(t *testing.T) {
	server, _ := start(t)
	s := newClient(t, server, nil).mustPull(t, "")
	files, done, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	if data, err := fs.ReadFile(files, "adapter_config.json"); err != nil || !bytes.Equal(data, adapter()["adapter_config.json"]) {
		t.Errorf("%q, %v", data, err)
	}
	if err := os.Symlink("/etc/hosts", filepath.Join(s.Dir(), "outside")); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.ReadFile(files, "outside"); err == nil {
		t.Error("a link out of the cache is followed")
	}
	if err := done(); err != nil {
		t.Error(err)
	}
	_, _, err = (&Snapshot{root: filepath.Join(t.TempDir(), "none")}).Open()
	expect(t, err, ErrCache)
}
