package hub

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"valence/adapters"
	"valence/adapters/hub/hubtest"
)

// pushOf is a push of an adapter to a repository, by its owner.
func pushOf(id string) Push {
	p := Push{Ref: adapters.Ref{ID: id}, Message: "add an adapter", Token: alice}
	for _, name := range []string{"adapter_config.json", "adapter_model.safetensors", "README.md"} {
		p.Files = append(p.Files, Upload{name, adapter()[name]})
	}
	return p
}

func sameFiles(got, want map[string][]byte) bool {
	for name, data := range want {
		if !bytes.Equal(got[name], data) {
			return false
		}
	}
	return len(got) == len(want)+1 // .gitattributes
}

func TestPush(t *testing.T) {
	server, _ := start(t)
	server.Create("alice/new", hubtest.Repo{})
	c := newClient(t, server, nil)
	p := pushOf("alice/new")
	p.Files = append(p.Files, Upload{"empty.bin", nil}, Upload{"sub/copy.safetensors", adapter()["adapter_model.safetensors"]})
	commit, err := c.Push(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	want := adapter()
	want["empty.bin"], want["sub/copy.safetensors"] = nil, want["adapter_model.safetensors"]
	if !sameFiles(server.Files("alice/new", "main"), want) {
		t.Errorf("the hub has %v", server.Files("alice/new", "main"))
	}
	if at, err := c.Resolve(t.Context(), p.Ref, ""); err != nil || at != commit {
		t.Errorf("main is at %s, not %s: %v", at, commit, err)
	}
	seen := server.Requests()
	if count(seen, "POST", "/commit/") != 1 || count(seen, "PUT", objects) != 0 {
		t.Errorf("%+v", seen) // the hub has the object since start
	}
}

func TestPushUploadsObjects(t *testing.T) {
	server, err := hubtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.AddToken(alice, "alice")
	c := newClient(t, server, nil)
	p := pushOf("alice/new")
	p.Create, p.Private = true, true
	if _, err := c.Push(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	seen := server.Requests()
	noLeak(t, seen)
	if count(seen, "PUT", objects) != 1 || count(seen, "POST", "/verify") != 1 || count(seen, "POST", "/create") != 1 {
		t.Errorf("%+v", seen)
	}
	_, err = c.Resolve(t.Context(), p.Ref, "")
	expect(t, err, ErrNotFound, "private")
	if !sameFiles(server.Files("alice/new", "main"), adapter()) {
		t.Error("the hub has other files")
	}
}

// Files that are there already are not part of a commit, and without any there is none.
func TestPushAgain(t *testing.T) {
	server, first := start(t)
	c := newClient(t, server, nil)
	p := pushOf(reviews.ID)
	if commit, err := c.Push(t.Context(), p); err != nil || commit != first {
		t.Errorf("%s, %v", commit, err)
	}
	p.Files[2].Data = []byte("# Reviews, improved\n")
	commit, err := c.Push(t.Context(), p)
	if err != nil || commit == first {
		t.Errorf("%s, %v", commit, err)
	}
	want := adapter()
	want["README.md"] = p.Files[2].Data
	if !sameFiles(server.Files(reviews.ID, commit), want) || !sameFiles(server.Files(reviews.ID, first), adapter()) {
		t.Error("the hub has other files")
	}
}

func TestPushToBranch(t *testing.T) {
	server, first := start(t)
	server.Branch(reviews.ID, "work/next", first)
	c := newClient(t, server, nil)
	p := Push{Ref: adapters.Ref{ID: reviews.ID, Revision: "work/next"}, Message: "m", Token: alice, Parent: first,
		Files: []Upload{{"valence.json", []byte("{}")}}}
	if _, err := c.Push(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if server.Files(reviews.ID, "main")["valence.json"] != nil || server.Files(reviews.ID, "work/next")["valence.json"] == nil {
		t.Error("another branch has moved")
	}
	p.Files[0].Data = []byte("{ }")
	_, err := c.Push(t.Context(), p) // the parent is not the head any more
	expect(t, err, ErrConflict, "A commit has happened since")
}

func TestPushRefuses(t *testing.T) {
	server, _ := start(t)
	server.Commit(reviews.ID, "main", "ignore", map[string][]byte{".gitignore": []byte("*.log\n")})
	one := []Upload{{"a", []byte("a")}}
	for _, tt := range []struct {
		name string
		push Push
		want error
		says string
	}{
		{"no files", Push{Ref: reviews, Message: "m"}, ErrInvalid, "a file"},
		{"no message", Push{Ref: reviews, Message: " ", Files: one}, ErrInvalid, "a message"},
		{"a path that leads out", Push{Ref: reviews, Message: "m", Files: []Upload{{"../a", nil}}}, ErrInvalid, "relative path"},
		{"a file twice", Push{Ref: reviews, Message: "m", Files: []Upload{{"a", nil}, {"a", nil}}}, ErrInvalid, "twice"},
		{"a short parent", Push{Ref: reviews, Message: "m", Files: one, Parent: "abcdef"}, ErrInvalid, "parent"},
		{"too large", Push{Ref: reviews, Message: "m", Files: []Upload{{"a", make([]byte, 600)}, {"b", make([]byte, 600)}}}, ErrTooLarge, "1200 bytes; the limit is 1000"},
		{"no owner", Push{Ref: adapters.Ref{ID: "new"}, Message: "m", Files: one, Create: true}, ErrInvalid, "owner/name"},
		{"a strange id", Push{Ref: adapters.Ref{ID: "a/b/c"}, Message: "m", Files: one}, adapters.ErrID, ""},
		{"ignored", Push{Ref: reviews, Message: "m", Files: []Upload{{"x.log", []byte("a")}}, Token: alice}, ErrRejected, ".gitignore leaves it out"},
		{"no repository", Push{Ref: adapters.Ref{ID: "alice/none"}, Message: "m", Files: one, Token: alice}, ErrNotFound, "alice/none"},
		{"no branch", Push{Ref: adapters.Ref{ID: reviews.ID, Revision: "none"}, Message: "m", Files: one, Token: alice, Create: true}, ErrNotFound, "no such branch"},
		{"no token", Push{Ref: reviews, Message: "m", Files: one}, ErrUnauthorized, "has not the right"},
		{"another's token", Push{Ref: reviews, Message: "m", Files: one, Token: bob}, ErrUnauthorized, "has not the right"},
		{"another's namespace", Push{Ref: adapters.Ref{ID: "alice/none"}, Message: "m", Files: one, Token: bob, Create: true}, ErrUnauthorized, "namespace alice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, server, func(o *Options) { o.MaxBytes = 1000 })
			_, err := c.Push(t.Context(), tt.push)
			expect(t, err, tt.want, tt.says)
		})
	}
	_, err := newClient(t, server, nil).offline(t).Push(t.Context(), pushOf(reviews.ID))
	expect(t, err, ErrOffline, "HF_HUB_OFFLINE")
}

func TestPushFaults(t *testing.T) {
	failing := func(status int, path string, times int) hubtest.Fault {
		return hubtest.Fault{Kind: hubtest.Status, Status: status, Method: http.MethodPost, Path: path, Times: times}
	}
	for _, tt := range []struct {
		name    string
		fault   hubtest.Fault
		want    error // nil: the push succeeds all the same
		says    string
		commits int // requests for one
	}{
		{"500 once before the commit", failing(500, "/preupload/", 1), nil, "", 1},
		{"500 once at the batch", failing(500, "/objects/batch", 1), nil, "", 1},
		{"500 once at the storage", hubtest.Fault{Kind: hubtest.Status, Status: 500, Method: http.MethodPut, Times: 1}, nil, "", 1},
		{"cut at the storage", hubtest.Fault{Kind: hubtest.Cut, Method: http.MethodPut, Times: 1}, nil, "", 1},
		{"403 at the storage", hubtest.Fault{Kind: hubtest.Status, Status: 403, Method: http.MethodPut}, ErrUnavailable, "new.safetensors", 0},
		{"a redirect at the storage", hubtest.Fault{Kind: hubtest.Status, Status: 307, Method: http.MethodPut,
			Header: map[string]string{"Location": "http://127.0.0.1:1/"}}, ErrUnavailable, "redirects a PUT", 0},
		{"404 at the verification", failing(404, "/verify", 0), ErrNotFound, "new.safetensors", 0},
		{"429 once at the commit", failing(429, "/commit/", 1), nil, "", 2},
		{"503 once at the commit", failing(503, "/commit/", 1), nil, "", 2},
		// It may have been made: no second one.
		{"500 at the commit", failing(500, "/commit/", 1), ErrUnavailable, "500", 1},
		{"cut at the commit", hubtest.Fault{Kind: hubtest.Cut, Path: "/commit/", Times: 1}, ErrUnavailable, "alice/reviews@main", 1},
		{"413 at the commit", failing(413, "/commit/", 0), ErrTooLarge, "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, first := start(t)
			c := newClient(t, server, nil)
			server.Fail(tt.fault)
			p := Push{Ref: reviews, Message: "m", Token: alice, Files: []Upload{{"new.safetensors", []byte("new")}, {"small", []byte("s")}}}
			commit, err := c.Push(t.Context(), p)
			if tt.want != nil {
				expect(t, err, tt.want, tt.says)
			} else if err != nil {
				t.Fatal(err)
			}
			seen := server.Requests()
			if n := count(seen, "POST", "/commit/"); n != tt.commits {
				t.Errorf("%d requests for a commit", n)
			}
			server.Heal()
			again, err := c.Push(t.Context(), p)
			if err != nil || again == first || (commit != "" && again != commit) {
				t.Errorf("pushed again: %s after %s: %v", again, commit, err)
			}
		})
	}
}

// What a hub says of the upload is checked.
func TestPushStrangeAnswers(t *testing.T) {
	data := []byte("new")
	oid := sha256Of(data)
	mode := `{"files":[{"path":"f.bin","uploadMode":"lfs"}]}`
	for _, tt := range []struct{ preupload, batch, commit, says string }{
		{`{"files":[]}`, "", "", "does not tell how to store it"},
		{mode, `{"objects":[]}`, "", "does not tell where to store it"},
		{mode, `{"objects":[{"oid":"00"}]}`, "", "unknown object"},
		{mode, `{"objects":[{"oid":"` + oid + `","error":{"code":422,"message":"full"}}]}`, "", `422 "full"`},
		{mode, `{"objects":[{"oid":"` + oid + `","actions":{"upload":{"href":"x","header":{"chunk_size":"5"}}}}]}`, "", "in parts"},
		{mode, `{"objects":[{"oid":"` + oid + `","actions":{"upload":{"href":"::"}}}]}`, "", "no URL"},
		{mode, `{"objects":[{"oid":"` + oid + `"}]}`, `{"commitOid":"x"}`, `names the commit "x"`},
		{mode, `[]`, "", "not understood"},
	} {
		c := fake(t, func(w http.ResponseWriter, r *http.Request) {
			answer := fmt.Sprintf(`{"sha":"%040d"}`, 1)
			for part, a := range map[string]string{"/preupload/": tt.preupload, "/batch": tt.batch, "/commit/": tt.commit} {
				if strings.Contains(r.URL.Path, part) {
					answer = a
				}
			}
			fmt.Fprint(w, answer)
		})
		_, err := c.Push(t.Context(), Push{Ref: reviews, Message: "m", Files: []Upload{{"f.bin", data}}})
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v does not say %q", err, tt.says)
		}
	}
}
