package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"valence/adapters"
)

// Need says what it means that a file cannot be had.
type Need int

// The needs.
const (
	Required Need = iota // it must be there
	Optional             // the repository may lack it, but whether it does must be known, offline too
	Extra                // offline it need not even be known
)

// File is one file of a snapshot.
type File struct {
	Names []string // the first of them that the repository has is taken; offline, that the cache has
	Need  Need
}

// AdapterFiles are the files of a PEFT adapter.
func AdapterFiles() []File {
	return []File{
		{Names: []string{"adapter_config.json"}},
		{Names: []string{"adapter_model.safetensors", "adapter_model.bin"}},
		{Names: []string{"valence.json"}, Need: Optional},
		{Names: []string{"README.md"}, Need: Extra},
	}
}

// Snapshot is a commit's files in the cache. Other files of the commit, which
// others asked for, may lie beside them.
type Snapshot struct {
	Repo   string
	Commit string
	Files  []string // those asked for that are there
	Bytes  int64    // of Files
	root   string   // the repository's folder in the cache
}

// Dir is the folder with the files. They are links that lead out of it: Open gives
// the same as a file system that can be read without leaving the repository's folder.
func (s *Snapshot) Dir() string { return filepath.Join(s.root, "snapshots", s.Commit) }

// Open gives the files as a file system, for use until close is called. No link is
// followed out of the repository's part of the cache.
func (s *Snapshot) Open() (files fs.FS, close func() error, err error) {
	root, err := os.OpenRoot(s.root)
	if err == nil {
		files, err = fs.Sub(root.FS(), path.Join("snapshots", s.Commit))
	}
	if err != nil {
		return nil, nil, target{repo: s.Repo, revision: s.Commit}.fail(ErrCache, err, "opening the snapshot")
	}
	return files, root.Close, nil
}

// Snapshot fetches those of the files that the cache lacks and gives the commit's
// folder. It resolves the revision and checks the token as Resolve does, and asks
// whether the token may read the files even if all are cached. Cached files are read
// and checked, and fetched again where they are damaged. Offline, the cache answers,
// or an error of the kind ErrOffline says what it lacks.
func (c *Client) Snapshot(ctx context.Context, ref adapters.Ref, files []File, token string) (*Snapshot, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	t, token, err := c.check(ref, token)
	if err != nil {
		return nil, err
	}
	if err := checkFiles(files); err != nil {
		return nil, err
	}
	start := c.now()
	commit, err := c.resolve(ctx, t, token)
	if err != nil {
		return nil, err
	}
	p := &pull{Client: c, target: t, folder: c.folder(t.repo), commit: commit, token: token}
	if c.o.Offline {
		err = p.local(files)
	} else {
		err = p.run(ctx, files)
	}
	if err != nil {
		return nil, err
	}
	c.log.InfoContext(ctx, "have a snapshot", "repo", t.repo, "revision", t.revision, "commit", commit,
		"files", len(p.have), "fetched", len(p.fetch), "bytes", p.bytes, "took", c.now().Sub(start).Round(time.Millisecond))
	return &Snapshot{Repo: t.repo, Commit: commit, Files: p.have, Bytes: p.bytes, root: p.folder.path}, nil
}

func checkFiles(files []File) error {
	for _, f := range files {
		if len(f.Names) == 0 {
			return fmt.Errorf("%w: a file without a name", ErrInvalid)
		}
		for _, name := range f.Names {
			if err := checkPath(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkPath allows paths that stay inside a repository, on any file system.
func checkPath(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\:\x00") {
		return fmt.Errorf("%w: file %.100q: a relative path with / and without .. is wanted", ErrInvalid, name)
	}
	return nil
}

// pull is one call of Snapshot.
type pull struct {
	*Client
	target
	folder folder
	commit string
	token  string

	have  []string
	bytes int64 // of have
	fetch []content

	finished int64 // bytes of the files that are fetched
}

// content is a file that must be fetched.
type content struct {
	name string
	metadata
}

// local takes what the cache has, asking nobody.
func (p *pull) local(files []File) error {
	for _, f := range files {
		if err := p.localFile(f); err != nil {
			return err
		}
	}
	return nil
}

func (p *pull) localFile(f File) error {
	known := true
	for _, name := range f.Names {
		found, size, err := p.folder.look(p.of(name), p.commit, p.o.MaxBytes)
		switch {
		case err != nil:
			return err
		case found == cached:
			return p.add(name, size)
		case found == unknown:
			known = false
		}
	}
	t := p.of(strings.Join(f.Names, " or "))
	switch {
	case f.Need == Required:
		return p.folder.missing(t, "this file")
	case f.Need == Optional && !known:
		return p.folder.unasked(t)
	}
	return nil
}

// add counts a file of the snapshot.
func (p *pull) add(name string, size int64) error {
	p.have = append(p.have, name)
	p.bytes += size
	if size > p.o.MaxBytes || p.bytes > p.o.MaxBytes {
		return p.of(name).fail(ErrTooLarge, nil, "with its %d bytes the files are larger than the limit of %d", size, p.o.MaxBytes)
	}
	return nil
}

// run asks for the files that the cache lacks, and fetches them.
func (p *pull) run(ctx context.Context, files []File) error {
	asked := false
	for _, f := range files {
		headed, err := p.find(ctx, f)
		if err != nil {
			return err
		}
		asked = asked || headed
	}
	if !asked && len(p.have) > 0 {
		if _, err := p.head(ctx, p.of(p.have[0]), p.commit, p.token); err != nil {
			return err
		}
	}
	for _, content := range p.fetch {
		if err := p.bring(ctx, content); err != nil {
			return err
		}
	}
	if err := p.folder.refer(p.revision, p.commit); err != nil {
		return p.fail(ErrCache, err, "recording the commit of the revision")
	}
	return nil
}

// find looks for the first of a file's names that the commit has. It tells whether
// the Hub let the token see a file.
func (p *pull) find(ctx context.Context, f File) (asked bool, err error) {
	for _, name := range f.Names {
		t := p.of(name)
		found, size, err := p.folder.look(t, p.commit, p.o.MaxBytes)
		switch {
		case errors.Is(err, ErrCorrupt):
			p.log.WarnContext(ctx, "fetching a damaged file of the cache again", "error", err)
		case err != nil:
			return asked, err
		case found == cached:
			return asked, p.add(name, size)
		}
		// A noted absence is for use offline: here the Hub's word is cheap, and fresh.
		meta, err := p.head(ctx, t, p.commit, p.token)
		if e, ok := errors.AsType[*Error](err); ok && e.code == codeEntry {
			if err := p.folder.note(p.commit, name); err != nil {
				return asked, t.fail(ErrCache, err, "recording that the repository lacks it")
			}
			continue
		}
		if err != nil {
			return asked, err
		}
		p.fetch = append(p.fetch, content{name, meta})
		return true, p.add(name, meta.size)
	}
	if f.Need == Required {
		return asked, p.of(strings.Join(f.Names, " or ")).fail(ErrNotFound, nil,
			"the repository has no such file at commit %s", p.commit)
	}
	return asked, nil
}
