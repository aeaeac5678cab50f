package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Export writes everything but events and what holders keep into a new folder: the files
// of each version in adapters/<id>/v<number>, where PEFT can load them, and the rest in
// store.json. It is one state of the store, whatever changes meanwhile. Each file is
// checked against its hash. After each version, progress is told, unless it is nil.
//
// The folder appears at once and whole, synced, for its owner only: a crash leaves at
// worst a hidden folder ".valence-..." beside it. Where there is anything at dir the
// error wraps fs.ErrExist.
func (s *Store) Export(ctx context.Context, dir string, progress func(done, total int)) error {
	if err := s.export(ctx, dir, progress); err != nil {
		return fmt.Errorf("export to %s: %w", dir, translate(err))
	}
	return nil
}

func (s *Store) export(ctx context.Context, dir string, progress func(done, total int)) (err error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	temporary := filepath.Join(filepath.Dir(path), ".valence-"+rand.Text())
	if err := os.Mkdir(temporary, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temporary))
		}
	}()
	err = s.read(ctx, func(tx *sql.Tx) error {
		e := &exporter{ctx: ctx, tx: tx, dir: temporary, progress: progress}
		return e.run()
	})
	if err != nil {
		return err
	}
	if err := syncTree(temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil { // refuses a folder that is not empty
		return err
	}
	return syncPath(filepath.Dir(path))
}

// exporter writes one state of a store into a folder.
type exporter struct {
	ctx      context.Context
	tx       *sql.Tx
	dir      string
	progress func(done, total int)
	done     int
	total    int
}

func (e *exporter) run() error {
	all, err := list(e.ctx, e.tx, "")
	if err != nil {
		return err
	}
	numbers, err := e.numbers()
	if err != nil {
		return err
	}
	for _, a := range all {
		e.total += len(a.Versions)
	}
	m := &manifest{Format: manifestFormat}
	for _, a := range all {
		written, err := e.adapter(a)
		if err != nil {
			return err
		}
		written.Numbers = numbers[a.ID]
		delete(numbers, a.ID)
		m.Adapters = append(m.Adapters, written)
	}
	for _, id := range slices.Sorted(maps.Keys(numbers)) {
		m.Adapters = append(m.Adapters, manifestAdapter{ID: id, Deleted: true, Numbers: numbers[id]})
	}
	text, err := m.encode()
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(e.dir, manifestFile), append(text, '\n'))
}

// numbers gives all that were ever given, by adapter.
func (e *exporter) numbers() (map[string][]manifestNumber, error) {
	type given struct {
		adapter string
		manifestNumber
	}
	all, err := rows(e.ctx, e.tx, func(row scanner) (g given, err error) {
		err = row.Scan(&g.adapter, &g.Number, &g.Digest)
		return g, err
	}, "SELECT adapter, number, digest FROM numbers ORDER BY number")
	out := map[string][]manifestNumber{}
	for _, g := range all {
		out[g.adapter] = append(out[g.adapter], g.manifestNumber)
	}
	return out, err
}

func (e *exporter) adapter(a Adapter) (out manifestAdapter, err error) {
	out = manifestAdapter{ID: a.ID, Pinned: a.Pinned}
	history, err := rows(e.ctx, e.tx, func(row scanner) (n int, err error) {
		err = row.Scan(&n)
		return n, err
	}, "SELECT number FROM activations WHERE adapter = $1 ORDER BY sequence", a.ID)
	if err != nil {
		return out, err
	}
	if last := len(history) - 1; last >= 0 {
		out.Active, out.Earlier = history[last], history[:last]
	}
	for _, v := range a.Versions {
		written, err := e.version(v)
		if err != nil {
			return out, fmt.Errorf("version %d of %s: %w", v.Number, v.Adapter, err)
		}
		out.Versions = append(out.Versions, written)
		e.done++
		if e.progress != nil {
			e.progress(e.done, e.total)
		}
	}
	return out, nil
}

func (e *exporter) version(v Version) (out manifestVersion, err error) {
	out = manifestVersion{
		Number: v.Number, Digest: v.Digest, Base: v.Base, Source: v.Source, Origin: v.Origin, Private: v.Private,
		Created: v.Created, Sites: v.Sites, Parameters: v.Parameters, Files: map[string]manifestContent{},
	}
	files, err := filesOf(e.ctx, e.tx, v.Adapter, v.Number, digestOf)
	if err != nil {
		return out, err
	}
	dir := filepath.Join(e.dir, filepath.FromSlash(folder(v.Adapter, v.Number)))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return out, err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeNew(filepath.Join(dir, name), files[name]); err != nil {
			return out, err
		}
		out.Files[name] = manifestContent{digestOf(files[name]), int64(len(files[name]))}
	}
	return out, nil
}
