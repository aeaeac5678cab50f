package registry

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"valence/adapters"
	"valence/adapters/cache"
	"valence/adapters/peft"
	"valence/runtime/mt5/spec"
)

// jobRevision begins the revision "job:<id>", which stands for what a job has trained.
const jobRevision = "job:"

// LiveSource gives what a job of an adapter has trained so far. adapters.ErrNotFound is
// wrapped where there is no such job of it, or nothing yet.
type LiveSource func(ctx context.Context, id, job string) (adapters.Live, error)

// ServeLive lets "id@job:<job>" be leased: each lease gets the vectors of its moment.
// It is called once, before the first lease.
func (r *Registry) ServeLive(live LiveSource) { r.live = live }

// live is a moment of a training.
type live struct {
	ref   adapters.Ref
	state adapters.Live
}

// key names the moment. A step has the same vectors however often it is made: training
// is deterministic.
func (l *live) key() string { return l.prefix() + strconv.Itoa(l.state.Step) }

func (l *live) prefix() string { return l.ref.String() + "@" }

// findLive gives what a job stands for: its vectors of the moment or, once it has
// published, the version.
func (r *Registry) findLive(ctx context.Context, ref adapters.Ref) (source, error) {
	if r.live == nil {
		return source{}, unknown(ref)
	}
	state, err := r.live(ctx, ref.ID, strings.TrimPrefix(ref.Revision, jobRevision))
	if err != nil {
		return source{}, err
	}
	if state.Version == "" {
		return source{live: &live{ref, state}, count: new(atomic.Int64)}, nil
	}
	published := adapters.Ref{ID: ref.ID, Revision: state.Version}
	v, err := r.local(published)
	if err != nil {
		return source{}, fmt.Errorf("%s: %w", ref, err)
	}
	return ofVersion(r.catalogue.get(ref.ID), v), nil
}

// holdLive leases a moment. The moments before it are forgotten: nobody asks for them
// again.
func (r *Registry) holdLive(ctx context.Context, l *live) (*adapters.Lease, error) {
	current := l.key()
	lease, err := r.lease(ctx, current, func(context.Context) (cache.Loaded[*adapters.Entry], error) {
		e, err := r.compileLive(l)
		if err != nil {
			return cache.Loaded[*adapters.Entry]{}, fmt.Errorf("adapter %s: %w", l.ref, err)
		}
		return loaded(e, "job"), nil
	})
	if err == nil {
		r.cache.DropAll(func(key string) bool { return key != current && strings.HasPrefix(key, l.prefix()) })
	}
	return lease, err
}

func (r *Registry) compileLive(l *live) (*adapters.Entry, error) {
	vectors, err := spec.NewVectors(r.o.Model.DefaultSites(), l.state.Vectors)
	if err != nil {
		return nil, err
	}
	folder, err := peft.NewFolder(r.o.Model, peft.DefaultConfig(r.o.Model), vectors, l.state.Sidecar)
	if err != nil {
		return nil, err
	}
	e, err := r.compile(l.ref.ID, folder)
	if err != nil {
		return nil, err
	}
	e.Version = l.ref.Revision
	return e, nil
}
