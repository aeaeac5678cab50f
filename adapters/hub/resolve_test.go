package hub

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"valence/adapters"
	"valence/adapters/hub/hubtest"
)

func TestResolve(t *testing.T) {
	server, first := start(t)
	second := server.Commit(reviews.ID, "main", "more", map[string][]byte{"a": []byte("a")})
	server.Branch(reviews.ID, "work/next", first)
	server.Tag(reviews.ID, "v1", first)
	server.Create("single", hubtest.Repo{})
	single := server.Commit("single", "main", "a", nil)
	c := newClient(t, server, nil)
	for revision, want := range map[string]string{
		"":          second,
		"main":      second,
		"work/next": first,
		"v1":        first,
		first:       first,
		first[:8]:   first,
		second[:5]:  second,
		second[:39]: second,
	} {
		got, err := c.Resolve(t.Context(), adapters.Ref{ID: reviews.ID, Revision: revision}, "")
		if err != nil || got != want {
			t.Errorf("%q: %s, %v", revision, got, err)
		}
	}
	if got, err := c.Resolve(t.Context(), adapters.Ref{ID: "single"}, ""); err != nil || got != single {
		t.Errorf("%s, %v", got, err)
	}
}

func TestResolveRefuses(t *testing.T) {
	server, commit := start(t)
	c := newClient(t, server, nil)
	for _, tt := range []struct {
		ref  adapters.Ref
		want error
		says string
	}{
		{adapters.Ref{ID: "alice/none"}, ErrNotFound, "alice/none@main: no such repository, or a private one"},
		{adapters.Ref{ID: reviews.ID, Revision: "none"}, ErrNotFound, "alice/reviews@none: the repository has no such branch"},
		{adapters.Ref{ID: reviews.ID, Revision: "fffffff"}, ErrNotFound, "no such branch"},
		{adapters.Ref{ID: reviews.ID, Revision: commit[:4]}, ErrNotFound, "no such branch"},
		{adapters.Ref{ID: reviews.ID, Revision: strings.Repeat("0", 40)}, ErrNotFound, "no such branch"},
		{adapters.Ref{ID: "../etc"}, adapters.ErrID, ""},
		{adapters.Ref{ID: "a/b", Revision: "../../x"}, adapters.ErrID, ""},
		{adapters.Ref{ID: "a/b@main"}, adapters.ErrID, ""},
		{adapters.Ref{ID: "a/b@c", Revision: "d"}, adapters.ErrID, ""},
	} {
		_, err := c.Resolve(t.Context(), tt.ref, alice)
		expect(t, err, tt.want, tt.says)
	}
	_, err := c.Resolve(t.Context(), reviews, "hf a")
	expect(t, err, ErrInvalid, "token")
}

// Commits of the default branch are listed 50 a page.
func TestResolveShortCommitFarBack(t *testing.T) {
	server, first := start(t)
	for i := range 120 {
		server.Commit(reviews.ID, "main", fmt.Sprint("commit ", i), nil)
	}
	c := newClient(t, server, nil)
	got, err := c.Resolve(t.Context(), adapters.Ref{ID: reviews.ID, Revision: first[:12]}, "")
	if err != nil || got != first {
		t.Errorf("%s, %v", got, err)
	}
	if n := count(server.Requests(), "GET", "/commits/main"); n != 3 {
		t.Errorf("asked for %d pages", n)
	}
}

func TestResolveAmbiguous(t *testing.T) {
	one, other := "abcde"+strings.Repeat("0", 35), "abcde"+strings.Repeat("1", 35)
	c := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/commits/") {
			fmt.Fprintf(w, `[{"id":%q},{"id":%q},{"id":"abcdefgh"}]`, one, other)
			return
		}
		w.Header().Set("X-Error-Code", codeRevision)
		w.WriteHeader(http.StatusNotFound)
	})
	_, err := c.Resolve(t.Context(), adapters.Ref{ID: reviews.ID, Revision: "abcde"}, "")
	expect(t, err, ErrNotFound, one, other, "more digits")
}

// fake is a client of a hub that gives one answer.
func fake(t *testing.T, handler http.HandlerFunc) *testClient {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return newClient(t, nil, func(o *Options) { o.Endpoint = server.URL })
}

func TestResolveStrangeAnswers(t *testing.T) {
	for _, body := range []string{"", "null", "{}", `{"sha":5}`, `{"sha":"../../etc"}`, `{"sha":"ABC"}`, "<html>", `{"sha":"` + strings.Repeat("z", 40) + `"}`} {
		c := fake(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
		_, err := c.Resolve(t.Context(), reviews, "")
		expect(t, err, ErrCorrupt, "alice/reviews@main")
	}
	c := fake(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"sha":"%040d"}`, 1) })
	_, err := c.Resolve(t.Context(), adapters.Ref{ID: reviews.ID, Revision: strings.Repeat("2", 40)}, "")
	expect(t, err, ErrCorrupt)
}

// A server's words are shown, but not without bounds.
func TestServerMessage(t *testing.T) {
	for sent, want := range map[string]string{
		`{"error": "no way"}`:                            "says: no way)",
		`{"error": "` + strings.Repeat("ä", 1000) + `"}`: "ä...)",
		`{"error": ["a"]}`:                               "",
		`{"error": "a\nb\u001b[2J"}`:                     "a b [2J)",
		"no JSON":                                        "",
	} {
		c := fake(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, sent)
		})
		_, err := c.Resolve(t.Context(), reviews, "")
		expect(t, err, ErrRejected, want)
		if len(err.Error()) > 400 {
			t.Errorf("%d bytes of error", len(err.Error()))
		}
	}
}

func TestRenamedRepository(t *testing.T) {
	server, commit := start(t)
	server.Create("alice/secret", hubtest.Repo{Private: true})
	server.Rename(reviews.ID, "alice/renamed")
	c := newClient(t, server, nil)
	if s := c.mustPull(t, alice); s.Commit != commit {
		t.Error(s.Commit)
	}
	for _, s := range server.Requests() {
		if (s.Authorization != "") != (s.Host == "hub") {
			t.Errorf("%+v", s)
		}
	}
}
