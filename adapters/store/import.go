package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
)

// maxManifest bounds a store.json: about a hundred thousand versions.
const maxManifest = 256 << 20

// ImportReport tells what an import did.
type ImportReport struct {
	Adapters int // that were not here
	Versions int // that were not here
	Present  int // versions that were here already
}

// Import adds what Export wrote, all or nothing, in one transaction: other changes wait
// for its end, or give up with ErrBusy.
//
// A version whose number and digest are here already is left as it is. One that has
// another number here, or whose number is or ever was another version's, is an error
// that wraps ErrConflict and names it. An adapter that is not here gets its active
// version, its history and its pin from the export; one that is here keeps its own. What
// was deleted in the exported store stays here, and its numbers are not given again.
//
// Each file is checked against its hash in store.json, and none is read through a link
// that leads out of the folder. After each version, progress is told, unless it is nil.
func (s *Store) Import(ctx context.Context, dir string, progress func(done, total int)) (report ImportReport, err error) {
	i := &importer{progress: progress}
	if err := i.open(dir); err != nil {
		return ImportReport{}, fmt.Errorf("import %s: %w", dir, err)
	}
	defer func() { _ = i.root.Close() }()
	err = s.Change(ctx, func(t *Tx) error { return i.run(ctx, t) })
	if err != nil {
		return ImportReport{}, fmt.Errorf("import %s: %w", dir, err)
	}
	return i.report, nil
}

// importer adds the content of one folder.
type importer struct {
	root     *os.Root
	manifest *manifest
	progress func(done, total int)
	done     int
	total    int
	report   ImportReport
}

func (i *importer) open(dir string) (err error) {
	if i.root, err = os.OpenRoot(dir); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	text, err := i.readFile(manifestFile, maxManifest)
	if err == nil {
		i.manifest, err = parseManifest(text)
	}
	if err != nil {
		return errors.Join(err, i.root.Close())
	}
	for _, a := range i.manifest.Adapters {
		i.total += len(a.Versions)
	}
	return nil
}

// run looks for conflicts of all before it adds anything.
func (i *importer) run(ctx context.Context, t *Tx) error {
	i.done, i.report = 0, ImportReport{}
	present := make([]map[int]bool, len(i.manifest.Adapters))
	for n := range i.manifest.Adapters {
		a := &i.manifest.Adapters[n]
		here, err := t.present(ctx, a)
		if err != nil {
			return fmt.Errorf("%s: %w", a.ID, err)
		}
		present[n] = here
	}
	for n := range i.manifest.Adapters {
		a := &i.manifest.Adapters[n]
		if err := i.adapter(ctx, t, a, present[n]); err != nil {
			return fmt.Errorf("%s: %w", a.ID, err)
		}
	}
	return nil
}

// present gives the numbers of the versions that are here already, and ErrConflict if
// one cannot be added.
func (t *Tx) present(ctx context.Context, a *manifestAdapter) (map[int]bool, error) {
	for _, n := range a.Numbers {
		digest, found, err := one[string](ctx, t.sql, "SELECT digest FROM numbers WHERE adapter = $1 AND number = $2", a.ID, n.Number)
		if err != nil {
			return nil, err
		}
		if found && digest != n.Digest {
			return nil, fmt.Errorf("%w: version %d is, or was, another one here: %s, not %s", ErrConflict, n.Number, digest, n.Digest)
		}
	}
	here := map[int]bool{}
	for _, v := range a.Versions {
		number, found, err := one[int](ctx, t.sql, "SELECT number FROM versions WHERE adapter = $1 AND digest = $2", a.ID, v.Digest)
		if err != nil {
			return nil, err
		}
		if found && number != v.Number {
			return nil, fmt.Errorf("%w: version %d of the export is version %d here", ErrConflict, v.Number, number)
		}
		here[v.Number] = found
	}
	return here, nil
}

func (i *importer) adapter(ctx context.Context, t *Tx, a *manifestAdapter, present map[int]bool) error {
	for _, n := range a.Numbers {
		if _, err := exec(ctx, t.sql, `
			INSERT INTO numbers (adapter, number, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, a.ID, n.Number, n.Digest); err != nil {
			return err
		}
	}
	if a.Deleted {
		return nil
	}
	added, err := exec(ctx, t.sql, "INSERT INTO adapters (id, pinned, sequence) VALUES ($1, FALSE, 0) ON CONFLICT DO NOTHING", a.ID)
	if err != nil {
		return err
	}
	for n := range a.Versions {
		v := &a.Versions[n]
		if err := i.version(ctx, t, a.ID, v, present[v.Number]); err != nil {
			return fmt.Errorf("version %d: %w", v.Number, err)
		}
	}
	if added == 0 {
		return nil
	}
	i.report.Adapters++
	return t.restore(ctx, a)
}

// restore gives an adapter that is new here its active version, history and pin.
func (t *Tx) restore(ctx context.Context, a *manifestAdapter) error {
	for _, number := range append(slices.Clone(a.Earlier), a.Active) {
		if number == 0 {
			continue
		}
		if err := t.activate(ctx, a.ID, number); err != nil {
			return err
		}
	}
	if !a.Pinned {
		return nil
	}
	if _, err := exec(ctx, t.sql, "UPDATE adapters SET pinned = TRUE WHERE id = $1", a.ID); err != nil {
		return err
	}
	_, err := t.record(ctx, a.ID, Pinned, 0)
	return err
}

func (i *importer) version(ctx context.Context, t *Tx, id string, v *manifestVersion, present bool) error {
	files := make(map[string][]byte, len(v.Files))
	for _, name := range slices.Sorted(maps.Keys(v.Files)) {
		data, err := i.readFile(path.Join(folder(id, v.Number), name), v.Files[name].Bytes)
		if err == nil && digestOf(data) != v.Files[name].Digest {
			err = fmt.Errorf("%w: %s: it is not what %s says", ErrCorrupt, name, manifestFile)
		}
		if err != nil {
			return err
		}
		files[name] = data
	}
	store := func() error { return t.heal(ctx, files) }
	if !present {
		store = func() error { return t.insert(ctx, v.version(id), files) }
	}
	if err := store(); err != nil {
		return err
	}
	if present {
		i.report.Present++
	} else {
		i.report.Versions++
	}
	i.done++
	if i.progress != nil {
		i.progress(i.done, i.total)
	}
	return nil
}

// readFile reads a regular file of at most limit bytes.
func (i *importer) readFile(name string, limit int64) ([]byte, error) {
	info, err := i.root.Stat(name) // before opening, which can block on a pipe
	if err == nil && (!info.Mode().IsRegular() || info.Size() > limit) {
		err = fmt.Errorf("a regular file of at most %d bytes is wanted", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
	}
	f, err := i.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
	}
	return data, nil
}
