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

func TestAnatomy(t *testing.T) {
	shelf := newShelf()
	s := serve(t, func(d *Deps) { d.Adapters = shelf.fake() })
	for _, path := range []string{"acme/reviews", "acme%2Freviews", "base"} {
		a := s.do(http.MethodGet, "/v1/adapters/"+path+"/anatomy", "")
		var got struct {
			ID       string
			Compared int
			Sites    []struct{ Module string }
			Similar  []struct{ ID string }
		}
		if err := json.Unmarshal(a.body, &got, json.MatchCaseInsensitiveNames(true)); err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("%s: status %d: %s", path, a.StatusCode, a.body)
		}
		if path == "base" {
			if len(got.Sites)+len(got.Similar) != 0 || got.Compared != 2 {
				t.Errorf("the base: %s", a.body)
			}
			continue
		}
		if got.ID != "acme/reviews" || len(got.Sites) != 1 || got.Sites[0].Module != "a.k" || got.Compared != 1 || len(got.Similar) != 1 || got.Similar[0].ID != "acme/careful" {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	shelf.settled(t, 9) // 3 calls: the adapter, and the two in memory
	s.do(http.MethodGet, "/v1/adapters/nobody/anatomy", "").problem(t, http.StatusNotFound, "adapter_not_found")
	s.do(http.MethodGet, "/v1/adapters/a--b/anatomy", "").problem(t, 422, "invalid_adapter_id")
}

func TestDiff(t *testing.T) {
	tests := []struct {
		name, path string
		leases     string // refs that are leased, or the code of the problem
	}{
		{"the version before and the active one", "acme/reviews/diff", "acme/reviews@v1 acme/reviews"},
		{"escaped", "acme%2Freviews/diff", "acme/reviews@v1 acme/reviews"},
		{"two versions", "acme/reviews/diff?from=v2&to=v1", "acme/reviews@v2 acme/reviews@v1"},
		{"the version before another", "acme/reviews/diff?to=v2", "acme/reviews@v1 acme/reviews@v2"},
		{"from one to the active one", "acme/reviews/diff?from=v2", "acme/reviews@v2 acme/reviews"},
		{"another adapter", "acme/reviews/diff?to=acme/careful@v2", "acme/reviews acme/careful@v2"},
		{"two other adapters", "acme/reviews/diff?from=a@v1&to=acme/careful@v2", "a@v1 acme/careful@v2"},
		{"before the first", "acme/reviews/diff?to=v1", "conflict"},
		{"before an unknown one", "acme/reviews/diff?to=v9", "adapter_not_found"},
		{"of an unknown adapter", "nobody/diff", "adapter_not_found"},
		{"of a version", "acme/reviews@v2/diff", "invalid_adapter_id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			shelf := newShelf()
			var refs []string
			s := serve(t, func(d *Deps) {
				f := shelf.fake()
				f.lease = func(_ context.Context, q adapters.Query) (*adapters.Lease, error) {
					refs = append(refs, q.Parts[0].Ref)
					if q.HubToken != "hf_mine" || q.Strength != 1 || len(q.Parts) != 1 {
						t.Errorf("asked for %+v", q)
					}
					return shelf.hold(shelf.entries[len(refs)]), nil
				}
				d.Adapters = f
			})
			a := s.do(http.MethodGet, "/v1/adapters/"+tt.path, "", "X-Hub-Token", "hf_mine")
			if a.StatusCode != http.StatusOK {
				var p problem
				if err := json.Unmarshal(a.body, &p); err != nil || p.Code != tt.leases {
					t.Errorf("status %d: %s", a.StatusCode, a.body)
				}
				shelf.settled(t, 0)
				return
			}
			if got := strings.Join(refs, " "); got != tt.leases {
				t.Errorf("leased %s, want %s", got, tt.leases)
			}
			const want = `{"from":{"id":"acme/careful","version":"v2","digest":"sha256:abcdef"},"to":{"id":"acme/reviews","version":"v2","digest":"sha256:abcdef"},` +
				`"distance":0.7071067811865476,"largest":1,"cosine":0,"sites":[{"module":"a.k","input":false,"size":2,"distance":0.7071067811865476,"largest":1,"cosine":0}],` +
				`"changes":{"template":{"from":"","to":"Review: {text}"},"abstain_below":{"from":0.9,"to":0}}}`
			if string(a.body) != want+"\n" {
				t.Errorf("got %s", a.body)
			}
			shelf.settled(t, 2)
		})
	}
}

func TestDiffReleasesTheFirst(t *testing.T) {
	shelf := newShelf()
	s := serve(t, func(d *Deps) {
		f := shelf.fake()
		f.lease = func(_ context.Context, q adapters.Query) (*adapters.Lease, error) {
			if shelf.taken.Load() > 0 {
				return nil, errors.New("disk on fire")
			}
			return shelf.hold(shelf.entries[1]), nil
		}
		d.Adapters = f
	})
	s.do(http.MethodGet, "/v1/adapters/acme/reviews/diff", "").problem(t, 500, codeInternal)
	shelf.settled(t, 1)
}

func TestSidecarChanges(t *testing.T) {
	one, two := adapters.DefaultSidecar(), adapters.DefaultSidecar()
	if got, _ := json.Marshal(changesOf(one, two)); string(got) != "{}" {
		t.Errorf("equal: %s", got)
	}
	two.Labels[2].Verbaliser, two.Temperature = "good", 2
	got, err := json.Marshal(changesOf(one, two))
	if err != nil || !strings.Contains(string(got), `{"name":"positive","verbaliser":"good"}`) || !strings.Contains(string(got), `"temperature":{"from":1,"to":2}`) {
		t.Errorf("got %s, %v", got, err)
	}
}
