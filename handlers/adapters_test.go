package handlers

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"valence/adapters"
)

const reviewsInfo = `{"id":"acme/reviews","version":"v2","digest":"sha256:abcdef",` +
	`"labels":[{"name":"negative","verbaliser":"bad"},{"name":"neutral","verbaliser":"so so"},{"name":"positive","verbaliser":"good"}],` +
	`"template":"Review: {text}","temperature":1,"abstain_below":0,"sites":3,"parameters":12,"metrics":{"accuracy":0.91}}`

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
	if !strings.Contains(string(a.body), reviewsInfo) {
		t.Errorf("got %s, which lacks %s", a.body, reviewsInfo)
	}
}

func TestListNoAdapters(t *testing.T) {
	s := serve(t, func(d *Deps) { d.Adapters = fakeAdapters{list: func() []*adapters.Entry { return nil }} })
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
				if a.StatusCode != tt.status || string(a.body) != reviewsInfo+"\n" {
					t.Errorf("status %d: %s", a.StatusCode, a.body)
				}
				return
			}
			a.problem(t, tt.status, tt.code)
		})
	}
}

func TestAdapterLookupFails(t *testing.T) {
	s := serve(t, func(d *Deps) {
		d.Adapters = fakeAdapters{lookup: func(context.Context, string) (*adapters.Entry, error) { return nil, context.DeadlineExceeded }}
	})
	s.do(http.MethodGet, "/v1/adapters/acme/reviews", "").problem(t, 503, "timeout")
	s.post(`{"text":"a"}`).problem(t, 503, "timeout")
}

func TestAnatomy(t *testing.T) {
	s := serve(t, nil)
	for _, path := range []string{"acme/reviews", "acme%2Freviews", "base"} {
		a := s.do(http.MethodGet, "/v1/adapters/"+path+"/anatomy", "")
		var got struct {
			ID      string
			Sites   []struct{ Module string }
			Similar []struct{ ID string }
		}
		if err := json.Unmarshal(a.body, &got, json.MatchCaseInsensitiveNames(true)); err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("%s: status %d: %s", path, a.StatusCode, a.body)
		}
		if path == "base" {
			if len(got.Sites)+len(got.Similar) != 0 {
				t.Errorf("the base: %s", a.body)
			}
			continue
		}
		if got.ID != "acme/reviews" || len(got.Sites) != 1 || got.Sites[0].Module != "a.k" || len(got.Similar) != 1 || got.Similar[0].ID != "acme/careful" {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	s.do(http.MethodGet, "/v1/adapters/nobody/anatomy", "").problem(t, http.StatusNotFound, "adapter_not_found")
}
