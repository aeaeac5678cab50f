package registry

import (
	"context"
	"sync"

	"valence/runtime/mt5/spec"
)

// reaper frees vectors on a goroutine of its own, which exists while there are any.
type reaper struct {
	free func([]*spec.Vectors) // or nil

	mu    sync.Mutex
	queue []*spec.Vectors
	done  chan struct{} // closed when the queue is empty; nil while it is
}

func newReaper(free func([]*spec.Vectors)) *reaper { return &reaper{free: free} }

// add takes vectors that nothing uses any more; nil are the base's, which stay.
func (r *reaper) add(v *spec.Vectors) {
	if v == nil || r.free == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, v)
	if r.done == nil {
		r.done = make(chan struct{})
		go r.run()
	}
}

func (r *reaper) run() {
	for {
		r.mu.Lock()
		queue := r.queue
		r.queue = nil
		if len(queue) == 0 {
			close(r.done)
			r.done = nil
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		r.free(queue)
	}
}

// wait waits until everything added before is freed.
func (r *reaper) wait(ctx context.Context) error {
	r.mu.Lock()
	done := r.done
	r.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
