package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"valence/adapters"
)

// What is told of acme/reviews in a list, and beyond that alone.
const (
	reviewsInfo = `"id":"acme/reviews","version":"v2","digest":"sha256:abcdef",` +
		`"labels":[{"name":"negative","verbaliser":"bad"},{"name":"neutral","verbaliser":"so so"},{"name":"positive","verbaliser":"good"}],` +
		`"template":"Review: {text}","temperature":1,"abstain_below":0,"sites":3,"parameters":12,"metrics":{"accuracy":0.91},` +
		`"fixed":false,"pinned":true,"requests":7`
	reviewsVersions = `"versions":[` +
		`{"version":"v1","digest":"sha256:0123456789","base":"sha256:ba5e","source":"hub","origin":"acme/old@5d4c7a1e","private":false,` +
		`"bytes":0,"sites":3,"parameters":12,"active":false,"resident":false,"resident_bytes":0,"leases":0},` +
		`{"version":"v2","digest":"sha256:abcdef","base":"sha256:ba5e","source":"upload","origin":"","private":false,"created":"2026-01-02T03:04:05Z",` +
		`"bytes":99,"sites":3,"parameters":12,"active":true,"resident":true,"resident_bytes":48,"leases":1,"metrics":{"accuracy":0.91}}]`
	reviewsDetail = "{" + reviewsInfo + "," + reviewsVersions + "}"
)

func TestListAdapters(t *testing.T) {
	a := serve(t, nil).do(http.MethodGet, "/v1/adapters", "")
	var got struct {
		Adapters []struct {
			ID string `json:"id"`
		} `json:"adapters"`
	}
	if err := json.Unmarshal(a.body, &got); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %v: %s", a.StatusCode, err, a.body)
	}
	var ids []string
	for _, e := range got.Adapters {
		ids = append(ids, e.ID)
	}
	if s := strings.Join(ids, " "); s != "base acme/careful acme/reviews" {
		t.Errorf("ids %s", s)
	}
	if !strings.Contains(string(a.body), "{"+reviewsInfo+"}") {
		t.Errorf("got %s, which lacks {%s}", a.body, reviewsInfo)
	}
}

func TestListNoAdapters(t *testing.T) {
	s := serve(t, func(d *Deps) { d.Adapters = fakeAdapters{list: func() []adapters.Info { return nil }} })
	if a := s.do(http.MethodGet, "/v1/adapters", ""); string(a.body) != "{\"adapters\":[]}\n" {
		t.Errorf("got %s", a.body)
	}
}

func TestGetAdapter(t *testing.T) {
	tests := []struct {
		name, path string
		status     int
		code       string
	}{
		{"plain", "/v1/adapters/acme/reviews", 200, ""},
		{"escaped", "/v1/adapters/acme%2Freviews", 200, ""},
		{"escaped in small letters", "/v1/adapters/acme%2freviews", 200, ""},
		{"with a revision", "/v1/adapters/acme/reviews@v2", 200, ""},
		{"with an escaped revision", "/v1/adapters/acme%2Freviews%40v2", 200, ""},
		{"with the beginning of a digest", "/v1/adapters/acme/reviews@abcdef", 200, ""},
		{"with a whole digest", "/v1/adapters/acme/reviews@sha256:abcdef", 200, ""},
		{"with too short a beginning", "/v1/adapters/acme/reviews@abcde", 404, "adapter_not_found"},
		{"with an unknown revision", "/v1/adapters/acme/reviews@v9", 404, "adapter_not_found"},
		{"the base with a revision", "/v1/adapters/base@v2", 422, "invalid_adapter_id"},
		{"unknown", "/v1/adapters/acme/none", 404, "adapter_not_found"},
		{"unknown without owner", "/v1/adapters/none", 404, "adapter_not_found"},
		{"escaped twice", "/v1/adapters/acme%252Freviews", 422, "invalid_adapter_id"},
		{"not an id", "/v1/adapters/a--b", 422, "invalid_adapter_id"},
		{"out of the folder", "/v1/adapters/..%2F..%2Fetc", 422, "invalid_adapter_id"},
		{"three parts", "/v1/adapters/a/b/c", 404, "not_found"},
		{"none", "/v1/adapters/", 404, "not_found"},
	}
	s := serve(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := s.do(http.MethodGet, tt.path, "")
			if tt.status == http.StatusOK {
				if a.StatusCode != tt.status || string(a.body) != reviewsDetail+"\n" {
					t.Errorf("status %d: %s", a.StatusCode, a.body)
				}
				return
			}
			a.problem(t, tt.status, tt.code)
		})
	}
}

func TestLeaseFails(t *testing.T) {
	s := serve(t, func(d *Deps) {
		f := newShelf().fake()
		f.lease = func(context.Context, adapters.Query) (*adapters.Lease, error) { return nil, context.DeadlineExceeded }
		d.Adapters = f
	})
	s.do(http.MethodGet, "/v1/adapters/acme/reviews/anatomy", "").problem(t, 503, "timeout")
	s.do(http.MethodGet, "/v1/adapters/acme/reviews/diff", "").problem(t, 503, "timeout")
	s.post(`{"text":"a"}`).problem(t, 503, "timeout")
}

func TestGetOtherVersion(t *testing.T) {
	s := serve(t, nil)
	for _, revision := range []string{"v1", "012345", "5d4c7a1e"} {
		a := s.do(http.MethodGet, "/v1/adapters/acme/reviews@"+revision, "")
		const top = `{"id":"acme/reviews","version":"v1","digest":"sha256:0123456789","labels":[{"name":"negative","verbaliser":"negative"}`
		if a.StatusCode != http.StatusOK || !strings.HasPrefix(string(a.body), top) || !strings.Contains(string(a.body), reviewsVersions) {
			t.Errorf("%s: status %d: %s", revision, a.StatusCode, a.body)
		}
	}
}

// TestNothingActive wants no version at the top of an adapter that has none yet.
func TestNothingActive(t *testing.T) {
	s := serve(t, func(d *Deps) {
		info := infoAbout(entry("acme/new"))
		info.Versions = info.Versions[:1]
		d.Adapters = fakeAdapters{
			info: func(context.Context, string) (adapters.Info, error) { return info, nil },
			list: func() []adapters.Info { return []adapters.Info{info} },
		}
	})
	const want = `{"id":"acme/new","fixed":false,"pinned":true,"requests":7`
	for _, path := range []string{"/v1/adapters", "/v1/adapters/acme/new"} {
		if a := s.do(http.MethodGet, path, ""); a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), want) {
			t.Errorf("%s: status %d: %s", path, a.StatusCode, a.body)
		}
	}
	s.do(http.MethodGet, "/v1/adapters/acme/new/diff", "").problem(t, http.StatusConflict, "conflict")
}

func TestAmbiguousDigest(t *testing.T) {
	info := infoAbout(entry("a"))
	info.Versions[0].Digest = info.Versions[1].Digest + "0"
	if _, err := versionOf(info, "abcdef"); !errors.Is(err, adapters.ErrNotFound) || !strings.Contains(err.Error(), "several") {
		t.Errorf("got %v", err)
	}
	info.Versions[0].Digest = info.Versions[1].Digest
	if v, err := versionOf(info, "abcdef"); err != nil || v.Digest != "sha256:abcdef" {
		t.Errorf("the same content twice: %v, %v", v, err)
	}
}

func TestPages(t *testing.T) {
	tests := []struct{ query, ids, next string }{
		{"", "base acme/careful acme/reviews", ""},
		{"?limit=3", "base acme/careful acme/reviews", ""},
		{"?limit=2", "base acme/careful", "acme/careful"},
		{"?limit=1", "base", "base"},
		{"?limit=1&after=base", "acme/careful", "acme/careful"},
		{"?after=acme%2Fcareful", "acme/reviews", ""},
		{"?after=acme/deleted", "acme/reviews", ""},
		{"?after=zoo", "", ""},
	}
	s := serve(t, nil)
	for _, tt := range tests {
		a := s.do(http.MethodGet, "/v1/adapters"+tt.query, "")
		var got struct {
			Adapters []struct {
				ID string `json:"id"`
			} `json:"adapters"`
			Next string `json:"next"`
		}
		if err := json.Unmarshal(a.body, &got); err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("%s: status %d: %v: %s", tt.query, a.StatusCode, err, a.body)
		}
		var ids []string
		for _, i := range got.Adapters {
			ids = append(ids, i.ID)
		}
		if strings.Join(ids, " ") != tt.ids || got.Next != tt.next {
			t.Errorf("%s: %v, next %q", tt.query, ids, got.Next)
		}
	}
}

func TestBadParameters(t *testing.T) {
	tests := []struct{ path, parameter, code string }{
		{"/v1/adapters?limit=0", "limit", "out_of_range"},
		{"/v1/adapters?limit=1001", "limit", "out_of_range"},
		{"/v1/adapters?limit=ten", "limit", "out_of_range"},
		{"/v1/adapters?limit=", "limit", "out_of_range"},
		{"/v1/adapters?limit=1&limit=2", "limit", "duplicate"},
		{"/v1/adapters?after=a@v1", "after", "invalid_adapter_id"},
		{"/v1/adapters?after=..", "after", "invalid_adapter_id"},
		{"/v1/adapters?before=a", "before", "unknown_field"},
		{"/v1/adapters?limit=%zz", "", "invalid"},
		{"/v1/adapters/acme/reviews/diff?from=a--b@v1", "from", "invalid_adapter_id"},
		{"/v1/adapters/acme/reviews/diff?to=..", "to", "invalid_adapter_id"},
		{"/v1/adapters/acme/reviews/diff?until=v2", "until", "unknown_field"},
	}
	s := serve(t, nil)
	for _, tt := range tests {
		p := s.do(http.MethodGet, tt.path, "").problem(t, 422, codeInvalid)
		if len(p.Errors) != 1 || p.Errors[0].Parameter != tt.parameter || p.Errors[0].Code != tt.code || p.Errors[0].Pointer != "" {
			t.Errorf("%s: %+v", tt.path, p.Errors)
		}
	}
	p := s.do(http.MethodGet, "/v1/adapters?limit=0&after=..", "").problem(t, 422, codeInvalid)
	if len(p.Errors) != 2 || p.Errors[0].Parameter != "after" || p.Errors[1].Parameter != "limit" || !strings.Contains(p.Detail, "limit must be") {
		t.Errorf("all faults at once: %+v", p)
	}
}

// TestPrivate wants what was pulled with a caller's own token told to admins alone.
func TestPrivate(t *testing.T) {
	shelf := newShelf()
	private := func(info adapters.Info) adapters.Info {
		info.Versions[0].Private = true
		info.Versions[1].Private = info.ID == "acme/careful"
		return info
	}
	s := serve(t, func(d *Deps) {
		withKeys(t, []string{inferKey}, []string{adminKey})(d)
		f := shelf.fake()
		f.list = func() []adapters.Info {
			list := shelf.list()
			for i := range list {
				list[i] = private(list[i])
			}
			return list
		}
		f.info = func(ctx context.Context, id string) (adapters.Info, error) {
			info, err := shelf.info(ctx, id)
			if err != nil {
				return info, err
			}
			return private(info), nil
		}
		d.Adapters = f
	})
	as := func(key, path string) answer { return s.do(http.MethodGet, path, "", "Authorization", "Bearer "+key) }
	for path, hidden := range map[string]string{
		"/v1/adapters":                      "acme/careful",
		"/v1/adapters/acme/reviews":         `"v1"`,
		"/v1/adapters/acme/reviews/anatomy": "acme/careful",
	} {
		for key, want := range map[string]bool{inferKey: false, adminKey: true} {
			if a := as(key, path); a.StatusCode != http.StatusOK || strings.Contains(string(a.body), hidden) != want {
				t.Errorf("%s as %s: status %d: %s", path, key, a.StatusCode, a.body)
			}
		}
	}
	if a := as(adminKey, "/v1/adapters/acme/careful"); a.StatusCode != http.StatusOK {
		t.Errorf("status %d for an admin", a.StatusCode)
	}
	hidden := as(inferKey, "/v1/adapters/acme/careful").problem(t, 404, "adapter_not_found")
	unknown := as(inferKey, "/v1/adapters/acme/nothing").problem(t, 404, "adapter_not_found")
	if strings.ReplaceAll(hidden.Detail, "careful", "nothing") != unknown.Detail {
		t.Errorf("%q tells more than %q", hidden.Detail, unknown.Detail)
	}
	as(inferKey, "/v1/adapters/acme/reviews@v1").problem(t, 404, "adapter_not_found")
}
