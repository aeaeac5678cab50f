package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// seen is what a test's server got.
type seen struct {
	method, path, query, body string
	header                    http.Header
}

// server answers every call with the status, header and body in turn; the last one on
// and on.
func server(t *testing.T, answers ...answer) (*Client, *[]seen) {
	t.Helper()
	calls := &[]seen{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*calls = append(*calls, seen{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, string(body), r.Header})
		a := answers[min(len(*calls), len(answers))-1]
		if a.retryAfter != "" {
			w.Header().Set("Retry-After", a.retryAfter)
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}))
	t.Cleanup(s.Close)
	c, err := New(Options{URL: s.URL + "/", Key: "the key", HubToken: "hub", Patience: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c, calls
}

type answer struct {
	status     int
	body       string
	retryAfter string
}

func TestCallsAreAsTheContractHasThem(t *testing.T) {
	ctx := context.Background()
	half := 0.5
	no := false
	for _, tc := range []struct {
		name string
		do   func(*Client) error
		want seen
	}{
		{"base", func(c *Client) error { _, err := c.Base(ctx); return err }, seen{method: "GET", path: "/v1/base"}},
		{"list", func(c *Client) error { _, err := c.Adapters(ctx); return err }, seen{method: "GET", path: "/v1/adapters", query: "limit=1000"}},
		{"inspect", func(c *Client) error { _, err := c.Adapter(ctx, "a/b@v2"); return err }, seen{method: "GET", path: "/v1/adapters/a%2Fb@v2"}},
		{"delete", func(c *Client) error { return c.Delete(ctx, "a/b") }, seen{method: "DELETE", path: "/v1/adapters/a%2Fb"}},
		{"activate", func(c *Client) error { _, err := c.Activate(ctx, "a", "v2"); return err },
			seen{method: "POST", path: "/v1/adapters/a/activate", body: `{"version":"v2"}`}},
		{"rollback", func(c *Client) error { _, err := c.Rollback(ctx, "a"); return err }, seen{method: "POST", path: "/v1/adapters/a/rollback"}},
		{"pin", func(c *Client) error { _, err := c.Pin(ctx, "a"); return err }, seen{method: "POST", path: "/v1/adapters/a/pin"}},
		{"unpin", func(c *Client) error { _, err := c.Unpin(ctx, "a"); return err }, seen{method: "POST", path: "/v1/adapters/a/unpin"}},
		{"pull", func(c *Client) error {
			_, err := c.Pull(ctx, "a", PullRequest{Repo: "x/y", Revision: "main", Activate: &no})
			return err
		}, seen{method: "POST", path: "/v1/adapters/a/pull", body: `{"repo":"x/y","revision":"main","activate":false}`}},
		{"push", func(c *Client) error {
			_, err := c.Push(ctx, "a", PushRequest{Repo: "x/y", Create: true, Private: true})
			return err
		}, seen{method: "POST", path: "/v1/adapters/a/push", body: `{"repo":"x/y","create":true,"private":true}`}},
		{"sentiment", func(c *Client) error {
			_, err := c.Sentiment(ctx, Request{Inputs: []Input{
				{Text: "one"}, {Text: "two", Adapter: One("a@v1"), Strength: &half},
				{Text: "three", Adapter: Mix{{"b", 0.75}, {"a", 0.25}}},
			}})
			return err
		}, seen{method: "POST", path: "/v1/sentiment",
			body: `{"inputs":[{"text":"one"},{"text":"two","adapter":"a@v1","strength":0.5},{"text":"three","adapter":{"b":0.75,"a":0.25}}]}`}},
		{"jury", func(c *Client) error {
			_, err := c.Sentiment(ctx, Request{Inputs: []Input{{Text: "one"}}, Jury: []string{"a", "b"}})
			return err
		}, seen{method: "POST", path: "/v1/sentiment", body: `{"inputs":[{"text":"one"}],"jury":["a","b"]}`}},
	} {
		c, calls := server(t, answer{status: 200, body: "{}"})
		if err := tc.do(c); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		got := (*calls)[0]
		if got.method != tc.want.method || got.path != tc.want.path || got.query != tc.want.query || got.body != tc.want.body {
			t.Errorf("%s: %s %s?%s %s", tc.name, got.method, got.path, got.query, got.body)
		}
		if got.header.Get("Authorization") != "Bearer the key" || got.header.Get("X-Hub-Token") != "hub" {
			t.Errorf("%s: %v", tc.name, got.header)
		}
		if media := got.header.Get("Content-Type"); (media == "application/json") != (got.body != "") {
			t.Errorf("%s: type %q of %q", tc.name, media, got.body)
		}
	}
}

func TestUploadSendsEachFile(t *testing.T) {
	files := map[string][]byte{"adapter_config.json": []byte("{}"), "adapter_model.safetensors": {0, 1, 2, 255}}
	got := map[string][]byte{}
	var query string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		reader, err := r.MultipartReader()
		for err == nil {
			part, errPart := reader.NextPart()
			if err = errPart; err == nil {
				got[part.FileName()], err = io.ReadAll(part)
			}
		}
		w.WriteHeader(201)
		_, _ = io.WriteString(w, `{"id":"a","version":"v3","new":true,"versions":[{"version":"v3","digest":"sha256:1","active":true}]}`)
	}))
	defer s.Close()
	c, err := New(Options{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	published, err := c.Upload(t.Context(), "a", files, false)
	if err != nil || !published.New || published.Version != "v3" || query != "activate=false" {
		t.Errorf("%+v, %v, %s", published, err, query)
	}
	if v, ok := published.ByDigest("sha256:1"); !ok || !v.Active {
		t.Errorf("%+v", published.Versions)
	}
	for name, data := range files {
		if string(got[name]) != string(data) {
			t.Errorf("%s: %q", name, got[name])
		}
	}
}

func TestAdaptersReadsAllPages(t *testing.T) {
	c, calls := server(t, answer{status: 200, body: `{"adapters":[{"id":"base"},{"id":"a"}],"next":"a"}`}, answer{status: 200, body: `{"adapters":[{"id":"b"}]}`})
	all, err := c.Adapters(t.Context())
	if err != nil || len(all) != 3 || all[2].ID != "b" || (*calls)[1].query != "after=a&limit=1000" {
		t.Errorf("%+v, %v, %+v", all, err, *calls)
	}
}

func TestAnswersAreRead(t *testing.T) {
	c, _ := server(t, answer{status: 200, body: `{"results":[{"index":1,"label":"positive","score":0.9,"scores":{"positive":0.9,"negative":0.1},
		"adapter":{"blend":[{"id":"a","version":"v1","digest":"sha256:1","weight":0.3}],"strength":0.5},"tokens":5,"truncated":false,"new_field":1}],
		"errors":[{"index":0,"status":404,"code":"adapter_not_found","detail":"x"}]}`})
	a, err := c.Sentiment(t.Context(), Request{})
	if err != nil {
		t.Fatal(err)
	}
	r := a.Results[0]
	if *r.Label != "positive" || r.Scores["negative"] != 0.1 || r.Adapter.Blend[0].Weight != 0.3 || *r.Adapter.Strength != 0.5 {
		t.Errorf("%+v", r)
	}
	if a.Errors[0].Code != "adapter_not_found" || a.Trip.Sent.IsZero() || a.Trip.Received.Before(a.Trip.Sent) {
		t.Errorf("%+v", a)
	}
}

func TestProblems(t *testing.T) {
	for _, tc := range []struct {
		answer
		code, text string
	}{
		{answer{status: 422, body: `{"type":"about:blank","title":"Unprocessable Entity","status":422,"code":"invalid_request","detail":"bad","request_id":"r1",
			"errors":[{"pointer":"/inputs/0/text","detail":"too short","code":"min"}]}`}, "invalid_request",
			"the server answered 422 Unprocessable Entity (invalid_request): bad; /inputs/0/text: too short [request r1]"},
		{answer{status: 502, body: "<html>proxy</html>"}, "", "the server answered 502 Bad Gateway: <html>proxy</html>"},
		{answer{status: 500, body: "null"}, "", "the server answered 500 Internal Server Error: null"},
		{answer{status: 404}, "", "the server answered 404 Not Found"},
	} {
		c, calls := server(t, tc.answer)
		_, err := c.Adapter(t.Context(), "a")
		p, ok := errors.AsType[*Problem](err)
		if !ok || p.Code != tc.code || p.Status != tc.status || err.Error() != tc.text || len(*calls) != 1 {
			t.Errorf("%d: %v", tc.status, err)
		}
	}
}

func TestUnreadableAnswers(t *testing.T) {
	c, _ := server(t, answer{status: 200, body: `{"id":`})
	if _, err := c.Adapter(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "GET /v1/adapters/a") {
		t.Errorf("%v", err)
	}
	gone, err := New(Options{URL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Base(t.Context()); err == nil || !strings.Contains(err.Error(), "GET /v1/base") || strings.Contains(err.Error(), "http://") {
		t.Errorf("%v", err)
	}
}

func TestWaitsForABusyServer(t *testing.T) {
	t.Parallel()
	busy := answer{status: 429, body: `{"code":"busy","title":"Too Many Requests"}`}
	c, calls := server(t, busy, busy, answer{status: 200, body: "{}"})
	var waits []time.Duration
	c.options.Waiting = func(p *Problem, d time.Duration) { waits = append(waits, d) }
	if _, err := c.Sentiment(t.Context(), Request{}); err != nil || len(*calls) != 3 || len(waits) != 2 || waits[0] != defaultWait {
		t.Errorf("%v, %d calls, %v", err, len(*calls), waits)
	}
}

func TestPatienceEnds(t *testing.T) {
	c, calls := server(t, answer{status: 503, body: `{"code":"not_ready"}`, retryAfter: "3600"})
	_, err := c.Base(t.Context())
	if p, ok := errors.AsType[*Problem](err); !ok || p.RetryAfter != time.Hour || len(*calls) != 1 {
		t.Errorf("%v after %d calls", err, len(*calls))
	}
}

// TestOnceMeansOnce: a roll-back that may have begun must not be repeated.
func TestOnceMeansOnce(t *testing.T) {
	t.Parallel()
	for body, calls := range map[string]int{`{"code":"timeout"}`: 1, "a proxy's page": 1, `{"code":"draining"}`: 2} {
		c, seen := server(t, answer{status: 503, body: body}, answer{status: 200, body: "{}"})
		_, err := c.Rollback(t.Context(), "a")
		if len(*seen) != calls || (err == nil) != (calls == 2) {
			t.Errorf("%s: %d calls, %v", body, len(*seen), err)
		}
		c, seen = server(t, answer{status: 503, body: body}, answer{status: 200, body: "{}"})
		if _, err := c.Activate(t.Context(), "a", "v1"); err != nil || len(*seen) != 2 {
			t.Errorf("activate, %s: %d calls, %v", body, len(*seen), err)
		}
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	c, _ := server(t, answer{status: 429})
	ctx, cancel := context.WithCancel(t.Context())
	c.options.Waiting = func(*Problem, time.Duration) { cancel() }
	if _, err := c.Base(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"7": 7 * time.Second, "-1": 0, "": 0, "soon": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := parseRetryAfter(s, now); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:8080", "localhost:8080", "ftp://x", "http://", "http://x?y=z", "http://user@x", "http://x\x7f"} {
		if _, err := New(Options{URL: url}); !errors.Is(err, ErrURL) {
			t.Errorf("%q: %v", url, err)
		}
	}
	c, err := New(Options{URL: "https://example.com/api/"})
	if err != nil || c.URL() != "https://example.com/api" {
		t.Errorf("%v", err)
	}
}

func TestMetrics(t *testing.T) {
	c, _ := server(t, answer{status: 200, body: "# HELP a b\n# TYPE a counter\na 5\nb{c=\"d\"} 6\nc 1.5e+06 1700000000\nd NaN\n"})
	m, err := c.Metrics(t.Context())
	if err != nil || m["a"] != 5 || m["c"] != 1.5e6 || len(m) != 3 {
		t.Errorf("%v, %v", m, err)
	}
	for _, bad := range []answer{{status: 200, body: "a b\n"}, {status: 404}} {
		c, _ := server(t, bad)
		if m, err := c.Metrics(t.Context()); err == nil {
			t.Errorf("%v", m)
		}
	}
}

func TestMixRoundTrip(t *testing.T) {
	for want, mix := range map[string]Mix{`"a"`: One("a"), `{"z":0.5,"a":0.5}`: {{"z", 0.5}, {"a", 0.5}}} {
		got, err := json.Marshal(mix)
		if err != nil || string(got) != want {
			t.Errorf("%s, %v", got, err)
		}
	}
}

// TestKeptAnswersAreAskedFor: unless the request allows it, no answer is one that the
// server has kept.
func TestKeptAnswersAreAskedFor(t *testing.T) {
	for kept, want := range map[bool]string{false: "no-cache", true: ""} {
		c, calls := server(t, answer{status: 200, body: `{}`})
		if _, err := c.Sentiment(t.Context(), Request{Inputs: []Input{{Text: "x"}}, Kept: kept}); err != nil {
			t.Fatal(err)
		}
		if got := (*calls)[0].header.Get("Cache-Control"); got != want {
			t.Errorf("kept %v: Cache-Control %q", kept, got)
		}
	}
}
