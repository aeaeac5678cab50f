package registry

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"valence/adapters"
	"valence/adapters/hub"
	"valence/adapters/hub/hubtest"
	"valence/adapters/peft"
)

const repo = "alice/reviews"

// requests counts what the hub was asked for since the last call.
func requests(server *hubtest.Server, path string) int {
	n := 0
	for _, s := range server.Requests() {
		if s.Method == http.MethodGet && strings.Contains(s.Path, path) {
			n++
		}
	}
	return n
}

func TestPulledOnFirstUse(t *testing.T) {
	server, withHub := startHub(t, "")
	server.Create(repo, hubtest.Repo{})
	commit := server.Commit(repo, "main", "add", folder(t, 2, goodBad))
	h := start(t, nil, withHub)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if x := h.ask(repo); x != 2 {
				t.Errorf("vectors of %v", x)
			}
		})
	}
	wg.Wait()
	if n := requests(server, "/revision/main"); n != 1 {
		t.Errorf("%d pulls", n)
	}
	v := active(h.info(repo))
	if v.Source != adapters.SourceHub || v.Origin != repo+"@"+commit || v.Private || v.Name != "v1" {
		t.Errorf("%+v", v)
	}
	server.Commit(repo, "main", "improve", folder(t, 3, goodBad))
	if h.ask(repo) != 2 || requests(server, "/") != 0 {
		t.Error("an active version was left, or the Hub was asked")
	}
	if h.gauge("valence_adapter_pulls_total") != 1 {
		t.Error("not counted")
	}
}

func TestHubRevisions(t *testing.T) {
	server, withHub := startHub(t, "")
	server.Create(repo, hubtest.Repo{})
	first := server.Commit(repo, "main", "add", folder(t, 2, goodBad))
	server.Tag(repo, "spring", first)
	next := server.Commit(repo, "main", "improve", folder(t, 3, goodBad))
	h := start(t, nil, withHub)
	for ref, want := range map[string]float32{"main": 3, "spring": 2, first: 2, first[:8]: 2, next: 3} {
		if got := h.ask(repo + "@" + ref); got != want {
			t.Errorf("%s is %v", ref, got)
		}
	}
	if i := h.info(repo); len(i.Versions) != 2 || i.ActiveVersion() != nil {
		t.Errorf("%+v", i)
	}
	server.Requests()
	for _, ref := range []string{"main", "spring", first, next} {
		h.ask(repo + "@" + ref)
	}
	if n := requests(server, "/"); n != 0 {
		t.Errorf("%d requests for what was just asked", n)
	}
	last := server.Commit(repo, "main", "only the card", map[string][]byte{"README.md": []byte("# new\n")})
	h.now.Add(61)
	if h.ask(repo+"@main") != 3 || h.ask(repo+"@"+last) != 3 || len(h.info(repo).Versions) != 2 {
		t.Error("another card makes another version")
	}
	server.Requests()
	if h.ask(repo+"@"+last) != 3 || requests(server, "/") != 0 {
		t.Error("a commit that is known is asked for again")
	}
	if h.ask(repo) != 3 || active(h.info(repo)).Name == "" {
		t.Error("the default branch is not activated on first use")
	}
	h.refused(adapters.Ask(repo+"@winter"), hub.ErrNotFound, "winter")
	h.refused(adapters.Ask(repo+"@v9"), adapters.ErrNotFound)
	h.upload("alice/mine", 5, goodBad)
	h.refused(adapters.Ask("alice/mine@main"), adapters.ErrNotFound)
}

func TestWhatCannotBePulledIsRemembered(t *testing.T) {
	server, withHub := startHub(t, alice)
	server.Create("alice/broken", hubtest.Repo{})
	server.Commit("alice/broken", "main", "add", map[string][]byte{"adapter_config.json": []byte(`{"peft_type":"LORA"}`), "adapter_model.safetensors": []byte("x")})
	h := start(t, nil, withHub)
	for range 3 {
		h.refused(adapters.Ask("alice/none"), hub.ErrNotFound, "alice/none")
		h.refused(adapters.Ask("alice/broken"), peft.ErrAdapter, "alice/broken")
	}
	if n := requests(server, "/revision/"); n != 2 {
		t.Errorf("the Hub was asked %d times", n)
	}
	server.Create("alice/none", hubtest.Repo{})
	server.Commit("alice/none", "main", "add", folder(t, 2, goodBad))
	h.refused(adapters.Ask("alice/none"), hub.ErrNotFound)
	h.now.Add(61)
	if h.ask("alice/none") != 2 {
		t.Error("not pulled after a while")
	}
	server.Fail(hubtest.Fault{Kind: hubtest.Status, Status: 500, Path: "alice/later", Times: 1})
	server.Create("alice/later", hubtest.Repo{})
	server.Commit("alice/later", "main", "add", folder(t, 4, goodBad))
	h.refused(adapters.Ask("alice/later"), hub.ErrUnavailable)
	if h.ask("alice/later") != 4 {
		t.Error("a fault of a moment was remembered")
	}
}

func TestPullingNotAllowed(t *testing.T) {
	server, withHub := startHub(t, "")
	server.Create(repo, hubtest.Repo{})
	server.Commit(repo, "main", "add", folder(t, 2, goodBad))
	h := start(t, nil, func(o *Options) { withHub(o); o.HubPull = false })
	h.refused(adapters.Ask(repo), adapters.ErrNotFound, "/v1/adapters/alice/reviews/pull", "--hub-pull")
	h.refused(adapters.Ask(repo), adapters.ErrPullForbidden)
	h.refused(adapters.Ask("reviews"), adapters.ErrNotFound)
	if n := requests(server, "/"); n != 0 {
		t.Errorf("%d requests", n)
	}
	p, err := h.Pull(t.Context(), adapters.PullRequest{ID: "reviews", Repo: repo, Activate: true})
	if err != nil || !p.New || p.Version != "v1" || h.ask("reviews") != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	server.Commit(repo, "main", "improve", folder(t, 3, goodBad))
	p, err = h.Pull(t.Context(), adapters.PullRequest{ID: "reviews"}) // from where it came
	if err != nil || p.Version != "v2" || h.ask("reviews") != 2 || h.ask("reviews@v2") != 3 {
		t.Errorf("%+v, %v", p, err)
	}
	none := start(t, nil, nil)
	_, err = none.Pull(t.Context(), adapters.PullRequest{ID: repo})
	expect(t, err, adapters.ErrPullForbidden, "no Hub")
}

// A private repository answers those whom the Hub lets read it, and nobody else learns
// that it is there.
func TestPrivate(t *testing.T) {
	server, withHub := startHub(t, "")
	server.Create(repo, hubtest.Repo{Private: true})
	server.Commit(repo, "main", "add", folder(t, 2, goodBad))
	h := start(t, nil, withHub)
	own := adapters.Query{Parts: []adapters.QueryPart{{Ref: repo, Weight: 1}}, Strength: 1, HubToken: alice}
	h.lease(own).Release()
	if v := active(h.info(repo)); !v.Private {
		t.Errorf("%+v", v)
	}
	if got := h.Resident(); len(got) != 0 {
		t.Errorf("%d leases for everybody", len(got))
	}
	h.noSign(repo, "alice/absent")
	if _, err := h.Pull(t.Context(), adapters.PullRequest{ID: "team/mine", Repo: repo, Token: alice, Activate: true}); err != nil {
		t.Fatal(err)
	}
	h.noSign("team/mine", "team/absent")
	shut := start(t, h.store, func(o *Options) { withHub(o); o.HubPull = false })
	shut.noSign(repo, "alice/absent")
	shut.noSign("team/mine", "team/absent")
	hubless := start(t, h.store, nil)
	hubless.noSign(repo, "alice/absent")
	blend := own
	blend.HubToken, blend.Strength = bob, 0.5
	h.refused(blend, hub.ErrNotFound)
	server.Requests()
	for range 3 {
		h.lease(own).Release()
	}
	if n := requests(server, "/"); n != 0 {
		t.Errorf("asked %d times within a minute", n)
	}
	h.now.Add(61)
	h.lease(own).Release()
	if n := requests(server, "/"); n == 0 {
		t.Error("not asked again after a minute")
	}
}

// noSign asks for a private adapter and for one that does not exist, as those who may
// not use the first: they must get the same errors, but for the name.
func (h *harness) noSign(private, absent string) {
	h.t.Helper()
	for _, token := range []string{"", bob, "hf_wrong", "no token\n!"} {
		for _, revision := range []string{"", "@main", "@v1", "@v2", "@" + active(h.info(private)).Digest[7:15]} {
			ask := func(id string) error {
				q := adapters.Ask(id + revision)
				q.HubToken = token
				l, err := h.Lease(h.t.Context(), q)
				if err == nil {
					l.Release()
				}
				return err
			}
			got, want := ask(private), ask(absent)
			if got == nil || want == nil || strings.ReplaceAll(got.Error(), private, absent) != want.Error() {
				h.t.Errorf("token %q, %q: %v; where nothing is: %v", token, revision, got, want)
			}
		}
	}
}

// To know of a gated repository is not to be let in.
func TestGated(t *testing.T) {
	server, withHub := startHub(t, "")
	server.Create(repo, hubtest.Repo{Gated: true, Granted: []string{"carol"}})
	server.Commit(repo, "main", "add", folder(t, 2, goodBad))
	h := start(t, nil, withHub)
	q := adapters.Query{Parts: []adapters.QueryPart{{Ref: repo, Weight: 1}}, Strength: 1, HubToken: carol}
	h.lease(q).Release()
	q.HubToken = bob
	h.refused(q, hub.ErrGated)
	q.HubToken = alice
	h.lease(q).Release()
}

// What the server's own token may read is for all, whoever had it pulled.
func TestServerToken(t *testing.T) {
	server, withHub := startHub(t, alice)
	server.Create(repo, hubtest.Repo{Private: true})
	server.Commit(repo, "main", "add", folder(t, 2, goodBad))
	h := start(t, nil, withHub)
	p, err := h.Pull(t.Context(), adapters.PullRequest{ID: repo, Token: alice, Activate: true})
	if err != nil || active(p.Info).Private || h.ask(repo) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestPrivateUnderAnotherName(t *testing.T) {
	server, withHub := startHub(t, "")
	server.Create(repo, hubtest.Repo{Private: true})
	server.Commit(repo, "main", "add", folder(t, 2, goodBad))
	h := start(t, nil, withHub)
	if _, err := h.Pull(t.Context(), adapters.PullRequest{ID: "mine", Repo: repo, Token: alice, Activate: true}); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"mine", "mine@main", "mine@v1"} {
		h.refused(adapters.Ask(ref), adapters.ErrNotFound)
		_, err := h.Lease(t.Context(), adapters.Ask(ref))
		if strings.Contains(err.Error(), repo) {
			t.Errorf("%q tells the repository", err)
		}
	}
	_, err := h.Upload(t.Context(), adapters.UploadRequest{ID: "mine", Files: folder(t, 2, goodBad), Activate: true})
	expect(t, err, adapters.ErrConflict, "delete that version first")
	offline := start(t, h.store, func(o *Options) { withHub(o); o.HubOffline = true })
	offline.refused(adapters.Query{Parts: []adapters.QueryPart{{Ref: "mine", Weight: 1}}, Strength: 1, HubToken: alice}, adapters.ErrNotFound)
}

func TestPush(t *testing.T) {
	server, withHub := startHub(t, alice)
	h := start(t, nil, func(o *Options) { withHub(o); o.HubPull = false })
	h.upload("mine", 2, withCanary(2))
	h.upload("mine", 3, goodBad)
	_, err := h.Push(t.Context(), adapters.PushRequest{Ref: "mine@v1", Create: true})
	expect(t, err, adapters.ErrID, "owner/name")
	p, err := h.Push(t.Context(), adapters.PushRequest{Ref: "mine@v1", Repo: repo, Create: true})
	if err != nil || p.Repo != repo || p.Branch != "main" || p.URL != server.URL+"/alice/reviews/commit/"+p.Commit {
		t.Fatalf("%+v, %v", p, err)
	}
	files := server.Files(repo, p.Commit)
	if got := strings.Join(keys(files), " "); got != ".gitattributes README.md adapter_config.json adapter_model.safetensors valence.json" {
		t.Errorf("pushed %s", got)
	}
	delete(files, ".gitattributes")
	if digestOf(t, files) != h.info("mine").Versions[0].Digest {
		t.Error("another digest")
	}
	back, err := h.Pull(t.Context(), adapters.PullRequest{ID: "back", Repo: repo, Activate: true})
	if err != nil || back.Info.Versions[0].Digest != h.info("mine").Versions[0].Digest || h.ask("back") != 2 {
		t.Errorf("%+v, %v", back, err)
	}
	for ref, want := range map[string]error{"base": adapters.ErrFixed, "none": adapters.ErrNotFound} {
		_, err := h.Push(t.Context(), adapters.PushRequest{Ref: ref, Repo: repo})
		expect(t, err, want)
	}
	_, err = start(t, h.store, nil).Push(t.Context(), adapters.PushRequest{Ref: "mine", Repo: repo})
	expect(t, err, adapters.ErrPullForbidden, "no Hub")
}

// A card that came with a version is its card, and a base's place on a disk is nobody's
// business.
func TestPushKeepsCardAndHidesPaths(t *testing.T) {
	server, withHub := startHub(t, alice)
	h := start(t, nil, withHub)
	files := folder(t, 2, goodBad)
	files["README.md"] = []byte("# Mine\n")
	files["adapter_config.json"] = []byte(strings.Replace(string(files["adapter_config.json"]), "bigscience/mt0-large", "/home/alice/mt0", 1))
	if _, err := h.Upload(t.Context(), adapters.UploadRequest{ID: "mine", Files: files, Activate: true}); err != nil {
		t.Fatal(err)
	}
	p, err := h.Push(t.Context(), adapters.PushRequest{Ref: "mine", Repo: repo, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	pushed := server.Files(repo, p.Commit)
	if string(pushed["README.md"]) != "# Mine\n" || strings.Contains(string(pushed["adapter_config.json"]), "/home") {
		t.Errorf("%s\n%s", pushed["README.md"], pushed["adapter_config.json"])
	}
}
