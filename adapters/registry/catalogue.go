package registry

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"valence/adapters"
	"valence/adapters/store"
)

// catalogue is what is known of the stored adapters without loading any.
type catalogue struct {
	mu       sync.RWMutex
	adapters map[string]*record
}

// record is one adapter as it was at its Sequence. It does not change, but for the count.
type record struct {
	store.Adapter // without its versions
	versions      []*version
	requests      *atomic.Int64
}

// version is one version of an adapter, the same for as long as it exists.
type version struct {
	store.Version                  // without its sidecar's text
	key           string           // names it in the cache
	sidecar       adapters.Sidecar // without its canaries; the zero value where it cannot be read: such a version is refused when it is loaded
	passed        atomic.Bool      // its canaries gave their scores in this process
	sum           atomic.Uint64    // of the files that have given its digest in this process, or 0
}

func newCatalogue() *catalogue { return &catalogue{adapters: map[string]*record{}} }

// get gives an adapter, or nil.
func (c *catalogue) get(id string) *record {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.adapters[id]
}

// all gives every adapter that has a version, by id.
func (c *catalogue) all() []*record {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]*record, 0, len(c.adapters))
	for _, id := range slices.Sorted(maps.Keys(c.adapters)) {
		if len(c.adapters[id].versions) > 0 {
			out = append(out, c.adapters[id])
		}
	}
	return out
}

// count tells how many adapters and versions there are.
func (c *catalogue) count() (adapters, versions int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, r := range c.adapters {
		versions += len(r.versions)
	}
	return len(c.adapters), versions
}

// set enters what the store says of an adapter, unless something newer is known, and
// gives the versions that are gone by it.
func (c *catalogue) set(a store.Adapter) (gone []*version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.adapters[a.ID]
	if old != nil && old.Sequence >= a.Sequence {
		return nil
	}
	c.adapters[a.ID] = newRecord(a, old)
	return old.without(a.Versions)
}

// remove forgets an adapter and gives its versions.
func (c *catalogue) remove(id string) (gone []*version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.adapters[id]
	delete(c.adapters, id)
	return old.without(nil)
}

func newRecord(a store.Adapter, old *record) *record {
	r := &record{Adapter: a, requests: new(atomic.Int64)}
	if old != nil {
		r.requests = old.requests
	}
	r.Versions = nil
	for _, v := range a.Versions {
		known := old.number(v.Number)
		if known == nil || known.Digest != v.Digest {
			known = newVersion(v)
		}
		r.versions = append(r.versions, known)
	}
	return r
}

func newVersion(v store.Version) *version {
	out := &version{Version: v, key: versionKey(v.Adapter, v.Number, v.Digest), sidecar: adapters.DefaultSidecar()}
	if v.Sidecar != nil {
		out.sidecar, _ = adapters.ParseSidecar(v.Sidecar) // loading says what is wrong with it
	}
	out.Sidecar, out.sidecar.Canary = nil, nil
	return out
}

func (v *version) name() string { return versionName(v.Number) }

func versionName(number int) string { return "v" + strconv.Itoa(number) }

// versionNumber reads a version's name, of the form "v1".
func versionNumber(name string) (number int, ok bool) {
	number, err := strconv.Atoi(strings.TrimPrefix(name, "v"))
	return number, err == nil && number > 0 && name == versionName(number)
}

// origin takes the repository and the commit of a version from the Hub apart.
func (v *version) origin() (repo, commit string) {
	repo, commit, _ = strings.Cut(v.Origin, "@")
	return repo, commit
}

// without gives the versions that are not among those that are left.
func (r *record) without(left []store.Version) (gone []*version) {
	if r == nil {
		return nil
	}
	for _, v := range r.versions {
		if !slices.ContainsFunc(left, func(l store.Version) bool { return l.Number == v.Number && l.Digest == v.Digest }) {
			gone = append(gone, v)
		}
	}
	return gone
}

// last gives the newest version that is as asked, or nil.
func (r *record) last(is func(*version) bool) *version {
	if r == nil {
		return nil
	}
	for _, v := range slices.Backward(r.versions) {
		if is(v) {
			return v
		}
	}
	return nil
}

// The following give a version of an adapter, or nil; the adapter may be nil.

func (r *record) number(n int) *version {
	return r.last(func(v *version) bool { return v.Number == n })
}

func (r *record) digest(d string) *version {
	return r.last(func(v *version) bool { return v.Digest == d })
}

func (r *record) commit(c string) *version {
	return r.last(func(v *version) bool {
		_, commit := v.origin()
		return v.Source == store.SourceHub && commit == c
	})
}

func (r *record) active() *version {
	return r.last(func(v *version) bool { return v.Number == r.Active })
}

// fromHub is the newest version that came from the Hub.
func (r *record) fromHub() *version {
	return r.last(func(v *version) bool { return v.Source == store.SourceHub })
}

// open tells whether there is a version that everybody may know of.
func (r *record) open() bool {
	return r.last(func(v *version) bool { return !v.Private }) != nil
}
