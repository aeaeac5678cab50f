// Package registry answers with adapters: it knows which version an id stands for,
// keeps what is used in memory, gets what is missing from the store or the Hub, and
// makes changes durable before it answers for them.
//
// What is known of the adapters is held in memory and follows the store, whoever
// changes it, so that to find a version costs no query. A version is read, checked
// against its digest and asked for its canary rows before it answers anything. Its
// canaries are asked once in a process: afterwards the digest says that it is the same.
//
// Rows answer with the version that they lease, whatever is activated, evicted or
// deleted meanwhile; its memory is freed with its last lease.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"valence/adapters"
	"valence/adapters/cache"
	"valence/adapters/hub"
	"valence/adapters/store"
	"valence/runtime/engine"
	"valence/runtime/mt5/spec"
)

// Store keeps adapters. It is met by *store.Store.
type Store interface {
	Publish(ctx context.Context, v store.NewVersion) (store.Adapter, store.Version, error)
	Activate(ctx context.Context, id string, number int) (store.Adapter, error)
	Rollback(ctx context.Context, id string) (store.Adapter, error)
	SetPinned(ctx context.Context, id string, pinned bool) (store.Adapter, error)
	Delete(ctx context.Context, id string) error
	DeleteVersion(ctx context.Context, id string, number int) (store.Adapter, error)
	Adapters(ctx context.Context) ([]store.Adapter, int64, error)
	Adapter(ctx context.Context, id string) (store.Adapter, error)
	Files(ctx context.Context, id string, number int) (map[string][]byte, error)
	Unchecked(ctx context.Context, id string, number int) (map[string][]byte, error)
	Watch(ctx context.Context, after int64, changed func([]store.Event)) error
}

// Hub has repositories of adapters. It is met by *hub.Client.
type Hub interface {
	Resolve(ctx context.Context, ref adapters.Ref, token string) (string, error)
	Snapshot(ctx context.Context, ref adapters.Ref, files []hub.File, token string) (*hub.Snapshot, error)
	Push(ctx context.Context, p hub.Push) (string, error)
}

// Engine compiles tasks and answers rows. It is met by *engine.Engine.
type Engine interface {
	adapters.Predictor
	NewTask(s engine.TaskSpec) (*engine.Task, error)
}

// DefaultMissingFor is how long a failure that time alone will not cure is remembered.
const DefaultMissingFor = time.Minute

// askedFor is how long the Hub's word is believed: that a token may read a repository,
// and which commit a branch or tag stands for.
const askedFor = time.Minute

// Options configures a Registry. Store, Engine, Model, Base and Log are needed.
type Options struct {
	Store  Store
	Engine Engine
	Model  *spec.Config      // of the base
	Base   *adapters.Entry   // the base itself, whose id is adapters.BaseID
	Fixed  []*adapters.Entry // of the configuration; they come before stored ones of the same id

	Hub         Hub    // nil: there is no Hub
	HubPull     bool   // an adapter that is not here is pulled when it is first asked for
	HubOffline  bool   // the Hub's cache answers for it, so that nobody's token can be checked
	HubEndpoint string // for the addresses of what is pushed; "" is hub.DefaultEndpoint

	// CanaryTolerance is what adapters.CanaryTolerance says of the engine's precision; 0
	// is that of float32.
	CanaryTolerance float64
	CacheBytes      int64 // bound of the adapters in memory; pinned and leased ones come on top
	// Free, if any, is told that vectors are leased by nothing any more, to drop their
	// copies on the device; each once. It may block: calls come one at a time, on a
	// goroutine for them.
	Free       func([]*spec.Vectors)
	MissingFor time.Duration // 0 is DefaultMissingFor
	Registerer prometheus.Registerer
	Log        *slog.Logger
	Now        func() time.Time // nil is time.Now
}

func (o *Options) check() error {
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"Store", o.Store == nil}, {"Engine", o.Engine == nil}, {"Model", o.Model == nil}, {"Base", o.Base == nil}, {"Log", o.Log == nil},
	} {
		if f.missing {
			return fmt.Errorf("registry: Options.%s is missing", f.name)
		}
	}
	if o.CanaryTolerance == 0 {
		o.CanaryTolerance = adapters.CanaryTolerance("float32")
	}
	if o.MissingFor == 0 {
		o.MissingFor = DefaultMissingFor
	}
	if o.HubEndpoint = strings.TrimRight(o.HubEndpoint, "/"); o.HubEndpoint == "" {
		o.HubEndpoint = hub.DefaultEndpoint
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// Registry is safe for concurrent use.
type Registry struct {
	o         Options
	base      *fixed
	fixed     map[string]*fixed // the base among them
	catalogue *catalogue
	cache     *cache.Cache[*adapters.Entry]
	freeing   *reaper
	metrics   *metrics
	live      LiveSource // or nil; see ServeLive

	// flights keeps nothing: it is there for its single flights and its memory of
	// failures, of pulls and of checks of tokens.
	flights   *cache.Cache[int]
	granted   *memory[struct{}] // repositories that tokens may read
	revisions *memory[int]      // version numbers of what stands on the Hub

	changing chan struct{} // holds one while the store is changed, or read to be followed
	pins     *pins
	stop     context.CancelFunc
	stopped  chan struct{} // closed when the background work has ended
}

// New reads what the store has and begins to follow it, until Close. No adapter is
// loaded; pinned ones are from now on, in the background.
func New(ctx context.Context, o Options) (*Registry, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &Registry{
		o: o, catalogue: newCatalogue(), changing: make(chan struct{}, 1), stopped: make(chan struct{}),
		freeing: newReaper(o.Free), granted: newMemory[struct{}](o.Now), revisions: newMemory[int](o.Now),
	}
	if err := r.takeFixed(); err != nil {
		return nil, err
	}
	stored, sequence, err := o.Store.Adapters(ctx)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	r.pins = newPins()
	for _, a := range stored {
		r.takeStored(ctx, a)
	}
	if r.metrics, err = newMetrics(o.Registerer, r.catalogue); err != nil {
		return nil, err
	}
	if err := r.makeCaches(); err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	go r.background(background, sequence)
	return r, nil
}

// takeFixed indexes the base and the adapters of the configuration.
func (r *Registry) takeFixed() error {
	static, err := adapters.NewStatic(r.o.Base, r.o.Fixed...) // checks the ids
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	r.fixed = map[string]*fixed{}
	for _, e := range static.List() {
		r.fixed[e.ID] = &fixed{entry: e, base: r.o.Base.Digest}
	}
	r.base = r.fixed[adapters.BaseID]
	r.base.base = ""
	return nil
}

// takeStored enters an adapter at the start, and warns of what will not answer.
func (r *Registry) takeStored(ctx context.Context, a store.Adapter) {
	r.catalogue.set(a)
	if r.fixed[a.ID] != nil {
		r.o.Log.WarnContext(ctx, "a stored adapter is hidden by one of the configuration", "adapter", a.ID)
	}
	if v := r.catalogue.get(a.ID).active(); v != nil && v.Base != r.o.Base.Digest {
		r.o.Log.WarnContext(ctx, "an adapter does not answer, being made for another base", "adapter", a.ID, "base", v.Base)
	}
	if a.Pinned {
		r.pins.mark(a.ID)
	}
}

func (r *Registry) makeCaches() (err error) {
	r.cache, err = cache.New(cache.Options[*adapters.Entry]{
		MaxBytes: r.o.CacheBytes, Missing: lasting, MissingFor: r.o.MissingFor, Now: r.o.Now,
		Metrics: cache.NewMetrics(r.o.Registerer),
		Free:    func(e *adapters.Entry) { r.freeing.add(e.Vectors) },
	})
	if err != nil {
		return err
	}
	r.flights, err = cache.New(cache.Options[int]{Missing: lasting, MissingFor: r.o.MissingFor, Now: r.o.Now})
	return err
}

// background follows the store and keeps pinned adapters in memory until ctx ends.
func (r *Registry) background(ctx context.Context, sequence int64) {
	defer close(r.stopped)
	pinned := make(chan struct{})
	go func() {
		defer close(pinned)
		r.keepPins(ctx)
	}()
	r.follow(ctx, sequence)
	<-pinned
}

// Close ends the background work and frees what is not leased. Nothing may be asked
// afterwards, but leases may be released: their memory is freed then. The error is
// that of ctx, if it ended before all was done.
func (r *Registry) Close(ctx context.Context) error {
	r.stop()
	select {
	case <-r.stopped:
	case <-ctx.Done():
		return fmt.Errorf("registry: close: %w", ctx.Err())
	}
	r.cache.DropAll(func(string) bool { return true })
	if err := r.freeing.wait(ctx); err != nil {
		return fmt.Errorf("registry: close: %w", err)
	}
	return nil
}

// lock lets one change of the store be made at a time, so that what is read of it
// reaches the catalogue in order.
func (r *Registry) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case r.changing <- struct{}{}:
		return func() { <-r.changing }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("registry: waiting for another change: %w", context.Cause(ctx))
	}
}

// storeError gives an error of the store the meaning that callers know, and its detail.
func storeError(err error) error {
	meaning := error(nil)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		meaning = adapters.ErrNotFound
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrActive), errors.Is(err, store.ErrNoEarlier):
		meaning = adapters.ErrConflict
	default:
		return fmt.Errorf("registry: %w", err)
	}
	return fmt.Errorf("%w: %w", meaning, err)
}

// localID reads an id without a revision of an adapter that can be changed here.
func (r *Registry) localID(id string) (string, error) {
	ref, err := r.localRef(id)
	if err == nil && ref.Revision != "" {
		err = fmt.Errorf("%w %q: give it without a revision", adapters.ErrID, id)
	}
	return ref.ID, err
}

// localRef reads an id, with or without a revision, of an adapter that can be changed
// here. An id that only the rules for ids allow is fine: it may be a new one.
func (r *Registry) localRef(s string) (adapters.Ref, error) {
	ref, err := adapters.ParseID(s)
	if err != nil {
		return adapters.Ref{}, err
	}
	if r.fixed[ref.ID] != nil {
		return adapters.Ref{}, fmt.Errorf("%w: %q: choose another id", adapters.ErrFixed, ref.ID)
	}
	return ref, nil
}

// isRepo tells whether an id can name a repository of the Hub. Those without an owner
// are names of this server alone.
func isRepo(id string) bool { return strings.Contains(id, "/") }
