package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"valence/adapters"
	"valence/adapters/hub"
	"valence/runtime/mt5/checkpoint"
)

// Bounds of a base from the Hub. The largest mT5, with 13 billion parameters in float32, has 52 GB.
const (
	maxBaseBytes   = 64 << 30
	maxBaseTimeout = 12 * time.Hour
)

// hubOptions are what the environment says of the Hub, as huggingface_hub reads it.
func hubOptions(log *slog.Logger) (hub.Options, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "" // needed only where no variable names the cache: FromEnv then says so
	}
	o, err := hub.FromEnv(os.Getenv, home)
	o.Log = log
	return o, err
}

// baseRef is the Hub repository that --base names: "owner/name" with an optional
// "@revision", where there is no such folder.
func baseRef(name string) (adapters.Ref, bool) {
	ref, err := adapters.ParseID(name)
	return ref, err == nil && strings.Contains(ref.ID, "/")
}

// pullBase fetches what the cache lacks of a base and gives its folder.
func pullBase(ctx context.Context, ref adapters.Ref, o openOptions) (string, error) {
	options, err := hubOptions(o.log)
	if err != nil {
		return "", err
	}
	options.MaxBytes, options.Timeout, options.Progress = maxBaseBytes, maxBaseTimeout, o.fetched
	client, err := hub.New(options)
	if err != nil {
		return "", err
	}
	files := []hub.File{
		{Names: []string{"config.json"}},
		{Names: []string{"tokenizer.json"}},
		{Names: []string{"model.safetensors", "model.safetensors.index.json"}},
		{Names: []string{"valence.json"}, Need: hub.Extra},
	}
	snapshot, err := client.Snapshot(ctx, ref, files, "")
	if err != nil {
		return "", err
	}
	if index := "model.safetensors.index.json"; slices.Contains(snapshot.Files, index) {
		shards, err := shardsOf(os.DirFS(snapshot.Dir()), index)
		if err != nil {
			return "", fmt.Errorf("%s at %s: %w", snapshot.Repo, snapshot.Commit, err)
		}
		// The commit, so that a branch that moves meanwhile mixes nothing.
		if _, err := client.Snapshot(ctx, adapters.Ref{ID: ref.ID, Revision: snapshot.Commit}, append(files, shards...), ""); err != nil {
			return "", err
		}
	}
	return snapshot.Dir(), nil
}

// shardsOf lists the files that an index names, each once.
func shardsOf(fsys fs.FS, index string) ([]hub.File, error) {
	data, err := fs.ReadFile(fsys, index)
	if err != nil {
		return nil, err
	}
	var content struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("%s: %w", index, err)
	}
	names := map[string]bool{}
	for tensor, name := range content.WeightMap {
		if filepath.Base(name) != name {
			return nil, fmt.Errorf("%s: weight_map: %s lies in %q, which is no file beside it", index, tensor, name)
		}
		names[name] = true
	}
	var files []hub.File
	for _, name := range slices.Sorted(maps.Keys(names)) {
		files = append(files, hub.File{Names: []string{name}})
	}
	return files, nil
}

// openHubBase opens a base of the Hub under the name that it was asked by.
func openHubBase(ctx context.Context, name string, ref adapters.Ref, o openOptions) (*checkpoint.Checkpoint, error) {
	dir, err := pullBase(ctx, ref, o)
	if err != nil {
		if errors.Is(err, hub.ErrNotFound) {
			return nil, fmt.Errorf("--base %s: there is no such folder, and on the Hub: %w", name, err)
		}
		return nil, fmt.Errorf("--base %s: %w", name, err)
	}
	base, err := checkpoint.Open(dir)
	if err != nil {
		return nil, err
	}
	base.Name = name + " at " + filepath.Base(dir)
	return base, nil
}
