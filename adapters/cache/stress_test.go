package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestStress mixes everything: no value is freed while it is leased, each is freed
// once, and the bytes are those of what is kept.
func TestStress(t *testing.T) {
	h := start(t, 50)
	h.load = func(ctx context.Context, key string) error {
		if key == "k9" {
			return errMissing
		}
		time.Sleep(time.Duration(rand.IntN(50)) * time.Microsecond)
		return ctx.Err()
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 2000 {
				key := fmt.Sprintf("k%d", r.IntN(12))
				switch r.IntN(20) {
				case 0:
					h.Drop(key)
				case 1:
					_ = h.pin(t.Context(), key)
				case 2:
					h.Unpin(key)
				default:
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+r.IntN(200))*time.Microsecond)
					if l, err := h.ask(ctx, key); err == nil {
						if l.Value().key != key || l.Value().freed.Load() {
							t.Errorf("%s: wrong or freed value %s", key, l.Value().key)
						}
						l.Release()
					}
					cancel()
				}
			}
		})
	}
	wg.Wait()
	for h.waitingAny() {
		time.Sleep(time.Millisecond)
	}
	kept := int64(0)
	for _, r := range h.Resident() {
		if r.Leases != 0 {
			t.Errorf("%s has %d leases at rest", r.Key, r.Leases)
		}
		if !r.Pinned {
			kept += r.Bytes
		}
	}
	if h.bytes != kept || kept > 50 {
		t.Errorf("%d bytes counted, %d kept", h.bytes, kept)
	}
	for i := range 12 {
		h.Drop(fmt.Sprintf("k%d", i))
	}
	if n := testutil.ToFloat64(h.o.Metrics.bytes); n != 0 || h.keys() != "" {
		t.Errorf("%v bytes resident at the end", n)
	}
}

func (h *harness) waitingAny() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.loading) > 0
}
