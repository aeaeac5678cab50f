package registry

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"valence/adapters"
	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// What one registry changes, another one with its own connections follows.
func TestTwoRegistries(t *testing.T) {
	storetest.Each(t, func(t *testing.T, o store.Options) {
		one, two := start(t, storetest.Open(t, o), nil), start(t, storetest.Open(t, o), nil)
		one.upload("a", 2, goodBad)
		eventually(t, "published", func() bool { i, err := two.Info(t.Context(), "a"); return err == nil && i.ActiveVersion() != nil })
		if two.ask("a") != 2 {
			t.Error("wrong vectors")
		}
		measureActivation(t, one, two)
		if _, err := two.Rollback(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "rolled back", func() bool { return active(one.info("a")).Name == active(two.info("a")).Name })
		if err := two.Delete(t.Context(), "a@v1"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "version deleted", func() bool { return len(one.info("a").Versions) == len(two.info("a").Versions) })
		if err := one.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "deleted and freed", func() bool {
			_, err := two.Info(t.Context(), "a")
			return errors.Is(err, adapters.ErrNotFound) && two.gauge("valence_adapter_cache_resident_bytes") == 0
		})
	})
}

// measureActivation tells how long it takes until another registry answers with what
// one has activated.
func measureActivation(t *testing.T, one, two *harness) {
	t.Helper()
	var took []time.Duration
	for x := range 9 {
		want := float32(x + 3)
		one.upload("a", want, goodBad)
		begun := time.Now()
		eventually(t, "activated", func() bool { return two.ask("a") == want })
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	t.Logf("an activation reached the other registry after %v (median), %v (longest)", took[len(took)/2], took[len(took)-1])
}

// An event that comes late changes nothing that is newer.
func TestOldNewsChangesNothing(t *testing.T) {
	h := start(t, nil, nil)
	h.upload("a", 2, goodBad)
	old, err := h.store.Adapter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	h.upload("a", 3, goodBad)
	h.apply(old)
	if h.ask("a") != 3 {
		t.Error("an old read won")
	}
}

// What cannot be read of the store when it tells of a change is read until it can be.
func TestFollowsAfterFaults(t *testing.T) {
	on := openStore(t)
	broken := &brokenStore{Store: on}
	broken.faults.Store(3)
	h := start(t, broken, nil)
	start(t, on, nil).upload("a", 2, goodBad)
	eventually(t, "read", func() bool { _, err := h.Info(t.Context(), "a"); return err == nil })
	if broken.faults.Load() > 0 || !strings.Contains(h.log.String(), "no connection") {
		t.Errorf("%d faults left", broken.faults.Load())
	}
}
