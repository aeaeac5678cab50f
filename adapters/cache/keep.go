package cache

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// keep makes the cache a holder of a value, then evicts what is too much. A key that
// got a value by a pin while it loaded keeps that one.
func (c *Cache[V]) keep(key string, e *entry[V]) {
	if c.pinned[key] != nil || c.kept.Contains(key) {
		return
	}
	e.holders++
	c.kept.Add(key, e)
	c.bytes += e.Bytes
	c.o.Metrics.resident(1, e.Bytes)
	c.evict()
}

// evict forgets the least recently used values until the rest fits.
func (c *Cache[V]) evict() {
	for c.bytes > c.o.MaxBytes {
		_, e, ok := c.kept.RemoveOldest()
		if !ok {
			return
		}
		c.bytes -= e.Bytes
		c.o.Metrics.evictions.Inc()
		c.forget(e)
	}
}

// forget ends the cache's own hold of a value that is in no list any more.
func (c *Cache[V]) forget(e *entry[V]) {
	c.o.Metrics.resident(-1, -e.Bytes)
	c.drop(e)
}

// Drop forgets a key: its value if there is one, and that it could not be had. What
// is leased is freed with its last lease. It tells whether there was a value.
func (c *Cache[V]) Drop(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropKey(key)
}

// DropAll forgets every key that is chosen, also those that are loading, and tells how
// many values there were. choose must not call the cache.
func (c *Cache[V]) DropAll(choose func(key string) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := slices.Concat(c.kept.Keys(), slices.Collect(maps.Keys(c.pinned)),
		slices.Collect(maps.Keys(c.loading)), c.missing.Keys())
	n := 0
	for _, key := range keys {
		if choose(key) && c.dropKey(key) {
			n++
		}
	}
	return n
}

func (c *Cache[V]) dropKey(key string) bool {
	c.missing.Remove(key)
	if f := c.loading[key]; f != nil {
		f.dropped = true
		delete(c.loading, key)
	}
	if e, ok := c.pinned[key]; ok {
		delete(c.pinned, key)
		c.forget(e)
		return true
	}
	e := c.unkeep(key)
	if e == nil {
		return false
	}
	c.forget(e)
	return true
}

// unkeep takes a value off the list of those that can be evicted, or gives nil. The
// cache's hold of it is the caller's now.
func (c *Cache[V]) unkeep(key string) *entry[V] {
	e, ok := c.kept.Peek(key)
	if !ok {
		return nil
	}
	c.kept.Remove(key)
	c.bytes -= e.Bytes
	return e
}

// Pin loads a key if need be and keeps its value until Unpin or Drop, whatever else
// needs memory.
func (c *Cache[V]) Pin(ctx context.Context, key string, load Load[V]) error {
	lease, err := c.Lease(ctx, key, load)
	if err != nil {
		return err
	}
	defer lease.Release()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pinned[key] != nil {
		return nil
	}
	e := c.unkeep(key)
	if e == nil { // evicted at once, being too large: the pin holds what is leased here
		e = lease.entry
		e.holders++
		c.o.Metrics.resident(1, e.Bytes)
	}
	c.pinned[key] = e
	return nil
}

// Unpin lets a pinned value be evicted again. It tells whether it was pinned.
func (c *Cache[V]) Unpin(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.pinned[key]
	if !ok {
		return false
	}
	delete(c.pinned, key)
	c.kept.Add(key, e)
	c.bytes += e.Bytes
	c.evict()
	return true
}

// Resident tells of one key that is in memory.
type Resident struct {
	Key    string
	Bytes  int64
	Leases int
	Pinned bool
}

// Look tells of one key, if it is in memory.
func (c *Cache[V]) Look(key string) (Resident, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.peek(key)
	if !ok {
		return Resident{}, false
	}
	return c.resident(key, e), true
}

func (c *Cache[V]) resident(key string, e *entry[V]) Resident {
	return Resident{key, e.Bytes, e.holders - 1, c.pinned[key] != nil}
}

// Resident lists what the cache keeps, by key.
func (c *Cache[V]) Resident() []Resident {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Resident
	for key, e := range c.pinned {
		out = append(out, c.resident(key, e))
	}
	for _, key := range c.kept.Keys() {
		e, _ := c.kept.Peek(key)
		out = append(out, c.resident(key, e))
	}
	slices.SortFunc(out, func(a, b Resident) int { return strings.Compare(a.Key, b.Key) })
	return out
}
