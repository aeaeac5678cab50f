package registry

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"slices"

	"valence/adapters"
	"valence/adapters/cache"
	"valence/adapters/hub"
	"valence/adapters/peft"
	"valence/adapters/store"
	"valence/runtime/engine"
)

// load reads a version from the store and checks it.
func (r *Registry) load(ctx context.Context, v *version) (cache.Loaded[*adapters.Entry], error) {
	e, err := r.read(ctx, v)
	if err == nil && !v.passed.Load() {
		err = r.selfTest(ctx, e)
	}
	if err != nil {
		return cache.Loaded[*adapters.Entry]{}, fmt.Errorf("adapter %s@%s: %w", v.Adapter, v.name(), err)
	}
	v.passed.Store(true)
	return loaded(e, v.Source), nil
}

func loaded(e *adapters.Entry, source string) cache.Loaded[*adapters.Entry] {
	return cache.Loaded[*adapters.Entry]{Value: e, Bytes: bytesOf(e), Source: source}
}

// bytesOf is what an entry holds in memory, but for its labels and names.
func bytesOf(e *adapters.Entry) int64 {
	if e.Vectors == nil {
		return 0
	}
	return int64(len(e.Vectors.Data)) * 4
}

func (r *Registry) read(ctx context.Context, v *version) (*adapters.Entry, error) {
	files, err := r.o.Store.Unchecked(ctx, v.Adapter, v.Number)
	if err != nil {
		return nil, storeError(err)
	}
	folder, err := r.parse(v, files)
	if err != nil {
		if _, damage := r.o.Store.Files(ctx, v.Adapter, v.Number); damage != nil { // it names the file
			err = storeError(damage)
		}
		return nil, err
	}
	e, err := r.compile(v.Adapter, folder)
	if err != nil {
		return nil, err
	}
	e.Version = v.name()
	return e, nil
}

// parse trusts no file: the digest of what they say must be the version's. Files that gave it
// before are known again by a sum of their bytes, in a tenth of the time.
func (r *Registry) parse(v *version, files peft.Files) (*peft.Folder, error) {
	sum := sumOf(files)
	if v.sum.Load() == sum {
		return peft.ReadKnown(files, r.o.Model, v.Digest)
	}
	folder, err := peft.Read(files, r.o.Model)
	if err != nil {
		return nil, err
	}
	if folder.Digest != v.Digest {
		return nil, fmt.Errorf("%w: the files have the digest %s, not %s", store.ErrCorrupt, folder.Digest, v.Digest)
	}
	v.sum.Store(sum)
	return folder, nil
}

// castagnoli has an instruction of its own on the processors that libtorch is had for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf is a CRC-32C of the files with their names and lengths. It is never 0.
func sumOf(files peft.Files) uint64 {
	sum := crc32.New(castagnoli)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(sum, "%d %s %d ", len(name), name, len(files[name]))
		_, _ = sum.Write(files[name]) // a hash takes all
	}
	return 1<<32 | uint64(sum.Sum32())
}

// compile makes a folder ready to answer. The entry has no version yet, and its canaries
// are not asked.
func (r *Registry) compile(id string, folder *peft.Folder) (*adapters.Entry, error) {
	sidecar := adapters.DefaultSidecar()
	if folder.Sidecar != nil {
		var err error
		if sidecar, err = adapters.ParseSidecar(folder.Sidecar); err != nil {
			return nil, err
		}
	}
	spec := sidecar.TaskSpec(folder.Vectors)
	spec.Digest = folder.Digest
	task, err := r.o.Engine.NewTask(spec)
	if err != nil {
		return nil, err
	}
	return &adapters.Entry{
		ID: id, Digest: folder.Digest, Sidecar: sidecar, Task: task, Vectors: folder.Vectors,
		Sites: len(folder.Vectors.Sites), Parameters: len(folder.Vectors.Data),
	}, nil
}

// examine reads a folder that is not in the store yet, and does everything to it that a
// load does: what it refuses must not be kept. The caller frees the vectors.
func (r *Registry) examine(ctx context.Context, id string, files fs.FS) (*peft.Folder, *adapters.Entry, error) {
	folder, err := peft.Read(files, r.o.Model)
	if err != nil {
		return nil, nil, err
	}
	e, err := r.compile(id, folder)
	if err != nil {
		return nil, nil, err
	}
	return folder, e, r.selfTest(ctx, e)
}

// selfTest asks the canaries. The vectors of an entry that fails are freed: its rows
// have brought them onto the device.
func (r *Registry) selfTest(ctx context.Context, e *adapters.Entry) error {
	err := e.CheckCanaries(ctx, r.o.Engine, r.o.CanaryTolerance)
	if err != nil {
		r.freeing.add(e.Vectors)
	}
	return err
}

// lasting tells whether an error would be met again by who tries again at once: those
// about what a version, a mixture or a repository is, and not those of a moment.
func lasting(err error) bool {
	for _, passing := range []error{
		context.Canceled, context.DeadlineExceeded, engine.ErrBusy, engine.ErrClosed, engine.ErrRun, store.ErrBusy, hub.ErrUnavailable, hub.ErrRateLimited,
	} {
		if errors.Is(err, passing) {
			return false
		}
	}
	for _, kind := range []error{
		adapters.ErrNotFound, adapters.ErrCanary, adapters.ErrSidecar, adapters.ErrBlend, peft.ErrAdapter, engine.ErrTask, store.ErrCorrupt,
		hub.ErrNotFound, hub.ErrUnauthorized, hub.ErrGated, hub.ErrTooLarge,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
