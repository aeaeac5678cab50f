package registry

import (
	"strings"
	"testing"

	"valence/adapters"
	"valence/adapters/peft"
	"valence/adapters/store"
	"valence/runtime/engine"
)

func TestUploadAnswersAtOnce(t *testing.T) {
	h := start(t, nil, nil)
	first := h.upload("reviews", 2, goodBad)
	if first.Version != "v1" || !first.New || h.ask("reviews") != 2 {
		t.Errorf("%+v", first)
	}
	second := h.upload("reviews", 3, goodBad)
	if second.Version != "v2" || h.ask("reviews") != 3 || h.ask("reviews@v1") != 2 {
		t.Errorf("%+v", second)
	}
	again := h.upload("reviews", 2, goodBad)
	if again.Version != "v1" || again.New || h.ask("reviews") != 2 || len(again.Info.Versions) != 2 {
		t.Errorf("%+v", again)
	}
	digest := again.Info.Versions[1].Digest
	for _, ref := range []string{"reviews@" + digest, "reviews@" + digest[7:13], "reviews@v2"} {
		if h.ask(ref) != 3 {
			t.Errorf("%s is something else", ref)
		}
	}
	for _, ref := range []string{"other", "reviews@v3", "reviews@" + digest[7:12], "reviews@main", "reviews@ffffff"} {
		h.refused(adapters.Ask(ref), adapters.ErrNotFound, ref)
	}
	h.refused(adapters.Ask("a/b/c"), adapters.ErrID)
	l := h.lease(adapters.Ask(""))
	defer l.Release()
	if l.ID != adapters.BaseID || h.info("base").Versions[0].Leases != 1 {
		t.Errorf("%+v", h.info("base"))
	}
	if i := h.info("reviews"); i.Requests != 7 || i.Pinned || i.Fixed || i.ActiveVersion().Name != "v1" {
		t.Errorf("%+v", i)
	}
}

func TestInactiveUpload(t *testing.T) {
	h := start(t, nil, nil)
	p, err := h.Upload(t.Context(), adapters.UploadRequest{ID: "reviews", Files: folder(t, 2, "")})
	if err != nil || p.Info.ActiveVersion() != nil {
		t.Fatalf("%+v, %v", p, err)
	}
	h.refused(adapters.Ask("reviews"), adapters.ErrNotFound)
	if h.ask("reviews@v1") != 2 {
		t.Error("not there by its version")
	}
}

func TestUploadRefuses(t *testing.T) {
	h := start(t, nil, nil)
	with := func(name string, data []byte) map[string][]byte {
		files := folder(t, 2, goodBad)
		if data == nil {
			delete(files, name)
		} else {
			files[name] = data
		}
		return files
	}
	truncated := folder(t, 2, "")["adapter_model.safetensors"]
	for _, tt := range []struct {
		name  string
		id    string
		files map[string][]byte
		want  error
		says  string
	}{
		{"unknown file", "a", with("model.py", []byte("x")), peft.ErrAdapter, `"model.py"`},
		{"path", "a", with("../x", []byte("x")), peft.ErrAdapter, `"../x"`},
		{"no configuration", "a", with("adapter_config.json", nil), peft.ErrAdapter, "adapter_config.json"},
		{"no weights", "a", with("adapter_model.safetensors", nil), peft.ErrAdapter, "adapter_model.safetensors"},
		{"two weights", "a", with("adapter_model.bin", []byte("x")), peft.ErrAdapter, "both"},
		{"truncated", "a", with("adapter_model.safetensors", truncated[:len(truncated)-1]), peft.ErrAdapter, "adapter_model.safetensors"},
		{"large card", "a", with("README.md", make([]byte, maxCard+1)), peft.ErrAdapter, "README.md"},
		{"sidecar", "a", with("valence.json", []byte(`{"format":2}`)), adapters.ErrSidecar, "format"},
		{"canary", "a", folder(t, 2, withCanary(-2)), adapters.ErrCanary, "row 0"},
		{"base", "base", folder(t, 2, ""), adapters.ErrFixed, "base"},
		{"path as id", "../a", folder(t, 2, ""), adapters.ErrID, ""},
		{"revision", "a@v1", folder(t, 2, ""), adapters.ErrID, "without a revision"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := h.Upload(t.Context(), adapters.UploadRequest{ID: tt.id, Files: tt.files, Activate: true})
			expect(t, err, tt.want, tt.says)
		})
	}
	if all, _, err := h.store.Adapters(t.Context()); err != nil || len(all) != 0 || len(h.List()) != 1 {
		t.Errorf("something was kept: %+v, %v", all, err)
	}
}

func TestPickleIsStoredAsSafetensors(t *testing.T) {
	h := start(t, nil, nil)
	files := pickled(t)
	p, err := h.Upload(t.Context(), adapters.UploadRequest{ID: "old", Files: files, Activate: true})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := h.store.Files(t.Context(), "old", 1)
	if err != nil || stored["adapter_model.bin"] != nil || stored["adapter_model.safetensors"] == nil {
		t.Errorf("%v, %v", keys(stored), err)
	}
	l := h.lease(adapters.Ask("old"))
	defer l.Release()
	if l.Digest != p.Info.Versions[0].Digest {
		t.Errorf("%+v", l.Entry)
	}
}

// The same files once more repair what the disk has damaged.
func TestUploadRepairs(t *testing.T) {
	on := openStore(t)
	start(t, on, nil).upload("a", 2, goodBad)
	if _, err := on.(*store.Store).DB().ExecContext(t.Context(), "UPDATE blob_chunks SET data = $1", []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	h := start(t, on, nil)
	h.refused(adapters.Ask("a"), store.ErrCorrupt, "a@v1")
	if p := h.upload("a", 2, goodBad); p.New || h.ask("a") != 2 {
		t.Errorf("%+v", p)
	}
}

func TestOtherBase(t *testing.T) {
	on := openStore(t)
	start(t, on, nil).upload("a", 2, goodBad)
	h := start(t, on, func(o *Options) { o.Base.Digest = "sha256:07e4" })
	h.refused(adapters.Ask("a"), adapters.ErrWrongBase, baseDigest, "sha256:07e4")
	expect(t, second(h.Activate(t.Context(), "a@v1")), adapters.ErrWrongBase)
	_, err := h.Upload(t.Context(), adapters.UploadRequest{ID: "a", Files: folder(t, 2, goodBad)})
	expect(t, err, adapters.ErrWrongBase, "delete that version first")
	if !strings.Contains(h.log.String(), "another base") {
		t.Error("the log does not warn")
	}
}

// A version that fails its self-test is not served, not activated, and not asked again
// at once.
func TestCanary(t *testing.T) {
	on := openStore(t)
	bad := folder(t, 2, withCanary(-2))
	c := store.NewVersion{Adapter: "a", Digest: digestOf(t, bad), Base: baseDigest, Source: store.SourceImport, Files: bad, Activate: true}
	if _, _, err := on.Publish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	h := start(t, on, nil)
	if _, err := h.Upload(t.Context(), adapters.UploadRequest{ID: "a", Files: folder(t, 3, goodBad), Activate: true}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.refused(adapters.Ask("a@v1"), adapters.ErrCanary, "a@v1", "row 0")
	}
	if n := h.engine.predicts.Load(); n != 1 {
		t.Errorf("%d self-tests", n)
	}
	expect(t, second(h.Activate(t.Context(), "a@v1")), adapters.ErrCanary)
	expect(t, second(h.Rollback(t.Context(), "a")), adapters.ErrCanary)
	if h.ask("a") != 3 || active(h.info("a")).Name != "v2" {
		t.Error("a failed rollback has changed something")
	}
	h.now.Add(120)
	h.refused(adapters.Ask("a@v1"), adapters.ErrCanary)
	if n := h.engine.predicts.Load(); n != 2 {
		t.Errorf("%d self-tests", n)
	}
}

// That the engine is busy says nothing of an adapter, and is not remembered.
func TestBusySelfTestIsTriedAgain(t *testing.T) {
	on := openStore(t)
	start(t, on, nil).upload("a", 2, withCanary(2))
	h := start(t, on, nil)
	busy := error(&engine.BusyError{})
	h.engine.fail.Store(&busy)
	h.refused(adapters.Ask("a"), engine.ErrBusy)
	h.engine.fail.Store(nil)
	if h.ask("a") != 2 {
		t.Error("wrong vectors")
	}
	h.cache.DropAll(func(string) bool { return true })
	if h.ask("a") != 2 || h.engine.predicts.Load() != 2 {
		t.Errorf("%d self-tests: one that passed is not repeated", h.engine.predicts.Load())
	}
}
