package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// soon is when something must have happened on the busiest machine.
const soon = 30 * time.Second

// watcher notes what it hears.
type watcher struct {
	mu     sync.Mutex
	events []store.Event
	heard  []time.Time
}

// watch follows a store until the test ends.
func watch(t testing.TB, s *store.Store, after int64) *watcher {
	w := &watcher{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Watch(ctx, after, w.note) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the watch ended with %v", err)
		}
	})
	return w
}

func (w *watcher) note(events []store.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, events...)
	for range events {
		w.heard = append(w.heard, time.Now())
	}
}

func (w *watcher) last() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) == 0 {
		return 0
	}
	return w.events[len(w.events)-1].Sequence
}

// await waits for an event.
func (w *watcher) await(t testing.TB, sequence int64) {
	t.Helper()
	until := time.Now().Add(soon)
	for w.last() < sequence {
		if time.Now().After(until) {
			t.Fatalf("event %d was not heard of; the last was %d", sequence, w.last())
		}
		time.Sleep(time.Millisecond)
	}
}

// gapless checks that all events after a sequence came, once and in order.
func (w *watcher) gapless(t testing.TB, after int64) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, e := range w.events {
		if e.Sequence != after+int64(i)+1 {
			t.Fatalf("event %d of the watch has sequence %d, after %d", i, e.Sequence, after)
		}
	}
}

func TestEvents(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		before := time.Now().UTC().Truncate(time.Microsecond)
		publish(t, s, activated("a", "one"))
		publish(t, s, version("a", "two"))
		must[store.Adapter](t)(s.DeleteVersion(t.Context(), "a", 2))
		if err := s.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		events := must[[]store.Event](t)(s.Events(t.Context(), 0, 100))
		if want := []string{"published", "activated", "published", "version_deleted", "deleted"}; !slices.Equal(kinds(events), want) {
			t.Errorf("%q", kinds(events))
		}
		if e := events[3]; e.Adapter != "a" || e.Number != 2 || e.Sequence != 4 || e.Time.Before(before) || e.Time.After(time.Now()) {
			t.Errorf("%+v", e)
		}
		if some := must[[]store.Event](t)(s.Events(t.Context(), 1, 2)); len(some) != 2 || some[0] != events[1] || some[1] != events[2] {
			t.Errorf("%+v", some)
		}
		if none := must[[]store.Event](t)(s.Events(t.Context(), 5, 2)); len(none) != 0 {
			t.Errorf("%+v", none)
		}
	})
}

func TestWatchBeginsWithWhatHasHappened(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for i := range 3 {
			publish(t, s, version("a", fmt.Sprint(i)))
		}
		w := watch(t, s, 1)
		w.await(t, 3)
		publish(t, s, activated("a", "0"))
		w.await(t, 4)
		w.gapless(t, 1)
	})
}

// TestTwoStores: each hears what the other changes, and sees it then.
func TestTwoStores(t *testing.T) {
	storetest.Each(t, func(t *testing.T, o store.Options) {
		one, two := storetest.Open(t, o), storetest.Open(t, o)
		watchers := map[*store.Store]*watcher{one: watch(t, two, 0), two: watch(t, one, 0)}
		var delays []time.Duration
		for i := range 20 {
			s := []*store.Store{one, two}[i%2]
			a, v := publish(t, s, version("a", fmt.Sprint(i)))
			done := time.Now()
			other := watchers[s]
			other.await(t, a.Sequence)
			other.mu.Lock()
			delays = append(delays, other.heard[a.Sequence-1].Sub(done))
			other.mu.Unlock()
			seen := must[store.Adapter](t)([]*store.Store{two, one}[i%2].Adapter(t.Context(), "a"))
			if got, ok := seen.Version(v.Number); !ok || got.Digest != v.Digest {
				t.Fatalf("version %d is not seen by the other", v.Number)
			}
			time.Sleep(rand.N(50 * time.Millisecond)) // at no fixed point of a polling interval
		}
		for _, w := range watchers {
			w.await(t, 20)
			w.gapless(t, 0)
		}
		slices.Sort(delays)
		t.Logf("heard after: median %v, longest %v", delays[len(delays)/2], delays[len(delays)-1])
		if delays[len(delays)/2] > 5*time.Second {
			t.Errorf("half of the changes were heard of after more than %v", delays[len(delays)/2])
		}
	})
}

// TestWatchSurvivesLostConnections ends every connection of the watching store, again
// and again, while another one changes things.
func TestWatchSurvivesLostConnections(t *testing.T) {
	storetest.Each(t, func(t *testing.T, o store.Options) {
		if o.URL == "" {
			t.Skip("SQLite has no connections to lose")
		}
		admin := storetest.Open(t, o)
		o.URL += "&application_name=watched"
		w := watch(t, storetest.Open(t, o), 0)
		for i := range 30 {
			publish(t, admin, version("a", fmt.Sprint(i)))
			if i%5 == 0 {
				w.await(t, int64(i+1)) // it is connected again
			}
			if _, err := admin.DB().Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'watched'"); err != nil {
				t.Fatal(err)
			}
		}
		w.await(t, 30)
		w.gapless(t, 0)
	})
}
