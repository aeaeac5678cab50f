// Command client lets check_hub.py use package hub: it pulls an adapter's files into
// the cache that the environment names, or pushes a folder's, and prints the commit.
//
//	client pull <owner/name> <revision>
//	client push <owner/name> <folder>
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"valence/adapters"
	"valence/adapters/hub"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	home, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	options, err := hub.FromEnv(os.Getenv, home)
	if err != nil {
		return err
	}
	options.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	client, err := hub.New(options)
	if err != nil {
		return err
	}
	if len(args) != 3 {
		return errors.New("usage: client pull <owner/name> <revision>, or client push <owner/name> <folder>")
	}
	commit := ""
	if args[0] == "push" {
		commit, err = push(client, args[1], args[2])
	} else {
		commit, err = pull(client, args[1], args[2])
	}
	fmt.Println(commit)
	return err
}

func pull(client *hub.Client, id, revision string) (string, error) {
	s, err := client.Snapshot(context.Background(), adapters.Ref{ID: id, Revision: revision}, hub.AdapterFiles(), "")
	if err != nil {
		return "", err
	}
	return s.Commit, nil
}

func push(client *hub.Client, id, folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", err
	}
	p := hub.Push{Ref: adapters.Ref{ID: id}, Message: "push a folder", Create: true}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return "", err
		}
		p.Files = append(p.Files, hub.Upload{Path: entry.Name(), Data: data})
	}
	return client.Push(context.Background(), p)
}
