package registry

import (
	"context"
	"errors"
	"time"

	"valence/adapters/store"
)

// Waits before what failed in the background is tried again.
const (
	firstRetry = 100 * time.Millisecond
	maxRetry   = 10 * time.Second
)

// follow lets the catalogue follow the changes that others make, until ctx ends.
func (r *Registry) follow(ctx context.Context, after int64) {
	r.persist(ctx, "following the store", func() error {
		err := r.o.Store.Watch(ctx, after, func(events []store.Event) {
			for id, sequence := range latest(events) {
				r.persist(ctx, "reading a changed adapter", func() error { return r.refresh(ctx, id, sequence) })
			}
			after = events[len(events)-1].Sequence
		})
		if err == nil && ctx.Err() == nil {
			err = errors.New("the store stopped telling of changes")
		}
		return err
	})
}

// latest gives the last change of each adapter.
func latest(events []store.Event) map[string]int64 {
	out := map[string]int64{}
	for _, e := range events {
		out[e.Adapter] = max(out[e.Adapter], e.Sequence)
	}
	return out
}

// persist does something until it succeeds or ctx ends, ever more rarely.
func (r *Registry) persist(ctx context.Context, what string, do func() error) {
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, maxRetry) {
		err := do()
		if err == nil || ctx.Err() != nil {
			return
		}
		r.o.Log.WarnContext(ctx, "failed; trying again", "what", what, "error", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// refresh reads an adapter anew, unless what is known is as new as a change, of which
// 0 is newer than all.
func (r *Registry) refresh(ctx context.Context, id string, sequence int64) error {
	unlock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if known := r.catalogue.get(id); known != nil && sequence > 0 && known.Sequence >= sequence {
		return nil
	}
	a, err := r.o.Store.Adapter(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		r.remove(id)
	case err != nil:
		return err
	default:
		r.apply(a)
	}
	return nil
}
