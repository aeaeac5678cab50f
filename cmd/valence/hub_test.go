package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"valence/adapters/hub/hubtest"
	"valence/runtime/builtin"
)

// hubWith starts a test Hub that has the builtin base as a repository, and makes the
// environment lead to it.
func hubWith(t *testing.T, id string) *hubtest.Server {
	t.Helper()
	server, err := hubtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	t.Setenv("HF_ENDPOINT", server.URL)
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	files := map[string][]byte{}
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer.json", "valence.json"} {
		if files[name], err = fs.ReadFile(builtin.Base(), name); err != nil {
			t.Fatal(err)
		}
	}
	server.AddToken("hf_owner", "acme")
	server.Create(id, hubtest.Repo{})
	server.Commit(id, "main", "add the base", files)
	return server
}

// A base of the Hub answers as the same files do from elsewhere, and is fetched once.
func TestBaseFromHub(t *testing.T) {
	hub := hubWith(t, "acme/base")
	answer := func(base string) string {
		t.Helper()
		var out, log bytes.Buffer
		args := []string{"predict", "--threads", "1", "--base", base, "I love this phone."}
		if status := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &log}); status != 0 {
			t.Fatalf("status %d\n%s", status, &log)
		}
		return out.String()
	}
	want := answer("builtin")
	if got := answer("acme/base"); got != want {
		t.Errorf("%s\n%s", got, want)
	}
	hub.Requests()
	t.Setenv("HF_HUB_OFFLINE", "1")
	if got := answer("acme/base@main"); got != want {
		t.Errorf("offline: %s\n%s", got, want)
	}
	if seen := hub.Requests(); len(seen) > 0 {
		t.Errorf("offline, the Hub was asked: %+v", seen)
	}
}

func TestBaseNotOnHub(t *testing.T) {
	hubWith(t, "acme/base")
	for base, want := range map[string]string{
		"acme/other":     "there is no such folder, and on the Hub",
		"acme/base@v9":   "v9",
		"acme/../base":   "there is no such folder",
		"./acme/missing": "there is no such folder",
		"missing":        "there is no such folder",
	} {
		var log bytes.Buffer
		status := run(t.Context(), []string{"predict", "--base", base, "text"}, streams{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &log})
		if status != 1 || !strings.Contains(log.String(), want) {
			t.Errorf("%s: status %d, %s", base, status, &log)
		}
	}
}

func TestShardsOf(t *testing.T) {
	index := func(files ...string) fstest.MapFS {
		weights := map[string]string{}
		for i, file := range files {
			weights[string(rune('a'+i))] = file
		}
		data, err := json.Marshal(map[string]any{"weight_map": weights})
		if err != nil {
			t.Fatal(err)
		}
		return fstest.MapFS{"index": {Data: data}}
	}
	files, err := shardsOf(index("2.safetensors", "1.safetensors", "2.safetensors"), "index")
	var names []string
	for _, f := range files {
		names = append(names, f.Names...)
	}
	if err != nil || !slices.Equal(names, []string{"1.safetensors", "2.safetensors"}) {
		t.Errorf("%v, %v", names, err)
	}
	for _, bad := range []string{"../x", "/etc/passwd", "a/b"} {
		if _, err := shardsOf(index(bad), "index"); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
