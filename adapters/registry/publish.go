package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"valence/adapters"
	"valence/adapters/cache"
	"valence/adapters/peft"
	"valence/adapters/store"
)

// candidate is a checked folder on its way into the store.
type candidate struct {
	folder   *peft.Folder
	entry    *adapters.Entry // without a version
	files    map[string][]byte
	source   string
	origin   string
	private  bool
	activate bool
	ifActive *int
	taken    *atomic.Bool // the vectors are the cache's, or freed
}

// discard frees a candidate's vectors, which its canaries have brought onto the device,
// unless the cache has taken them over.
func (r *Registry) discard(c candidate) {
	if !c.taken.Swap(true) && len(c.entry.Sidecar.Canary) > 0 {
		r.freeing.add(c.entry.Vectors)
	}
}

func (r *Registry) newVersion(c candidate) store.NewVersion {
	return store.NewVersion{
		Adapter: c.entry.ID, Digest: c.entry.Digest, Base: r.o.Base.Digest, Source: c.source, Origin: c.origin, Private: c.private,
		Sites: c.entry.Sites, Parameters: c.entry.Parameters, Files: c.files, Activate: c.activate, IfActive: c.ifActive,
	}
}

// publish makes a candidate a version. If it is to be active, it is in memory before
// the first row asks for it.
func (r *Registry) publish(ctx context.Context, c candidate) (adapters.Published, error) {
	present, release, err := r.present(ctx, c)
	if err != nil {
		return adapters.Published{}, err
	}
	defer release()
	unlock, err := r.lock(ctx)
	if err != nil {
		return adapters.Published{}, err
	}
	defer unlock()
	known := r.catalogue.get(c.entry.ID).digest(c.entry.Digest)
	a, stored, err := r.o.Store.Publish(ctx, r.newVersion(c))
	if err != nil {
		return adapters.Published{}, storeError(err)
	}
	// Another server may have stored the same digest with other canaries a moment ago.
	same := present == nil && bytes.Equal(stored.Sidecar, c.folder.Sidecar)
	if same {
		defer r.adopt(ctx, stored, c)()
	}
	r.apply(a)
	if v := r.catalogue.get(a.ID).number(stored.Number); same && v != nil {
		v.passed.Store(true)
	}
	info, err := r.Info(ctx, a.ID)
	return adapters.Published{Version: versionName(stored.Number), New: known == nil, Info: info}, err
}

// present gives the version that has a candidate's digest already, or nil, under a
// lease if it is to be active.
func (r *Registry) present(ctx context.Context, c candidate) (v *version, release func(), err error) {
	release = func() {}
	v = r.catalogue.get(c.entry.ID).digest(c.entry.Digest)
	switch {
	case v == nil:
		return nil, release, nil
	case v.Base != r.o.Base.Digest:
		return nil, nil, fmt.Errorf("%w: %s@%s has the same digest and is for %s; the server has %s: delete that version first",
			adapters.ErrWrongBase, v.Adapter, v.name(), v.Base, r.o.Base.Digest)
	case v.Private && c.source == store.SourceUpload:
		return nil, nil, fmt.Errorf("%w: %s@%s has the same digest and is private, being from a private repository: delete that version first",
			adapters.ErrConflict, v.Adapter, v.name())
	case !c.activate:
		return v, release, nil
	}
	lease, err := r.holdVersion(ctx, v)
	switch {
	case errors.Is(err, store.ErrCorrupt): // publishing the same files repairs them
		return v, func() { r.forget([]*version{v}) }, nil
	case err != nil:
		return nil, nil, err
	}
	return v, lease.Release, nil
}

// adopt puts a candidate that has become a version in memory, as a load would, if it is
// to be active. The lease keeps it there until release.
func (r *Registry) adopt(ctx context.Context, v store.Version, c candidate) (release func()) {
	if !c.activate {
		return func() {}
	}
	e := *c.entry
	e.Version = versionName(v.Number)
	lease, err := r.lease(ctx, versionKey(v.Adapter, v.Number, v.Digest), func(context.Context) (cache.Loaded[*adapters.Entry], error) {
		if c.taken.Swap(true) { // nobody waits any more
			return cache.Loaded[*adapters.Entry]{}, context.Canceled
		}
		return loaded(&e, v.Source), nil
	})
	if err != nil { // the caller has left: it is loaded when it is asked for
		return func() {}
	}
	return lease.Release
}
