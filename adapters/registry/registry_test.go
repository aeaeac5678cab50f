package registry

import (
	"context"
	"strings"
	"testing"
	"time"

	"valence/adapters"
	"valence/adapters/store"
)

// A restart knows all and loads nothing before it is asked.
func TestRestart(t *testing.T) {
	on := openStore(t)
	h := start(t, on, nil)
	h.upload("a", 2, withCanary(2))
	h.upload("a", 3, goodBad)
	h.upload("b/c", 4, goodBad)
	again := start(t, on, nil)
	if l := again.List(); len(l) != 3 || l[0].ID != "base" || l[1].ID != "a" || l[2].ID != "b/c" || l[1].ActiveVersion().Name != "v2" {
		t.Fatalf("%+v", l)
	}
	if again.gauge("valence_adapter_cache_resident") != 0 || again.gauge("valence_adapters") != 2 || again.gauge("valence_adapter_versions") != 3 {
		t.Error("wrong counts")
	}
	if again.ask("a@v1") != 2 || again.ask("a") != 3 || again.ask("b/c") != 4 {
		t.Error("wrong vectors")
	}
}

func TestStoreErrors(t *testing.T) {
	on := openStore(t)
	start(t, on, nil).upload("a", 2, goodBad)
	h := start(t, &brokenStore{Store: on, full: true}, nil)
	_, err := h.Upload(t.Context(), adapters.UploadRequest{ID: "b", Files: folder(t, 2, ""), Activate: true})
	expect(t, err, store.ErrFull)
	h.refused(adapters.Ask("b"), adapters.ErrNotFound)
	if h.gauge("valence_adapter_cache_resident") != 0 {
		t.Error("something is in memory")
	}
	h.refused(adapters.Ask("a"), store.ErrCorrupt, "a@v1")
}

// A version that was read before is known by a sum of its files, which tells damage as well.
func TestDamageAfterTheFirstLoad(t *testing.T) {
	broken := &brokenStore{Store: openStore(t)}
	h := start(t, broken, func(o *Options) { o.CacheBytes = 0 }) // nothing stays
	h.upload("a", 2, goodBad)
	for range 2 {
		if h.ask("a") != 2 {
			t.Error("a is something else")
		}
	}
	broken.full = true
	h.refused(adapters.Ask("a"), store.ErrCorrupt, "a@v1", "adapter_model.safetensors")
}

// What is in memory answers without the store.
func TestResidentNeedsNoStore(t *testing.T) {
	broken := &brokenStore{Store: openStore(t)}
	h := start(t, broken, nil)
	digest := h.upload("a", 2, goodBad).Info.Versions[0].Digest
	broken.full = true
	broken.faults.Store(1 << 30)
	for _, ref := range []string{"a", "a@v1", "a@" + digest, "a@" + digest[7:15]} {
		if h.ask(ref) != 2 {
			t.Errorf("%s is something else", ref)
		}
	}
}

func BenchmarkLease(b *testing.B) {
	h := start(b, nil, nil)
	h.upload("a", 2, goodBad)
	for b.Loop() {
		l, err := h.Lease(b.Context(), adapters.Ask("a"))
		if err != nil {
			b.Fatal(err)
		}
		l.Release()
	}
}

func TestCloseFrees(t *testing.T) {
	h := start(t, nil, nil)
	h.upload("a", 2, goodBad)
	h.upload("b", 3, goodBad)
	held := h.lease(adapters.Ask("a"))
	h.close()
	if n := h.frees(); n != 1 {
		t.Errorf("%d freed", n)
	}
	held.Release()
	if n := h.frees(); n != 2 {
		t.Errorf("%d freed", n)
	}
}

func TestResident(t *testing.T) {
	h := start(t, nil, func(o *Options) {
		o.Fixed = []*adapters.Entry{{ID: "fixed", Version: "v1", Digest: "sha256:f1fed0", Sidecar: adapters.DefaultSidecar()}}
	})
	for i, id := range []string{"z", "a", "cold"} {
		h.upload(id, float32(i+2), goodBad)
	}
	h.upload("a", 9, goodBad)
	cold := h.catalogue.get("cold").active()
	h.cache.Drop(cold.key)
	leases := h.Resident()
	names := ""
	for _, l := range leases {
		names += l.ID + "@" + l.Version + " "
	}
	if names != "a@v2 fixed@v1 z@v1 " || active(h.info("a")).Leases != 1 {
		t.Errorf("%s", names)
	}
	for _, l := range leases {
		l.Release()
	}
	if active(h.info("a")).Leases != 0 || h.info("fixed").Versions[0].Leases != 0 {
		t.Error("leases are left")
	}
}

func TestOptions(t *testing.T) {
	if _, err := New(context.Background(), Options{}); err == nil || !strings.Contains(err.Error(), "Store") {
		t.Error(err)
	}
}

func TestMemory(t *testing.T) {
	now := time.Unix(0, 0)
	m := newMemory[int](func() time.Time { return now })
	m.put("a", 1, time.Minute)
	m.put("b", 2, 0)
	if x, ok := m.get("a"); !ok || x != 1 {
		t.Error(x, ok)
	}
	now = now.Add(time.Minute)
	if x, ok := m.get("a"); ok || x != 0 {
		t.Error(x, ok)
	}
	if x, ok := m.get("b"); !ok || x != 2 {
		t.Error(x, ok)
	}
}

func TestVersionNumber(t *testing.T) {
	for name, want := range map[string]int{"v1": 1, "v12": 12, "v0": 0, "v-1": 0, "v01": 0, "1": 0, "v": 0, "v1.0": 0, "v99999999999999999999": 0, "main": 0} {
		if n, ok := versionNumber(name); ok != (want > 0) || (ok && n != want) {
			t.Errorf("%s: %d, %v", name, n, ok)
		}
	}
}
