package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"valence/adapters"
	"valence/adapters/store"
)

// undoTimeout bounds the time to take a change back that has failed.
const undoTimeout = 10 * time.Second

// Activate lets an id stand for one of its versions, which ref names. The version is
// loaded first, so that no row waits for it; one that cannot be is refused.
func (r *Registry) Activate(ctx context.Context, ref string) (adapters.Info, error) {
	parsed, err := r.localRef(ref)
	if err != nil {
		return adapters.Info{}, err
	}
	if parsed.Revision == "" {
		return adapters.Info{}, fmt.Errorf("%w %q: name the version, as in %s@v1", adapters.ErrID, ref, parsed.ID)
	}
	v, release, err := r.warm(ctx, parsed)
	if err != nil {
		return adapters.Info{}, err
	}
	defer release()
	return r.changed(ctx, parsed.ID, func() (store.Adapter, error) { return r.o.Store.Activate(ctx, parsed.ID, v.Number) })
}

// Pin keeps whatever version is active in memory, also after a restart. The version is
// loaded first; one that cannot be is refused.
func (r *Registry) Pin(ctx context.Context, id string) (adapters.Info, error) {
	id, err := r.localID(id)
	if err != nil {
		return adapters.Info{}, err
	}
	_, release, err := r.warm(ctx, adapters.Ref{ID: id})
	if err != nil {
		return adapters.Info{}, err
	}
	defer release()
	return r.changed(ctx, id, func() (store.Adapter, error) { return r.o.Store.SetPinned(ctx, id, true) })
}

// warm gives a version that is here, in memory until release.
func (r *Registry) warm(ctx context.Context, ref adapters.Ref) (v *version, release func(), err error) {
	if v, err = r.local(ref); err != nil {
		return nil, nil, err
	}
	lease, err := r.holdVersion(ctx, v)
	if err != nil {
		return nil, nil, err
	}
	return v, lease.Release, nil
}

// Unpin takes Pin back.
func (r *Registry) Unpin(ctx context.Context, id string) (adapters.Info, error) {
	id, err := r.localID(id)
	if err != nil {
		return adapters.Info{}, err
	}
	return r.changed(ctx, id, func() (store.Adapter, error) { return r.o.Store.SetPinned(ctx, id, false) })
}

// Rollback activates the version that was active before. It is loaded before any row
// of this server gets it. If it cannot be, the present one stays.
func (r *Registry) Rollback(ctx context.Context, id string) (adapters.Info, error) {
	id, err := r.localID(id)
	if err != nil {
		return adapters.Info{}, err
	}
	return r.changed(ctx, id, func() (store.Adapter, error) {
		before := r.catalogue.get(id)
		a, err := r.o.Store.Rollback(ctx, id)
		if err != nil {
			return a, err
		}
		v := newRecord(a, before).active()
		if v == nil {
			return a, nil
		}
		lease, err := r.holdVersion(ctx, v)
		if err != nil {
			return a, errors.Join(err, r.undo(ctx, id, before))
		}
		lease.Release()
		return a, nil
	})
}

// undo activates again what was active before a change.
func (r *Registry) undo(ctx context.Context, id string, before *record) error {
	v := before.active()
	if v == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	a, err := r.o.Store.Activate(ctx, id, v.Number)
	if err == nil {
		r.apply(a)
	}
	return storeError(err)
}

// Delete removes an adapter, or the one version that ref names, which must not be the
// active one. Rows under way finish; what nothing leases is freed at once.
func (r *Registry) Delete(ctx context.Context, ref string) error {
	parsed, err := r.localRef(ref)
	if err != nil {
		return err
	}
	if parsed.Revision == "" {
		return r.deleteAll(ctx, parsed.ID)
	}
	v, err := r.local(parsed)
	if err != nil {
		return err
	}
	return r.change(ctx, func() (store.Adapter, error) { return r.o.Store.DeleteVersion(ctx, parsed.ID, v.Number) })
}

func (r *Registry) deleteAll(ctx context.Context, id string) error {
	unlock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.o.Store.Delete(ctx, id); err != nil {
		return storeError(err)
	}
	r.remove(id)
	return nil
}

// change makes one change of the store and lets the catalogue follow before it is
// answered.
func (r *Registry) change(ctx context.Context, do func() (store.Adapter, error)) error {
	unlock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	a, err := do()
	if err != nil {
		return storeError(err)
	}
	r.apply(a)
	return nil
}

// changed is change, and tells of the adapter afterwards.
func (r *Registry) changed(ctx context.Context, id string, do func() (store.Adapter, error)) (adapters.Info, error) {
	if err := r.change(ctx, do); err != nil {
		return adapters.Info{}, err
	}
	return r.Info(ctx, id)
}

// apply lets the catalogue and the memory follow what the store says of an adapter.
func (r *Registry) apply(a store.Adapter) {
	r.forget(r.catalogue.set(a))
	r.pins.mark(a.ID)
}

// remove does the same where the store has the adapter no more.
func (r *Registry) remove(id string) {
	r.forget(r.catalogue.remove(id))
	r.pins.mark(id)
}

// forget drops versions that are gone from memory, with the mixtures that have them.
func (r *Registry) forget(gone []*version) {
	if len(gone) == 0 {
		return
	}
	keys := map[string]bool{}
	for _, v := range gone {
		keys[v.key] = true
	}
	r.cache.DropAll(func(key string) bool { return uses(key, keys) })
}
