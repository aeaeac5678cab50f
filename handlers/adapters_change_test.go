package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"valence/adapters"
	"valence/adapters/hub"
)

// changed keeps what reached the adapters; err is given back by every call.
type changed struct {
	calls []string
	err   error
	old   bool // what is published was there already
}

func (c *changed) note(format string, args ...any) error {
	c.calls = append(c.calls, fmt.Sprintf(format, args...))
	return c.err
}

func (c *changed) fake() fakeAdapters {
	f := newShelf().fake()
	info := infoAbout(entry("acme/reviews"))
	published := func() adapters.Published { return adapters.Published{Version: "v1", New: !c.old, Info: info} }
	f.upload = func(_ context.Context, u adapters.UploadRequest) (adapters.Published, error) {
		var files []string
		for _, name := range []string{fileConfig, fileSafetensors, fileBin, fileSidecar, fileReadme} {
			if data, ok := u.Files[name]; ok {
				files = append(files, fmt.Sprintf("%s=%d", name, len(data)))
			}
		}
		return published(), c.note("upload %s %v %s of %d", u.ID, u.Activate, strings.Join(files, " "), len(u.Files))
	}
	f.pull = func(_ context.Context, p adapters.PullRequest) (adapters.Published, error) {
		return published(), c.note("pull %+v", p)
	}
	f.push = func(_ context.Context, p adapters.PushRequest) (adapters.Pushed, error) {
		return adapters.Pushed{Repo: "acme/reviews", Branch: "main", Commit: "5d4c7a1e", URL: "https://hub.example/acme/reviews"}, c.note("push %+v", p)
	}
	f.change = func(_ context.Context, call, ref string) (adapters.Info, error) {
		return info, c.note("%s %s", call, ref)
	}
	f.remove = func(_ context.Context, ref string) error { return c.note("delete %s", ref) }
	return f
}

func serveChanges(t *testing.T, c *changed) *server {
	return serve(t, func(d *Deps) {
		d.Adapters = c.fake()
		withKeys(t, []string{inferKey}, []string{adminKey})(d)
	})
}

// admin sends JSON as an admin; headers come last and win.
func (s *server) admin(method, path, body string, headers ...string) answer {
	s.t.Helper()
	all := []string{"Authorization", "Bearer " + adminKey}
	if body != "" {
		all = append(all, "Content-Type", typeJSON)
	}
	return s.do(method, "/v1/adapters/"+path, body, append(all, headers...)...)
}

func TestChanges(t *testing.T) {
	const (
		top    = `{"id":"acme/reviews","version":"v2",`
		pulled = `{"id":"acme/reviews","version":"v1",`
		pushed = `{"repo":"acme/reviews","branch":"main","commit":"5d4c7a1e","url":"https://hub.example/acme/reviews"}`
	)
	tests := []struct {
		method, path, body string
		status             int
		call, answer       string // the answer's beginning
	}{
		{"POST", "acme/reviews/activate", `{"version":"v2"}`, 200, "activate acme/reviews@v2", top},
		{"POST", "acme%2Freviews/activate", `{"version":"sha256:abcdef"}`, 200, "activate acme/reviews@sha256:abcdef", top},
		{"POST", "acme/reviews/rollback", ``, 200, "rollback acme/reviews", top},
		{"POST", "acme%2Freviews/rollback", `{}`, 200, "rollback acme/reviews", top},
		{"POST", "acme/reviews/pin", ``, 200, "pin acme/reviews", top},
		{"POST", "acme/reviews/unpin", ``, 200, "unpin acme/reviews", top},
		{"DELETE", "acme/reviews", ``, 204, "delete acme/reviews", ""},
		{"DELETE", "acme%2Freviews@v1", ``, 204, "delete acme/reviews@v1", ""},
		{"DELETE", "acme%2Fpin", ``, 204, "delete acme/pin", ""},
		{"POST", "acme/reviews/pull", ``, 201, "pull {ID:acme/reviews Repo: Revision: Activate:true Token:}", pulled},
		{"POST", "acme%2Freviews/pull", `{"repo":"x/y","revision":"refs/pr/1","activate":false}`, 201,
			"pull {ID:acme/reviews Repo:x/y Revision:refs/pr/1 Activate:false Token:}", pulled},
		{"POST", "acme/reviews/pull", `{"repo":null,"revision":null,"activate":null}`, 201, "pull {ID:acme/reviews Repo: Revision: Activate:true Token:}", pulled},
		{"POST", "acme/reviews/push", ``, 200, "push {Ref:acme/reviews Repo: Branch: Message: Create:false Private:false Token:}", pushed},
		{"POST", "acme/reviews/push", `{"repo":"x/y","branch":"dev","message":"m","create":true,"private":true,"version":"v1"}`, 200,
			"push {Ref:acme/reviews@v1 Repo:x/y Branch:dev Message:m Create:true Private:true Token:}", pushed},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path+tt.body, func(t *testing.T) {
			c := &changed{}
			a := serveChanges(t, c).admin(tt.method, tt.path, tt.body)
			if a.StatusCode != tt.status || !strings.HasPrefix(string(a.body), tt.answer) {
				t.Errorf("status %d: %s", a.StatusCode, a.body)
			}
			if got := strings.Join(c.calls, "; "); got != tt.call {
				t.Errorf("got  %s\nwant %s", got, tt.call)
			}
			if location := a.Header.Get("Location"); (location == "/v1/adapters/acme%2Freviews@v1") != (tt.status == 201) {
				t.Errorf("Location is %q", location)
			}
		})
	}
}

func TestPublishedAlready(t *testing.T) {
	a := serveChanges(t, &changed{old: true}).admin(http.MethodPost, "acme/reviews/pull", "")
	if a.StatusCode != http.StatusOK || a.Header.Get("Location") != "" || !strings.HasSuffix(string(a.body), `,"new":false}`+"\n") {
		t.Errorf("status %d, Location %q: %s", a.StatusCode, a.Header.Get("Location"), a.body)
	}
}

// changeCalls are every call that changes something.
var changeCalls = []struct{ method, path, body string }{
	{"PUT", "acme/reviews", ""}, {"DELETE", "acme/reviews", ""}, {"POST", "acme/reviews/activate", `{"version":"v1"}`},
	{"POST", "acme/reviews/pull", ""}, {"POST", "acme/reviews/push", ""}, {"POST", "acme/reviews/rollback", ""},
	{"POST", "acme/reviews/pin", ""}, {"POST", "acme/reviews/unpin", ""},
}

// TestChangesNeed wants every change refused without an admin key, from a foreign page,
// before the server is ready, and with a body of another type, and nothing done.
func TestChangesNeed(t *testing.T) {
	for _, call := range changeCalls {
		for _, path := range []string{call.path, strings.Replace(call.path, "/", "%2F", 1)} {
			c := &changed{}
			s := serveChanges(t, c)
			s.admin(call.method, path, call.body, "Authorization", "Bearer "+inferKey).problem(t, 403, "forbidden")
			s.admin(call.method, path, call.body, "Authorization", "").problem(t, 401, "unauthorized")
			s.admin(call.method, path, call.body, "Sec-Fetch-Site", "cross-site").problem(t, 403, "cross_origin")
			s.admin(call.method, path, call.body, "Origin", "https://evil.example").problem(t, 403, "cross_origin")
			if call.method != http.MethodDelete {
				s.admin(call.method, path, `{"version":"v1"}`, "Content-Type", "text/plain").problem(t, 415, "unsupported_media_type")
				s.admin(call.method, path, `{"version":"v1"}`, "Content-Type", "").problem(t, 415, "unsupported_media_type")
			}
			cold := serve(t, func(d *Deps) { d.Adapters, d.Ready = c.fake(), new(Gate) })
			cold.do(call.method, "/v1/adapters/"+path, call.body).problem(t, 503, "not_ready")
			if len(c.calls) > 0 {
				t.Errorf("%s %s: %v", call.method, path, c.calls)
			}
		}
	}
}

func TestAllowedPageMayChange(t *testing.T) {
	for _, origin := range []string{"https://app.example.com", "*"} {
		c := &changed{}
		s := serve(t, func(d *Deps) { d.Adapters, d.Origins = c.fake(), []string{origin} })
		a := s.do(http.MethodPost, "/v1/adapters/a/pin", "", "Origin", "https://app.example.com", "Sec-Fetch-Site", "cross-site")
		if a.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d: %s", origin, a.StatusCode, a.body)
		}
	}
}

func TestBadChange(t *testing.T) {
	tests := []struct {
		path, body string
		code       string
		faults     string
		detail     string
	}{
		{"a/activate", ``, "empty_body", "", "send a JSON object"},
		{"a/activate", `{}`, codeInvalid, "/version required", "is required"},
		{"a/activate", `{"version":""}`, codeInvalid, "/version invalid_adapter_id", "no revision follows"},
		{"a/activate", `{"version":"../x"}`, codeInvalid, "/version invalid_adapter_id", `must not hold ".."`},
		{"a/activate", `{"version":3}`, codeInvalid, "/version wrong_type", "must be a string"},
		{"a@v1/activate", `{"version":"v1"}`, codeID, "", `leave out "@v1"`},
		{"a--b/activate", `{"version":"v1"}`, codeID, "", `must not hold "--"`},
		{"a/rollback", `{"version":"v1"}`, codeInvalid, "/version unknown_field", "this call takes none"},
		{"a/rollback", `[]`, codeInvalid, " wrong_type", "must be an object"},
		{"a/pin", `{`, "invalid_json", "", "unexpected EOF"},
		{"a@v1/pin", ``, codeID, "", `leave out "@v1"`},
		{"..%2Fa/unpin", ``, codeID, "", `must not hold ".."`},
		{"a/pull", `{"repo":"../x"}`, codeInvalid, "/repo invalid_adapter_id", `must not hold ".."`},
		{"a/pull", `{"repo":"https://evil.example/x"}`, codeInvalid, "/repo invalid_adapter_id", "one"},
		{"a/pull", `{"repo":"x@main"}`, codeInvalid, "/repo invalid_adapter_id", `there is "revision" for that`},
		{"a/pull", `{"revision":"a b"}`, codeInvalid, "/revision invalid_adapter_id", "must not hold"},
		{"a/pull", `{"revision":""}`, codeInvalid, "/revision invalid_adapter_id", "no revision follows"},
		{"a/pull", `{"activate":"yes"}`, codeInvalid, "/activate wrong_type", "must be true or false"},
		{"a/pull", `{"token":"hf_secret"}`, codeInvalid, "/token unknown_field", `"repo", "revision", "activate"`},
		{"a@v1/pull", ``, codeID, "", `leave out "@v1"`},
		{"a/push", `{"repo":"x@main"}`, codeInvalid, "/repo invalid_adapter_id", `there is "branch" for that`},
		{"a/push", `{"branch":"-x"}`, codeInvalid, "/branch invalid_adapter_id", "must not begin"},
		{"a/push", `{"version":"x y"}`, codeInvalid, "/version invalid_adapter_id", "must not hold"},
		{"a/push", `{"message":""}`, codeInvalid, "/message too_short", "at least 1 character"},
		{"a/push", `{"message":"` + strings.Repeat("é", 1001) + `"}`, codeInvalid, "/message too_long", "at most 1000 characters"},
		{"a/push", `{"private":true}`, codeInvalid, "/private not_allowed", "has a meaning only with create true"},
		{"a/push", `{"private":false,"create":false}`, codeInvalid, "/private not_allowed", "has a meaning only with create true"},
		{"a@v1/push", ``, codeID, "", `leave out "@v1"`},
	}
	for _, tt := range tests {
		t.Run(tt.path+tt.body, func(t *testing.T) {
			c := &changed{}
			a := serveChanges(t, c).admin(http.MethodPost, tt.path, tt.body)
			status := http.StatusUnprocessableEntity
			if tt.faults == "" && tt.code != codeID {
				status = http.StatusBadRequest
			}
			p := a.problem(t, status, tt.code)
			if p.faults() != tt.faults || !strings.Contains(p.Detail, tt.detail) || len(c.calls) > 0 {
				t.Errorf("faults %q, detail %q, calls %v", p.faults(), p.Detail, c.calls)
			}
		})
	}
}

// TestChangeTokens wants the caller's token with the Hub, and not in the log.
func TestChangeTokens(t *testing.T) {
	for _, call := range []string{"pull", "push"} {
		c := &changed{err: &hub.Error{Kind: hub.ErrUnauthorized, Repo: "acme/reviews", Status: 401}}
		s := serveChanges(t, c)
		a := s.admin(http.MethodPost, "acme/reviews/"+call, "", "X-Hub-Token", "hf_secret")
		a.problem(t, 424, "hub_unauthorized")
		if len(c.calls) != 1 || !strings.Contains(c.calls[0], "Token:hf_secret") {
			t.Errorf("calls %v", c.calls)
		}
		if strings.Contains(s.log.String()+string(a.body), "hf_secret") {
			t.Error("the token is in the log or in the answer")
		}
	}
}

func TestChangeFails(t *testing.T) {
	for _, call := range changeCalls {
		if call.method == http.MethodPut {
			continue // TestUploadFails
		}
		s := serveChanges(t, &changed{err: fmt.Errorf("registry: %w: acme/reviews", adapters.ErrFixed)})
		p := s.admin(call.method, call.path, call.body).problem(t, 409, "adapter_fixed")
		if !strings.HasPrefix(p.Detail, "fixed by the configuration") {
			t.Errorf("detail %q", p.Detail)
		}
		s = serveChanges(t, &changed{err: errors.New("secret path")})
		a := s.admin(call.method, call.path, call.body)
		a.problem(t, 500, codeInternal)
		if strings.Contains(string(a.body), "secret") || !strings.Contains(s.log.String(), "secret path") {
			t.Error("the cause must be in the log and not in the answer")
		}
	}
}

// TestChangeExamples sends the bodies that the contract shows.
func TestChangeExamples(t *testing.T) {
	for path, item := range document(t).doc.Paths.Map() {
		call, found := strings.CutPrefix(path, "/v1/adapters/{id}/")
		if !found || call == "train" || item.Post == nil || // TestTrainExamples
			item.Post.RequestBody.Value.Content[typeJSON] == nil {
			continue
		}
		for name, ex := range item.Post.RequestBody.Value.Content[typeJSON].Examples {
			body, err := json.Marshal(ex.Value.Value)
			if err != nil {
				t.Fatal(err)
			}
			if a := serveChanges(t, &changed{}).admin(http.MethodPost, "acme/reviews/"+call, string(body)); a.StatusCode >= 300 {
				t.Errorf("%s %s: status %d: %s", call, name, a.StatusCode, a.body)
			}
		}
	}
}
