// Package cache keeps loaded values, such as adapter versions, in memory under
// counted leases: bounded by bytes, least recently used first to go, with pins,
// one load at a time for each key, and a short memory for keys that cannot be had.
//
// To evict a value is to forget it: who holds a lease keeps using it, and its
// memory is freed when the last lease ends.
package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// ErrPanic is wrapped by the error of a load that panicked.
var ErrPanic = errors.New("cache: load panicked")

// Loaded is a value with what it costs.
type Loaded[V any] struct {
	Value  V
	Bytes  int64
	Source string // where it came from, for the metrics
}

// Load gets the value of a key that is not in memory. Its context ends when nobody
// waits for it any more. All loads of one key must give the same.
type Load[V any] func(ctx context.Context) (Loaded[V], error)

// Options configures a Cache.
type Options[V any] struct {
	// Free, if any, is told that nothing holds a value any more. It must not block,
	// nor call the cache.
	Free func(V)
	// MaxBytes bounds the values that the cache itself keeps. Pinned values and those
	// that only leases hold come on top.
	MaxBytes int64
	// Missing tells which errors of a Load are remembered for MissingFor: those that say
	// that there is no such thing, not those of a moment.
	Missing    func(error) bool
	MissingFor time.Duration
	Metrics    *Metrics         // nil counts without exporting
	Now        func() time.Time // nil is time.Now
}

// Cache is safe for concurrent use.
type Cache[V any] struct {
	o Options[V]

	mu      sync.Mutex
	kept    *simplelru.LRU[string, *entry[V]] // not pinned
	pinned  map[string]*entry[V]
	loading map[string]*flight[V]
	missing *simplelru.LRU[string, missed]
	bytes   int64 // of kept
}

// entry is a value in memory. Its fields but the value are guarded by Cache.mu.
type entry[V any] struct {
	Loaded[V]
	holders int // leases, and one for the cache while it keeps the value
}

type missed struct {
	err   error
	until time.Time
}

// maxMissing bounds the memory for keys that cannot be had, which callers may make up.
const maxMissing = 4096

// unbounded is more values than fit in any memory: bytes are the bound.
const unbounded = 1 << 30

// New makes an empty cache.
func New[V any](o Options[V]) (*Cache[V], error) {
	if o.MaxBytes < 0 {
		return nil, errors.New("cache: MaxBytes must not be negative")
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	kept, errKept := simplelru.NewLRU[string, *entry[V]](unbounded, nil)
	missing, errMissing := simplelru.NewLRU[string, missed](maxMissing, nil)
	if err := errors.Join(errKept, errMissing); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return &Cache[V]{o: o, kept: kept, pinned: map[string]*entry[V]{}, loading: map[string]*flight[V]{}, missing: missing}, nil
}

// Lease holds a value in memory until Release.
type Lease[V any] struct {
	cache *Cache[V]
	entry *entry[V]
	once  sync.Once
}

// Value is what is leased.
func (l *Lease[V]) Value() V { return l.entry.Value }

// Release ends the lease; more than once does nothing.
func (l *Lease[V]) Release() {
	l.once.Do(func() {
		l.cache.mu.Lock()
		defer l.cache.mu.Unlock()
		l.cache.drop(l.entry)
	})
}

// Lease gives the value of a key, from memory or by one load that all callers of
// that moment share. A caller whose context ends stops waiting; the load goes on
// for the others.
func (c *Cache[V]) Lease(ctx context.Context, key string, load Load[V]) (*Lease[V], error) {
	f, lease, err := c.begin(key, load)
	if f == nil {
		return lease, err
	}
	select {
	case <-f.done:
		return f.lease, f.err
	case <-ctx.Done():
		return nil, c.leave(key, f, context.Cause(ctx))
	}
}

// Held leases the value of a key if it is in memory, and loads nothing. It does not
// count as use: what is evicted next stays the same.
func (c *Cache[V]) Held(key string) (*Lease[V], bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.peek(key)
	if !ok {
		return nil, false
	}
	return c.lease(e), true
}

// begin gives a lease or an error at once, or the caller's place in a load.
func (c *Cache[V]) begin(key string, load Load[V]) (*waiter[V], *Lease[V], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.find(key); ok {
		c.o.Metrics.hits.Inc()
		return nil, c.lease(e), nil
	}
	if m, ok := c.missing.Get(key); ok {
		if c.o.Now().Before(m.until) {
			c.o.Metrics.hits.Inc()
			return nil, nil, m.err
		}
		c.missing.Remove(key)
	}
	c.o.Metrics.misses.Inc()
	f := c.loading[key]
	if f == nil {
		ctx, cancel := context.WithCancel(context.Background())
		f = &flight[V]{cancel: cancel}
		c.loading[key] = f
		go c.load(ctx, key, f, load)
	}
	w := &waiter[V]{flight: f, done: make(chan struct{})}
	f.waiters = append(f.waiters, w)
	return w, nil, nil
}

func (c *Cache[V]) find(key string) (*entry[V], bool) {
	if e, ok := c.pinned[key]; ok {
		return e, true
	}
	return c.kept.Get(key)
}

// peek is find, but leaves the order of eviction as it is.
func (c *Cache[V]) peek(key string) (*entry[V], bool) {
	if e, ok := c.pinned[key]; ok {
		return e, true
	}
	return c.kept.Peek(key)
}

func (c *Cache[V]) lease(e *entry[V]) *Lease[V] {
	e.holders++
	return &Lease[V]{cache: c, entry: e}
}

// drop takes one holder away and frees the value that has none left.
func (c *Cache[V]) drop(e *entry[V]) {
	e.holders--
	if e.holders == 0 && c.o.Free != nil {
		c.o.Free(e.Value)
	}
}

// flight is one load and those who wait for it.
type flight[V any] struct {
	cancel  context.CancelFunc
	waiters []*waiter[V]
	dropped bool // the key was dropped meanwhile: the value goes to the waiters and is not kept
}

type waiter[V any] struct {
	flight *flight[V]
	done   chan struct{} // closed when lease and err are set
	lease  *Lease[V]
	err    error
}

// leave takes a waiter off its load, which ends when nobody waits any more. If the
// load has ended in the same moment, its lease is given back.
func (c *Cache[V]) leave(key string, w *waiter[V], cause error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-w.done:
		if w.lease != nil {
			c.drop(w.lease.entry)
		}
		return cause
	default:
	}
	f := w.flight
	for i, other := range f.waiters {
		if other == w {
			f.waiters = append(f.waiters[:i], f.waiters[i+1:]...)
			break
		}
	}
	if len(f.waiters) == 0 {
		f.cancel()
		if c.loading[key] == f { // who comes now begins anew
			delete(c.loading, key)
		}
	}
	return cause
}

// load runs one load and hands its result to all who wait.
func (c *Cache[V]) load(ctx context.Context, key string, f *flight[V], load Load[V]) {
	defer f.cancel()
	start := c.o.Now()
	loaded, err := call(ctx, load)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loading[key] == f {
		delete(c.loading, key)
	}
	if err != nil {
		if len(f.waiters) > 0 && !f.dropped && c.o.Missing != nil && c.o.Missing(err) {
			c.missing.Add(key, missed{err, c.o.Now().Add(c.o.MissingFor)})
		}
		f.finish(func() (*Lease[V], error) { return nil, err })
		return
	}
	c.o.Metrics.load.WithLabelValues(loaded.Source).Observe(c.o.Now().Sub(start).Seconds())
	e := &entry[V]{Loaded: loaded, holders: 1} // held by this load until its end
	if len(f.waiters) > 0 && !f.dropped {
		c.keep(key, e)
	}
	f.finish(func() (*Lease[V], error) { return c.lease(e), nil })
	c.drop(e)
}

func (f *flight[V]) finish(result func() (*Lease[V], error)) {
	for _, w := range f.waiters {
		w.lease, w.err = result()
		close(w.done)
	}
	f.waiters = nil
}

// call runs a load; a panic of it becomes an error.
func call[V any](ctx context.Context, load Load[V]) (l Loaded[V], err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrPanic, v, debug.Stack())
		}
	}()
	return load(ctx)
}
