package registry

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"valence/adapters"
	"valence/adapters/cache"
)

// fixed is the base, or an adapter of the configuration: in memory for good.
type fixed struct {
	entry            *adapters.Entry
	base             string // digest of the base, "" for the base itself
	requests, leases atomic.Int64
}

func (f *fixed) lease() *adapters.Lease {
	f.leases.Add(1)
	return adapters.NewLease(f.entry, sync.OnceFunc(func() { f.leases.Add(-1) }))
}

// source is what a reference stands for: an entry of the configuration, a version, or a
// moment of a training.
type source struct {
	fixed   *fixed
	version *version
	live    *live
	count   *atomic.Int64 // of the requests
}

func ofFixed(f *fixed) source { return source{fixed: f, count: &f.requests} }

func ofVersion(r *record, v *version) source { return source{version: v, count: r.requests} }

func (s source) key() string {
	if s.fixed != nil {
		return s.fixed.entry.ID + "@" + s.fixed.entry.Version + "@" + s.fixed.entry.Digest
	}
	if s.live != nil {
		return s.live.key()
	}
	return s.version.key
}

// hold leases a source.
func (r *Registry) hold(ctx context.Context, s source) (*adapters.Lease, error) {
	if s.fixed != nil {
		return s.fixed.lease(), nil
	}
	if s.live != nil {
		return r.holdLive(ctx, s.live)
	}
	return r.holdVersion(ctx, s.version)
}

// holdVersion leases a version, which is loaded if need be.
func (r *Registry) holdVersion(ctx context.Context, v *version) (*adapters.Lease, error) {
	if err := r.checkBase(v); err != nil {
		return nil, err
	}
	return r.lease(ctx, v.key, r.loader(v))
}

func (r *Registry) checkBase(v *version) error {
	if v.Base == r.o.Base.Digest {
		return nil
	}
	return fmt.Errorf("%w: %s@%s is for %s; the server has %s", adapters.ErrWrongBase, v.Adapter, v.name(), v.Base, r.o.Base.Digest)
}

func (r *Registry) loader(v *version) cache.Load[*adapters.Entry] {
	return func(ctx context.Context) (cache.Loaded[*adapters.Entry], error) { return r.load(ctx, v) }
}

func (r *Registry) lease(ctx context.Context, key string, load cache.Load[*adapters.Entry]) (*adapters.Lease, error) {
	l, err := r.cache.Lease(ctx, key, load)
	if err != nil {
		return nil, err
	}
	return adapters.NewLease(l.Value(), l.Release), nil
}
