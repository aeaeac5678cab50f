package hub

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"valence/adapters"
)

// layout reads layout.json, the cache as huggingface_hub leaves it.
func layout(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/layout.json")
	if err != nil {
		t.Fatal(err)
	}
	var entries map[string]string
	if err := json.Unmarshal(data, &entries); err != nil {
		t.Fatal(err)
	}
	return entries
}

// list reads a cache into the form of layout.json.
func list(t *testing.T, cache string) map[string]string {
	t.Helper()
	entries := map[string]string{}
	err := filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(cache, path)
		if err != nil {
			return err
		}
		if d.Type() == fs.ModeSymlink {
			to, err := os.Readlink(path)
			entries[name] = "link:" + to
			return err
		}
		data, err := os.ReadFile(path)
		entries[name] = "text:" + string(data)
		if bytes.ContainsFunc(data, func(r rune) bool { return r > '~' }) {
			entries[name] = "hex:" + hex.EncodeToString(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// lay makes a cache of the form of layout.json.
func lay(t *testing.T, cache string, entries map[string]string) {
	t.Helper()
	for name, entry := range entries {
		path := filepath.Join(cache, name)
		form, content, _ := strings.Cut(entry, ":")
		data := []byte(content)
		var err error
		if form == "hex" {
			data, err = hex.DecodeString(content)
		}
		if err == nil && form != "link" {
			err = write(path, data)
		} else if err == nil {
			err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.Symlink(content, path))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestCacheIsThatOfHuggingfaceHub(t *testing.T) {
	server, commit := start(t)
	c := newClient(t, server, nil)
	if s := c.mustPull(t, ""); s.Commit != commit || s.Bytes != 2106 {
		t.Errorf("%+v", s)
	}
	got, want := list(t, c.o.CacheDir), layout(t)
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: %q, where huggingface_hub has %q", name, got[name], want[name])
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("huggingface_hub has not %v", got)
	}
}

func TestOfflineFromCacheOfHuggingfaceHub(t *testing.T) {
	_, commit := start(t)
	c := newClient(t, nil, nil).offline(t)
	lay(t, c.o.CacheDir, layout(t))
	c.mustPull(t, "")
	for _, revision := range []string{"", "main", commit, commit[:7]} {
		s, err := c.Snapshot(t.Context(), adapters.Ref{ID: reviews.ID, Revision: revision}, AdapterFiles(), "")
		if err != nil || s.Commit != commit {
			t.Errorf("%q: %v", revision, err)
		}
	}
}

func TestOfflineLacks(t *testing.T) {
	const folder = "models--alice--reviews/"
	_, commit := start(t)
	snapshot := folder + "snapshots/" + commit + "/"
	for _, tt := range []struct {
		name     string
		remove   []string
		revision string
		want     error // nil: nothing is missed
		says     string
	}{
		{"everything", []string{folder}, "main", ErrOffline, "this revision is not in the cache"},
		{"the branch", []string{folder + "refs"}, "main", ErrOffline, "this revision is not in the cache"},
		{"another branch", nil, "next", ErrOffline, "alice/reviews@next"},
		{"another commit", nil, strings.Repeat("0", 40), ErrOffline, "adapter_config.json"},
		{"another short commit", nil, "00000", ErrOffline, "this revision"},
		{"the configuration", []string{snapshot + "adapter_config.json"}, "main", ErrOffline, "adapter_config.json: this file is not in the cache"},
		{"the weights", []string{snapshot + "adapter_model.safetensors"}, "main", ErrOffline, "adapter_model.safetensors or adapter_model.bin"},
		{"whether there is a sidecar", []string{folder + ".no_exist"}, "main", ErrOffline, "does not know whether the repository has this file: ask once with a network, by a pull without HF_HUB_OFFLINE or by \"hf download alice/reviews valence.json --revision main\""},
		{"the card", []string{snapshot + "README.md"}, "main", nil, ""},
		{"the content", []string{folder + "blobs"}, "main", ErrOffline, "adapter_config.json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, nil, nil).offline(t)
			lay(t, c.o.CacheDir, layout(t))
			for _, name := range tt.remove {
				if err := os.RemoveAll(filepath.Join(c.o.CacheDir, name)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := c.Snapshot(t.Context(), adapters.Ref{ID: reviews.ID, Revision: tt.revision}, AdapterFiles(), "")
			if tt.want == nil && err != nil {
				t.Error(err)
			} else if tt.want != nil {
				expect(t, err, tt.want, tt.says, "HF_HUB_OFFLINE", c.o.CacheDir)
			}
		})
	}
}

func TestOfflineAmbiguousCommit(t *testing.T) {
	c := newClient(t, nil, nil).offline(t)
	for _, digit := range []string{"1", "2"} {
		if err := os.MkdirAll(filepath.Dir(c.folder(reviews.ID).pointer("abcde"+strings.Repeat(digit, 35), "f")), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Resolve(t.Context(), adapters.Ref{ID: reviews.ID, Revision: "abcde"}, "")
	expect(t, err, ErrNotFound, "2 commits", "more digits")
}

func TestDamagedCache(t *testing.T) {
	server, _ := start(t)
	c := newClient(t, server, nil)
	s := c.mustPull(t, "")
	weights := filepath.Join(s.Dir(), "adapter_model.safetensors")
	for _, damage := range []func() error{
		func() error { return os.WriteFile(weights, bytes.Repeat([]byte{9}, 2048), 0o600) },
		func() error { return os.Truncate(weights, 5) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		_, err := c.offline(t).pull(t, "")
		expect(t, err, ErrCorrupt, "adapter_model.safetensors", "damaged; delete "+c.o.CacheDir)
		c.mustPull(t, "")
		if _, err := c.offline(t).pull(t, ""); err != nil {
			t.Error(err)
		}
	}
}

// A file system without links has copies in the snapshots.
func TestCopiesInPlaceOfLinks(t *testing.T) {
	server, commit := start(t)
	c := newClient(t, server, nil)
	for name, data := range adapter() {
		if err := write(c.folder(reviews.ID).pointer(commit, name), data); err != nil {
			t.Fatal(err)
		}
	}
	c.mustPull(t, "")
	c.offline(t).mustPull(t, "")
}

// Clients that pull the same at the same time fetch each file once.
func TestPullTogether(t *testing.T) {
	server, _ := start(t)
	first := newClient(t, server, nil)
	var all sync.WaitGroup
	for range 8 {
		c := newClient(t, server, func(o *Options) { o.CacheDir = first.o.CacheDir })
		all.Go(func() {
			if _, err := c.pull(t, ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	first.mustPull(t, "")
	if n := count(server.Requests(), "GET", objects); n != 1 {
		t.Errorf("the weights were fetched %d times", n)
	}
}

// Who waits for a lock that another holds stops when told.
func TestLockHeld(t *testing.T) {
	server, _ := start(t)
	c := newClient(t, server, nil)
	unlock, err := c.folder(reviews.ID).lock(t.Context(), gitHash(adapter()["adapter_config.json"]))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := c.Snapshot(ctx, reviews, AdapterFiles(), "")
		failed <- err
	}()
	for asked := 0; asked == 0; asked = count(server.Requests(), "HEAD", "/README.md") { // the last before the lock
		time.Sleep(time.Millisecond)
	}
	cancel()
	expect(t, <-failed, context.Canceled)
	unlock()
	c.mustPull(t, "")
}
