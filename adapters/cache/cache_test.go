package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// value knows whether it has been freed.
type value struct {
	key   string
	freed atomic.Bool
}

var errMissing = errors.New("no such adapter")

// harness counts loads and frees; each value costs 10 bytes.
type harness struct {
	*Cache[*value]
	loads, frees atomic.Int64
	now          atomic.Int64 // seconds
	load         func(ctx context.Context, key string) error
}

func start(t *testing.T, maxBytes int64) *harness {
	t.Helper()
	h := &harness{load: func(context.Context, string) error { return nil }}
	c, err := New(Options[*value]{
		MaxBytes: maxBytes,
		Free: func(v *value) {
			if v.freed.Swap(true) {
				t.Errorf("%s was freed twice", v.key)
			}
			h.frees.Add(1)
		},
		Missing:    func(err error) bool { return errors.Is(err, errMissing) },
		MissingFor: 5 * time.Second,
		Now:        func() time.Time { return time.Unix(h.now.Load(), 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Cache = c
	return h
}

// loader gives the load of a key.
func (h *harness) loader(key string) Load[*value] {
	return func(ctx context.Context) (Loaded[*value], error) {
		h.loads.Add(1)
		if err := h.load(ctx, key); err != nil {
			return Loaded[*value]{}, err
		}
		return Loaded[*value]{Value: &value{key: key}, Bytes: 10, Source: "test"}, nil
	}
}

func (h *harness) ask(ctx context.Context, key string) (*Lease[*value], error) {
	return h.Lease(ctx, key, h.loader(key))
}

func (h *harness) pin(ctx context.Context, key string) error { return h.Pin(ctx, key, h.loader(key)) }

func (h *harness) lease(t *testing.T, key string) *Lease[*value] {
	t.Helper()
	l, err := h.ask(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (h *harness) keys() string {
	out := ""
	for _, r := range h.Resident() {
		out += r.Key
	}
	return out
}

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	h := start(t, 30)
	for _, key := range []string{"a", "b", "c", "a", "d"} {
		h.lease(t, key).Release()
	}
	if h.keys() != "acd" || h.loads.Load() != 4 || h.frees.Load() != 1 {
		t.Errorf("resident %s, %d loads, %d frees", h.keys(), h.loads.Load(), h.frees.Load())
	}
	if n := testutil.ToFloat64(h.o.Metrics.evictions); n != 1 {
		t.Errorf("%v evictions", n)
	}
	if n := testutil.ToFloat64(h.o.Metrics.bytes); n != 30 {
		t.Errorf("%v bytes resident", n)
	}
}

func TestEvictedValueLivesWithItsLeases(t *testing.T) {
	h := start(t, 10)
	one, two := h.lease(t, "a"), h.lease(t, "a")
	h.lease(t, "b").Release()
	if h.keys() != "b" || one.Value().freed.Load() {
		t.Fatalf("resident %s, freed %v", h.keys(), one.Value().freed.Load())
	}
	one.Release()
	one.Release()
	if two.Value().freed.Load() {
		t.Error("freed under the second lease")
	}
	two.Release()
	if !two.Value().freed.Load() {
		t.Error("not freed with its last lease")
	}
}

func TestValueTooLargeIsAnsweredAndNotKept(t *testing.T) {
	h := start(t, 5)
	l := h.lease(t, "a")
	if h.keys() != "" || l.Value().freed.Load() {
		t.Errorf("resident %q", h.keys())
	}
	l.Release()
	if h.frees.Load() != 1 {
		t.Error("not freed")
	}
}

func TestOneLoadForAllWhoAskAtOnce(t *testing.T) {
	h := start(t, 100)
	begun, release := make(chan struct{}), make(chan struct{})
	h.load = func(context.Context, string) error { close(begun); <-release; return nil }
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { h.lease(t, "a").Release() })
	}
	<-begun
	close(release)
	wg.Wait()
	if n := h.loads.Load(); n != 1 {
		t.Errorf("%d loads", n)
	}
}

func TestWhoLeavesDoesNotTakeTheLoadAlong(t *testing.T) {
	h := start(t, 100)
	begun, release := make(chan struct{}), make(chan struct{})
	h.load = func(ctx context.Context, _ string) error {
		close(begun)
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { _, err := h.ask(gone, "a"); left <- err }()
	<-begun
	stays := make(chan error, 1)
	go func() {
		l, err := h.ask(t.Context(), "a")
		if err == nil {
			l.Release()
		}
		stays <- err
	}()
	for h.waiting("a") < 2 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left got %v", err)
	}
	close(release)
	if err := <-stays; err != nil {
		t.Errorf("who stayed got %v", err)
	}
}

func (h *harness) waiting(key string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.loading[key]; f != nil {
		return len(f.waiters)
	}
	return 0
}

func TestLoadEndsWhenNobodyWaits(t *testing.T) {
	h := start(t, 100)
	ended := make(chan error, 1)
	begun := make(chan struct{})
	h.load = func(ctx context.Context, _ string) error {
		close(begun)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil // too late: the value must be freed, not kept
	}
	gone, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := h.ask(gone, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the load's context: %v", err)
	}
	for h.frees.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if h.keys() != "" {
		t.Errorf("resident %s", h.keys())
	}
}

func TestMissingIsRememberedForAWhile(t *testing.T) {
	h := start(t, 100)
	fault := fmt.Errorf("%w: a", errMissing)
	h.load = func(context.Context, string) error { return fault }
	for range 3 {
		if _, err := h.ask(t.Context(), "a"); !errors.Is(err, errMissing) {
			t.Fatal(err)
		}
	}
	if n := h.loads.Load(); n != 1 {
		t.Errorf("%d loads while it is remembered", n)
	}
	h.now.Add(6)
	h.load = func(context.Context, string) error { return nil }
	h.lease(t, "a").Release()

	h.load = func(context.Context, string) error { return errors.New("network down") }
	for range 2 {
		if _, err := h.ask(t.Context(), "b"); err == nil {
			t.Fatal("no error")
		}
	}
	if n := h.loads.Load(); n != 4 {
		t.Errorf("%d loads: a passing fault was remembered", n)
	}
}

func TestDropForgetsEverythingOfAKey(t *testing.T) {
	h := start(t, 100)
	l := h.lease(t, "a")
	if !h.Drop("a") || h.Drop("a") || h.keys() != "" || l.Value().freed.Load() {
		t.Error("drop under a lease")
	}
	l.Release()
	if !l.Value().freed.Load() {
		t.Error("not freed")
	}
	begun, release := make(chan struct{}), make(chan struct{})
	h.load = func(context.Context, string) error { close(begun); <-release; return nil }
	done := make(chan *Lease[*value], 1)
	go func() { done <- h.lease(t, "b") }()
	<-begun
	h.Drop("b") // while it loads: the waiter is answered, the cache keeps nothing
	close(release)
	(<-done).Release()
	if h.keys() != "" || h.frees.Load() != 2 {
		t.Errorf("resident %s, %d frees", h.keys(), h.frees.Load())
	}
}

func TestPin(t *testing.T) {
	h := start(t, 20)
	for range 2 {
		if err := h.pin(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"b", "c", "d"} {
		h.lease(t, key).Release()
	}
	if h.keys() != "acd" {
		t.Errorf("resident %s", h.keys())
	}
	if !h.Unpin("a") || h.Unpin("a") || h.keys() != "ad" { // a is now the most recently used
		t.Errorf("resident %s", h.keys())
	}
	h.load = func(context.Context, string) error { return errMissing }
	if err := h.pin(t.Context(), "x"); !errors.Is(err, errMissing) {
		t.Errorf("%v", err)
	}
}

func TestHeldLoadsNothingAndCountsAsNoUse(t *testing.T) {
	h := start(t, 20)
	h.lease(t, "a").Release()
	h.lease(t, "b").Release()
	held, ok := h.Held("a")
	if _, other := h.Held("x"); !ok || other || h.loads.Load() != 2 {
		t.Fatalf("held %v, other %v, %d loads", ok, other, h.loads.Load())
	}
	if r, ok := h.Look("a"); !ok || r.Leases != 1 || r.Pinned || r.Bytes != 10 {
		t.Errorf("%+v", r)
	}
	h.lease(t, "c").Release()
	if _, ok := h.Look("a"); ok || h.keys() != "bc" || held.Value().freed.Load() {
		t.Errorf("resident %s", h.keys())
	}
	held.Release()
	if !held.Value().freed.Load() {
		t.Error("not freed")
	}
}

func TestDropAll(t *testing.T) {
	h := start(t, 100)
	for _, key := range []string{"a1", "a2", "b1"} {
		h.lease(t, key).Release()
	}
	if err := h.pin(t.Context(), "a3"); err != nil {
		t.Fatal(err)
	}
	h.load = func(context.Context, string) error { return errMissing }
	_, _ = h.ask(t.Context(), "a4")
	begun, release := make(chan struct{}), make(chan struct{})
	h.load = func(context.Context, string) error { close(begun); <-release; return nil }
	done := make(chan *Lease[*value], 1)
	go func() { done <- h.lease(t, "a5") }()
	<-begun
	if n := h.DropAll(func(key string) bool { return key[0] == 'a' }); n != 3 || h.keys() != "b1" {
		t.Errorf("%d dropped, resident %s", n, h.keys())
	}
	close(release)
	(<-done).Release()
	h.load = func(context.Context, string) error { return nil }
	h.lease(t, "a4").Release()
	if h.keys() != "a4b1" || h.frees.Load() != 4 {
		t.Errorf("resident %s, %d frees", h.keys(), h.frees.Load())
	}
}

func TestPanickingLoad(t *testing.T) {
	h := start(t, 20)
	h.load = func(context.Context, string) error { panic("broken") }
	if _, err := h.ask(t.Context(), "a"); !errors.Is(err, ErrPanic) {
		t.Errorf("%v", err)
	}
}
