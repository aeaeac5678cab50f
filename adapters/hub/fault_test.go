package hub

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"valence/adapters/hub/hubtest"
)

// Where the requests of a pull go.
const (
	revision = "/api/models/alice/reviews/revision"
	config   = "/adapter_config.json"
	objects  = "/objects/"
)

func TestFaults(t *testing.T) {
	status := func(status int, code string) hubtest.Fault {
		return hubtest.Fault{Kind: hubtest.Status, Status: status, Code: code, Message: "so says the hub"}
	}
	on := func(f hubtest.Fault, method, path string, times int) hubtest.Fault {
		f.Method, f.Path, f.Times = method, path, times
		return f
	}
	wait := func(f hubtest.Fault, value string) hubtest.Fault {
		f.Header = map[string]string{"Retry-After": value}
		return f
	}
	const get, head = http.MethodGet, http.MethodHead
	for _, tt := range []struct {
		name  string
		fault hubtest.Fault
		want  error // nil: the pull succeeds all the same
		says  []string
		waits int
	}{
		{"500 once", on(status(500, ""), get, revision, 1), nil, nil, 1},
		{"500 twice on a file's metadata", on(status(500, ""), head, config, 2), nil, nil, 2},
		{"502 once at the storage", on(status(502, ""), get, objects, 1), nil, nil, 1},
		{"408 once", on(status(408, ""), get, revision, 1), nil, nil, 1},
		{"500 always", on(status(500, ""), get, revision, 0), ErrUnavailable,
			[]string{"alice/reviews@main", "500 Internal Server Error", "so says the hub"}, 2},
		{"503 always on a file", on(status(503, ""), get, config, 0), ErrUnavailable,
			[]string{"alice/reviews@main: adapter_config.json", "503"}, 2},
		{"429 once", on(wait(status(429, ""), "3"), get, revision, 1), nil, nil, 1},
		{"429 always", on(status(429, ""), get, revision, 0), ErrRateLimited, []string{"too many requests", "token"}, 2},
		{"429 for long", on(wait(status(429, ""), "3600"), get, revision, 0), ErrRateLimited, nil, 0},
		{"401", on(status(401, ""), get, revision, 0), ErrUnauthorized, []string{"HF_TOKEN"}, 0},
		{"403", on(status(403, ""), head, config, 0), ErrUnauthorized, []string{"has not the right"}, 0},
		{"403 gated", on(status(403, "GatedRepo"), head, config, 0), ErrGated, []string{"ask for access at http", "/alice/reviews"}, 0},
		{"401 gated", on(status(401, "GatedRepo"), head, config, 0), ErrGated, nil, 0},
		{"404 repository", on(status(404, "RepoNotFound"), get, revision, 0), ErrNotFound, []string{"no such repository"}, 0},
		{"404 revision", on(status(404, "RevisionNotFound"), get, revision, 0), ErrNotFound, []string{"no such branch, tag or commit"}, 0},
		{"404 file", on(status(404, "EntryNotFound"), head, config, 0), ErrNotFound, []string{"adapter_config.json"}, 0},
		{"404 without a code", on(status(404, ""), head, config, 0), ErrNotFound, []string{"404"}, 0},
		{"409", on(status(409, ""), get, revision, 0), ErrConflict, nil, 0},
		{"413", on(status(413, ""), get, revision, 0), ErrTooLarge, nil, 0},
		{"400", on(status(400, ""), get, revision, 0), ErrRejected, []string{"400"}, 0},
		{"an address that has expired, once", on(status(403, ""), get, objects, 1), nil, nil, 1},
		{"an address that has expired, always", on(status(403, ""), get, objects, 0), ErrUnavailable,
			[]string{"adapter_model.safetensors", "403"}, 2},

		{"cut before the answer", hubtest.Fault{Kind: hubtest.Cut, Path: revision, Times: 1}, nil, nil, 1},
		{"cut in an answer of the API", hubtest.Fault{Kind: hubtest.Cut, Path: revision, Bytes: 20, Times: 1}, nil, nil, 1},
		{"cut in a file", hubtest.Fault{Kind: hubtest.Cut, Path: objects, Bytes: 700, Times: 1}, nil, nil, 1},
		{"cut always, each time further on", hubtest.Fault{Kind: hubtest.Cut, Path: objects, Bytes: 300}, nil, nil, 6},
		{"cut always, nothing sent", hubtest.Fault{Kind: hubtest.Cut, Path: objects}, ErrUnavailable,
			[]string{"adapter_model.safetensors"}, 2},

		{"a byte short, once", hubtest.Fault{Kind: hubtest.WrongLength, Method: get, Path: objects, Bytes: -1, Times: 1}, nil, nil, 0},
		{"a byte short, always", hubtest.Fault{Kind: hubtest.WrongLength, Method: get, Path: objects, Bytes: -1}, ErrCorrupt,
			[]string{"adapter_model.safetensors", "2047 bytes are sent where 2048 were announced"}, 0},
		{"a byte more, always", hubtest.Fault{Kind: hubtest.WrongLength, Method: get, Path: objects, Bytes: 1}, ErrCorrupt,
			[]string{"2049 bytes are sent where 2048"}, 0},
		{"another length announced", hubtest.Fault{Kind: hubtest.WrongLength, Method: head, Path: "safetensors", Bytes: -48}, ErrCorrupt,
			[]string{"2048 bytes are sent where 2000"}, 0},
		{"a wrong bit, once", hubtest.Fault{Kind: hubtest.WrongHash, Path: objects, Times: 1}, nil, nil, 0},
		{"a wrong bit in a large file", hubtest.Fault{Kind: hubtest.WrongHash, Path: objects}, ErrCorrupt,
			[]string{"adapter_model.safetensors", "another hash"}, 0},
		{"a wrong bit in a small file", hubtest.Fault{Kind: hubtest.WrongHash, Path: config}, ErrCorrupt,
			[]string{"adapter_config.json", "another hash"}, 0},
		{"an answer that is no JSON", hubtest.Fault{Kind: hubtest.WrongHash, Path: revision}, ErrCorrupt,
			[]string{"does the endpoint lead to a Hub?"}, 0},
		{"an endless file", hubtest.Fault{Kind: hubtest.Endless, Method: get, Path: objects}, ErrCorrupt,
			[]string{"more is sent than the 2048 bytes announced"}, 0},
		{"an endless answer of the API", hubtest.Fault{Kind: hubtest.Endless, Path: revision}, ErrTooLarge,
			[]string{"more than 16777216 bytes"}, 0},
		{"no ranges", hubtest.Fault{Kind: hubtest.NoRange}, nil, nil, 0},
		{"files at another host", hubtest.Fault{Kind: hubtest.Redirect, Method: get, Path: "/resolve/"}, nil, nil, 0},
		{"the API at another host", hubtest.Fault{Kind: hubtest.Redirect, Path: revision}, nil, nil, 0},
		{"metadata at another host", hubtest.Fault{Kind: hubtest.Redirect, Method: head, Path: config}, ErrCorrupt,
			[]string{"adapter_config.json", "where " /* the commit */, "was asked"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := start(t)
			c := newClient(t, server, nil)
			server.Fail(tt.fault)
			if tt.want == nil {
				c.mustPull(t, "")
			} else {
				_, err := c.pull(t, "")
				expect(t, err, tt.want, tt.says...)
			}
			if len(c.waits) != tt.waits {
				t.Errorf("waited %v, not %d times", c.waits, tt.waits)
			}
			server.Heal()
			c.mustPull(t, "") // what is left behind does no harm
		})
	}
}

// Faults that time ends are waited for, shortly.
func TestSlow(t *testing.T) {
	for _, tt := range []struct {
		name           string
		fault          hubtest.Fault
		stall, timeout time.Duration
		says           string
	}{
		{"no answer", hubtest.Fault{Kind: hubtest.Stall, Path: revision}, 250 * time.Millisecond, time.Minute, "nothing came for 250ms"},
		{"a file stops coming", hubtest.Fault{Kind: hubtest.Drip, Path: objects, Delay: time.Hour}, 250 * time.Millisecond, time.Minute,
			"after 1 of 2048 bytes: nothing came for 250ms"},
		{"a file trickles", hubtest.Fault{Kind: hubtest.Drip, Path: objects, Delay: time.Millisecond}, time.Minute, 300 * time.Millisecond,
			"longer than the limit of 300ms"},
		{"an answer trickles", hubtest.Fault{Kind: hubtest.Drip, Path: revision, Delay: 5 * time.Millisecond}, time.Minute, 200 * time.Millisecond,
			"longer than the limit of 200ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := start(t)
			c := newClient(t, server, func(o *Options) { o.StallTimeout, o.Timeout, o.Retries = tt.stall, tt.timeout, -1 })
			server.Fail(tt.fault)
			_, err := c.pull(t, "")
			expect(t, err, ErrUnavailable, tt.says)
		})
	}
}

func TestCallerLeaves(t *testing.T) {
	server, _ := start(t)
	c := newClient(t, server, nil)
	server.Fail(hubtest.Fault{Kind: hubtest.Stall, Path: revision})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Snapshot(ctx, reviews, AdapterFiles(), "")
	expect(t, err, context.DeadlineExceeded, "stopped waiting")
	if len(c.waits) > 0 || errors.Is(err, ErrUnavailable) {
		t.Errorf("waited %v: %v", c.waits, err)
	}
}

// A caller whose time ends before the next try would begin is told at once.
func TestNoWaitBeyondDeadline(t *testing.T) {
	server, _ := start(t)
	c := newClient(t, server, nil)
	server.Fail(hubtest.Fault{Kind: hubtest.Status, Status: 429, Header: map[string]string{"Retry-After": "20"}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.Resolve(ctx, reviews, "")
	expect(t, err, ErrRateLimited)
	if e, _ := errors.AsType[*Error](err); e == nil || e.RetryAfter != 20*time.Second || e.Status != 429 || len(c.waits) != 0 {
		t.Errorf("%+v after %v", e, c.waits)
	}
}

func TestResume(t *testing.T) {
	for _, tt := range []struct {
		name       string
		incomplete []byte
		fault      *hubtest.Fault
		ranges     []string // asked of the storage
	}{
		{"from what is there", adapter()["adapter_model.safetensors"][:500], nil, []string{"bytes=500-"}},
		{"nothing is missing", adapter()["adapter_model.safetensors"], nil, nil},
		{"what is there is wrong", bytes.Repeat([]byte{9}, 500), nil, []string{"bytes=500-", ""}},
		{"what is there is wrong and all", bytes.Repeat([]byte{9}, 2048), nil, []string{""}},
		{"what is there is too long", bytes.Repeat([]byte{9}, 5000), nil, []string{""}},
		{"the storage knows no ranges", bytes.Repeat([]byte{9}, 500), &hubtest.Fault{Kind: hubtest.NoRange, Path: objects}, []string{"bytes=500-"}},
		{"the storage cannot do the range", adapter()["adapter_model.safetensors"][:500],
			&hubtest.Fault{Kind: hubtest.Status, Status: 416, Path: objects, Times: 1}, []string{"bytes=500-", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := start(t)
			c := newClient(t, server, nil)
			blob := c.folder(reviews.ID).blob(sha256Of(adapter()["adapter_model.safetensors"]))
			if err := write(blob+".incomplete", tt.incomplete); err != nil {
				t.Fatal(err)
			}
			if tt.fault != nil {
				server.Fail(*tt.fault)
			}
			c.mustPull(t, "")
			if ranges := storageRanges(server); !slices.Equal(ranges, tt.ranges) {
				t.Errorf("asked for the ranges %q", ranges)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(blob), "*.incomplete")); left != nil {
				t.Errorf("%v is left", left)
			}
		})
	}
}

func storageRanges(server *hubtest.Server) (ranges []string) {
	for _, s := range server.Requests() {
		if s.Host == "storage" {
			ranges = append(ranges, s.Range)
		}
	}
	return ranges
}

// What arrived before the network failed is there for the next call.
func TestResumeAcrossCalls(t *testing.T) {
	server, _ := start(t)
	c := newClient(t, server, func(o *Options) { o.Retries = -1 })
	server.Fail(hubtest.Fault{Kind: hubtest.Cut, Path: objects, Bytes: 900, Times: 1})
	_, err := c.pull(t, "")
	expect(t, err, ErrUnavailable, "broke off after 900 of 2048 bytes")
	server.Requests()
	c.mustPull(t, "")
	if ranges := storageRanges(server); !slices.Equal(ranges, []string{"bytes=900-"}) {
		t.Errorf("asked for the ranges %q", ranges)
	}
}

func TestTokenStaysAtEndpoint(t *testing.T) {
	for _, path := range []string{"/resolve/", revision} {
		server, _ := start(t)
		server.Fail(hubtest.Fault{Kind: hubtest.Redirect, Method: http.MethodGet, Path: path})
		c := newClient(t, server, func(o *Options) { o.Token = bob })
		c.mustPull(t, alice)
		seen := server.Requests()
		noLeak(t, seen)
		for _, s := range seen {
			if s.Host == "hub" && s.Authorization != "Bearer "+alice {
				t.Errorf("%s %s has %q", s.Method, s.Path, s.Authorization)
			}
		}
	}
}

// An address that another host gave is not sent the token, even if it is the
// endpoint's.
func TestTokenAfterDetour(t *testing.T) {
	var seen []string
	var home *httptest.Server
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, home.URL+"/back", http.StatusFound)
	}))
	defer away.Close()
	home = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Path+" "+r.Header.Get("Authorization"))
		if r.URL.Path != "/back" {
			http.Redirect(w, r, away.URL, http.StatusFound)
		}
	}))
	defer home.Close()
	c := newClient(t, nil, func(o *Options) { o.Endpoint = home.URL })
	_, err := c.Resolve(t.Context(), reviews, alice)
	expect(t, err, ErrCorrupt)
	if want := revision + "/main Bearer " + alice + "|/back "; strings.Join(seen, "|") != want {
		t.Errorf("saw %q", seen)
	}
}

func TestRedirectsRefused(t *testing.T) {
	for location, says := range map[string]string{
		"/again":            "more than 10 redirects",
		"http://127.0.0.1/": "from https to http",
		"ftp://127.0.0.1/":  "no web address",
	} {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
		}))
		c := newClient(t, nil, func(o *Options) { o.Endpoint, o.HTTPClient = server.URL, server.Client() })
		_, err := c.Resolve(t.Context(), reviews, alice)
		expect(t, err, ErrUnavailable, says)
		server.Close()
	}
}

func TestUntrustedCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it says that the client leaves
	server.StartTLS()
	defer server.Close()
	c := newClient(t, nil, func(o *Options) { o.Endpoint = server.URL })
	_, err := c.Resolve(t.Context(), reviews, alice)
	expect(t, err, ErrUnavailable, "certificate")
	if len(c.waits) != 0 {
		t.Error("it was tried again")
	}
}

func TestUnreachable(t *testing.T) {
	server, _ := start(t)
	c := newClient(t, server, nil)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Resolve(t.Context(), reviews, "")
	expect(t, err, ErrUnavailable, "could not be asked", "connection refused")
	if strings.Contains(err.Error(), "/api/") {
		t.Errorf("%q tells the address", err)
	}
}

func TestCacheFails(t *testing.T) {
	server, _ := start(t)
	c := newClient(t, server, func(o *Options) { o.CacheDir = filepath.Join(t.TempDir(), "file") })
	if err := os.WriteFile(c.o.CacheDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := c.pull(t, "")
	expect(t, err, ErrCache, c.o.CacheDir)
}
