package registry

import (
	"context"
	"sync"
	"time"
)

// pinRetry is when the loading of a pinned adapter that failed is tried again.
const pinRetry = 15 * time.Second

// pins are the adapters of which the pin, or the active version, may have changed.
type pins struct {
	mu      sync.Mutex
	changed map[string]bool
	wake    chan struct{} // holds one while there are any
}

func newPins() *pins { return &pins{changed: map[string]bool{}, wake: make(chan struct{}, 1)} }

func (p *pins) mark(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed[id] = true
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pins) take() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.changed
	p.changed = map[string]bool{}
	return changed
}

// keepPins keeps the active version of each pinned adapter in memory until ctx ends.
func (r *Registry) keepPins(ctx context.Context) {
	held := map[string]*version{}
	for {
		select {
		case <-r.pins.wake:
		case <-ctx.Done():
			return
		}
		for id := range r.pins.take() {
			if err := r.settle(ctx, held, id); err != nil && ctx.Err() == nil {
				r.o.Log.WarnContext(ctx, "a pinned adapter cannot be loaded; trying again", "adapter", id, "error", err, "wait", pinRetry)
				time.AfterFunc(pinRetry, func() { r.pins.mark(id) })
			}
		}
	}
}

// settle pins what should be, and then lets go of what should not any more.
func (r *Registry) settle(ctx context.Context, held map[string]*version, id string) error {
	want, have := r.pinned(id), held[id]
	if want == have {
		return nil
	}
	if want != nil {
		if err := r.checkBase(want); err != nil {
			return err
		}
		if err := r.cache.Pin(ctx, want.key, r.loader(want)); err != nil {
			return err
		}
		held[id] = want
	} else {
		delete(held, id)
	}
	if have != nil {
		r.cache.Unpin(have.key)
		if r.catalogue.get(id).number(have.Number) == nil { // pinned in the moment in which it was deleted
			r.cache.Drop(have.key)
		}
	}
	return nil
}

// pinned gives the version that should be kept in memory for an id, or nil.
func (r *Registry) pinned(id string) *version {
	record := r.catalogue.get(id)
	if record == nil || !record.Pinned || r.fixed[id] != nil {
		return nil
	}
	return record.active()
}
