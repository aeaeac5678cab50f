package registry

import (
	"context"
	"errors"
	"strings"
	"testing"

	"valence/adapters"
	"valence/runtime/mt5/spec"
)

func TestChangesAreRefused(t *testing.T) {
	h := start(t, nil, func(o *Options) {
		o.Fixed = []*adapters.Entry{{ID: "fixed", Version: "v1", Digest: "sha256:f1fed0", Sidecar: adapters.DefaultSidecar()}}
	})
	h.upload("a", 2, goodBad)
	h.upload("a", 3, goodBad)
	for _, id := range []string{"base", "fixed", "none", "a/b/c"} {
		want := map[string]error{"none": adapters.ErrNotFound, "a/b/c": adapters.ErrID}[id]
		if want == nil {
			want = adapters.ErrFixed
		}
		for name, change := range map[string]func() error{
			"activate": func() error { return second(h.Activate(t.Context(), id+map[bool]string{true: "@v1"}[id != "base"])) },
			"rollback": func() error { return second(h.Rollback(t.Context(), id)) },
			"pin":      func() error { return second(h.Pin(t.Context(), id)) },
			"unpin":    func() error { return second(h.Unpin(t.Context(), id)) },
			"delete":   func() error { return h.Delete(t.Context(), id) },
		} {
			if err := change(); !errors.Is(err, want) {
				t.Errorf("%s %s: %v", name, id, err)
			}
		}
	}
	expect(t, h.Delete(t.Context(), "a@v2"), adapters.ErrConflict)
	expect(t, h.Delete(t.Context(), "a@v7"), adapters.ErrNotFound)
	expect(t, second(h.Activate(t.Context(), "a")), adapters.ErrID, "a@v1")
	h.upload("b", 2, goodBad)
	expect(t, second(h.Rollback(t.Context(), "b")), adapters.ErrConflict)
	if h.info("fixed").Versions[0].Source != adapters.SourceConfig || !h.info("fixed").Fixed {
		t.Errorf("%+v", h.info("fixed"))
	}
}

func TestActivateAndRollBack(t *testing.T) {
	h := start(t, nil, nil)
	h.upload("a", 2, goodBad)
	h.upload("a", 3, goodBad)
	h.upload("a", 4, goodBad)
	held := h.lease(adapters.Ask("a"))
	defer held.Release()
	if i, err := h.Activate(t.Context(), "a@v1"); err != nil || i.ActiveVersion().Name != "v1" || h.ask("a") != 2 {
		t.Errorf("%+v, %v", i, err)
	}
	if i, err := h.Rollback(t.Context(), "a"); err != nil || i.ActiveVersion().Name != "v3" || h.ask("a") != 4 {
		t.Errorf("%+v, %v", i, err)
	}
	if held.Vectors.Data[0] != 4 || held.Version != "v3" {
		t.Error("a lease has changed under its holder")
	}
}

// Activation loads first: the rows that come next find the version in memory.
func TestActivationWarms(t *testing.T) {
	on := openStore(t)
	seed := start(t, on, nil)
	seed.upload("a", 2, goodBad)
	seed.upload("a", 3, goodBad)
	h := start(t, on, nil)
	if _, err := h.Activate(t.Context(), "a@v1"); err != nil {
		t.Fatal(err)
	}
	if v := active(h.info("a")); !v.Resident || v.ResidentBytes != size(t) || v.Leases != 0 {
		t.Errorf("%+v", v)
	}
	h.cache.DropAll(func(string) bool { return true })
	if _, err := h.Rollback(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if v := active(h.info("a")); v.Name != "v2" || !v.Resident {
		t.Errorf("%+v", v)
	}
}

// Delete frees host and device memory, at once or with the last lease.
func TestDeleteFrees(t *testing.T) {
	h := start(t, nil, nil)
	h.upload("a", 2, goodBad)
	h.upload("a", 3, goodBad)
	h.upload("b", 4, goodBad)
	h.ask("a@v1")
	mixed := adapters.Query{Parts: []adapters.QueryPart{{Ref: "a", Weight: 0.5}, {Ref: "b", Weight: 0.5}}, Strength: 1}
	h.lease(mixed).Release()
	held := h.lease(adapters.Ask("a"))
	if n := h.gauge("valence_adapter_cache_resident_bytes"); n != 4*float64(size(t)) {
		t.Errorf("%v bytes resident", n)
	}
	if err := h.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if n := h.gauge("valence_adapter_cache_resident_bytes"); n != float64(size(t)) || h.frees() != 2 {
		t.Errorf("%v bytes resident, %d freed", n, h.frees())
	}
	if held.Vectors.Data[0] != 3 {
		t.Error("gone under a lease")
	}
	held.Release()
	if h.frees() != 3 {
		t.Errorf("%d freed", h.frees())
	}
	h.refused(adapters.Ask("a"), adapters.ErrNotFound)
	h.refused(mixed, adapters.ErrNotFound)
	if h.ask("b") != 4 || h.upload("a", 5, goodBad).Version != "v3" {
		t.Error("a number was used again, or too much was deleted")
	}
}

// TestRefusedIsFreed: the canaries of what is refused, or is not to be active, were asked
// with its vectors, of which the device has a copy then.
func TestRefusedIsFreed(t *testing.T) {
	h := start(t, nil, nil)
	upload := func(id string, x float32, canary float32, activate bool) error {
		_, err := h.Upload(t.Context(), adapters.UploadRequest{ID: id, Files: folder(t, x, withCanary(canary)), Activate: activate})
		return err
	}
	expect(t, upload("a", 2, 3, true), adapters.ErrCanary)
	if n := h.frees(); n != 1 {
		t.Errorf("%d freed after a failed self-test", n)
	}
	for _, activate := range []bool{false, true} { // the second finds the version that is there
		if err := upload("b", 2, 2, activate); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.frees(); n != 3 {
		t.Errorf("%d freed; what answers is the store's", n)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.Upload(gone, adapters.UploadRequest{ID: "c", Files: folder(t, 4, withCanary(4)), Activate: true})
	if err == nil {
		t.Fatal("uploaded by nobody")
	}
	h.close()
	if n := h.frees(); n != 5 {
		t.Errorf("%d freed in the end", n)
	}
}

func TestDeleteVersion(t *testing.T) {
	h := start(t, nil, nil)
	h.upload("a", 2, goodBad)
	h.upload("a", 3, goodBad)
	h.ask("a@v1")
	if err := h.Delete(t.Context(), "a@v1"); err != nil || h.frees() != 1 {
		t.Errorf("%v, %d freed", err, h.frees())
	}
	h.refused(adapters.Ask("a@v1"), adapters.ErrNotFound)
	if h.ask("a") != 3 {
		t.Error("wrong vectors")
	}
	if _, err := h.Upload(t.Context(), adapters.UploadRequest{ID: "b", Files: folder(t, 2, "")}); err != nil {
		t.Fatal(err)
	}
	if err := h.Delete(t.Context(), "b@v1"); err != nil {
		t.Error(err)
	}
	expect(t, second(h.Info(t.Context(), "b")), adapters.ErrNotFound)
}

func TestPin(t *testing.T) {
	on := openStore(t)
	h := start(t, on, func(o *Options) { o.CacheBytes = 0 })
	h.upload("a", 2, goodBad)
	h.upload("b", 3, goodBad)
	resident := func(h *harness, ref string) func() bool {
		return func() bool {
			id, name, _ := strings.Cut(ref, "@")
			for _, v := range h.info(id).Versions {
				if v.Name == name {
					return v.Resident
				}
			}
			return false
		}
	}
	if i, err := h.Pin(t.Context(), "a"); err != nil || !i.Pinned {
		t.Fatalf("%+v, %v", i, err)
	}
	eventually(t, "pinned", resident(h, "a@v1"))
	h.upload("a", 4, goodBad)
	eventually(t, "the pin follows activation", resident(h, "a@v2"))
	eventually(t, "the old one goes", func() bool { return !resident(h, "a@v1")() })
	again := start(t, on, nil)
	eventually(t, "pinned after a restart", resident(again, "a@v2"))
	if i, err := again.Unpin(t.Context(), "a"); err != nil || i.Pinned {
		t.Errorf("%+v, %v", i, err)
	}
	eventually(t, "another server unpins", func() bool { return !resident(h, "a@v2")() })
	if _, err := h.Pin(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pinned", resident(h, "b@v1"))
	if err := h.Delete(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a deleted one is freed", func() bool { return h.gauge("valence_adapter_cache_resident_bytes") == 0 })
}

func active(i adapters.Info) adapters.Version { return *i.ActiveVersion() }

func second[A any](_ A, err error) error { return err }

// Freeing a copy on the device may take its time: nobody waits for it but Close.
func TestFreeMayBlock(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	freed := 0
	h := start(t, nil, func(o *Options) {
		o.Free = func(all []*spec.Vectors) {
			if freed == 0 {
				close(begun)
			}
			freed += len(all)
			<-release
		}
	})
	h.upload("a", 2, goodBad)
	h.upload("b", 3, goodBad)
	if err := h.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	<-begun
	if h.ask("b") != 3 {
		t.Error("wrong vectors")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	expect(t, h.Close(gone), context.Canceled)
	close(release)
	h.close()
	if freed != 2 {
		t.Errorf("%d freed", freed)
	}
}
