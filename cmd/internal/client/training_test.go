package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTrainingCalls(t *testing.T) {
	ctx := t.Context()
	file := filepath.Join(t.TempDir(), "a.csv")
	if err := os.WriteFile(file, []byte("text,label\na,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		do   func(*Client) error
		want seen
	}{
		{"upload", func(c *Client) error {
			_, err := c.UploadDataset(ctx, file, url.Values{"name": {"a.csv"}, "header": {"false"}})
			return err
		}, seen{method: "POST", path: "/v1/datasets", query: "header=false&name=a.csv", body: "text,label\na,b\n"}},
		{"train", func(c *Client) error {
			_, err := c.Train(ctx, "a/b", TrainRequest{Data: TrainData{Dataset: "sha256:1"}, Epochs: 2, Sweep: &Sweep{Seed: []int64{1, 2}}}, "k1")
			return err
		}, seen{method: "POST", path: "/v1/adapters/a%2Fb/train", body: `{"data":{"dataset":"sha256:1"},"epochs":2,"sweep":{"seed":[1,2]}}`}},
		{"plan", func(c *Client) error {
			_, err := c.Plan(ctx, "a", TrainRequest{Data: TrainData{Feedback: true}})
			return err
		}, seen{method: "POST", path: "/v1/adapters/a/train", body: `{"data":{"feedback":true},"dry_run":true}`}},
		{"job", func(c *Client) error { _, err := c.Job(ctx, "j1"); return err }, seen{method: "GET", path: "/v1/jobs/j1"}},
		{"cancel", func(c *Client) error { _, err := c.Cancel(ctx, "j1"); return err }, seen{method: "POST", path: "/v1/jobs/j1/cancel"}},
		{"pause", func(c *Client) error { _, err := c.Pause(ctx, "j1"); return err }, seen{method: "POST", path: "/v1/jobs/j1/pause"}},
		{"resume", func(c *Client) error { _, err := c.Resume(ctx, "j1"); return err }, seen{method: "POST", path: "/v1/jobs/j1/resume"}},
		{"retry", func(c *Client) error { _, err := c.Retry(ctx, "j1"); return err }, seen{method: "POST", path: "/v1/jobs/j1/retry"}},
	} {
		// The first answer makes it send everything again.
		c, calls := server(t, answer{status: 503, body: `{"code":"not_ready","status":503}`, retryAfter: "1"}, answer{status: 200, body: "{}"})
		if err := tc.do(c); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		for _, got := range *calls {
			if got.method != tc.want.method || got.path != tc.want.path || got.query != tc.want.query || got.body != tc.want.body {
				t.Errorf("%s: %s %s?%s %s", tc.name, got.method, got.path, got.query, got.body)
			}
			if key := got.header.Get("Idempotency-Key"); (key == "k1") != (tc.name == "train") {
				t.Errorf("%s: key %q", tc.name, key)
			}
		}
		if len(*calls) != 2 {
			t.Errorf("%s: %d calls", tc.name, len(*calls))
		}
	}
	c, calls := server(t, answer{status: 200, body: "{}"})
	if _, err := c.UploadDataset(ctx, filepath.Dir(file), nil); err == nil || len(*calls) != 0 {
		t.Errorf("a folder: %v", err)
	}
}

func TestJobIsRead(t *testing.T) {
	text := `{"id":"j","state":"failed","error":{"code":"diverged","message":"m","phase":"running"},"result":{"accuracy":0.5,"runs":[{"run":1}]},"new":[1, 2]}`
	c, _ := server(t, answer{status: 200, body: text})
	j, err := c.Job(t.Context(), "j")
	if err != nil || !j.Final() || j.Error.Code != "diverged" || j.Result.Runs[0].Run != 1 || string(j.Raw) != text {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestRowsAreNamed(t *testing.T) {
	p := problemOf(422, http.Header{}, []byte(`{"code":"invalid_dataset","errors":[{"pointer":"","detail":"a","line":3,"row":2,"column":"label"},
		{"pointer":"","detail":"b","line":4,"row":3},{"pointer":"","detail":"c","row":4},{"pointer":"","detail":"d","parameter":"format"},{"pointer":"/data","detail":"e"}]}`))
	for _, part := range []string{`line 3, column "label": a`, "line 4: b", "row 4: c", "format: d", "/data: e"} {
		if !strings.Contains(p.Error(), part) {
			t.Errorf("%q is not in %s", part, p)
		}
	}
}

// streamOf is a server whose streams go on one after the other, each ended by what it says.
func streamOf(t *testing.T, streams ...func(w http.ResponseWriter, after string)) *Client {
	t.Helper()
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/jobs/j/events" || r.Header.Get("Accept") != "text/event-stream" || r.Header.Get("Authorization") != "Bearer k" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		n++
		streams[min(n, len(streams))-1](w, r.Header.Get("Last-Event-ID"))
	}))
	t.Cleanup(s.Close)
	c, err := New(Options{URL: s.URL, Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func event(n int, kind, data string) string {
	return fmt.Sprintf(": heartbeat\n\nid: %d\nevent: %s\ndata: {\"sequence\":%d,\"time\":\"2026-01-02T03:04:05Z\",\"kind\":%q,\"data\":%s}\n\n", n, kind, n, kind, data)
}

// follow gives the sequences that came, and the error.
func follow(t *testing.T, c *Client, patience time.Duration) (got []int64, lost int, err error) {
	t.Helper()
	for e, err := range c.Follow(t.Context(), "j", 0, patience, func(error, time.Duration) { lost++ }) {
		if err != nil {
			return got, lost, err
		}
		got = append(got, e.Sequence)
	}
	return got, lost, nil
}

func TestFollowComesBack(t *testing.T) {
	var asked []string
	write := func(w http.ResponseWriter, after string, text string) {
		asked = append(asked, after)
		_, _ = io.WriteString(w, text)
	}
	c := streamOf(t,
		func(w http.ResponseWriter, after string) {
			write(w, after, event(1, "state", `{"to":"queued"}`)+event(2, "step", `{"step":1}`)+"id: 3\nda")
		},
		func(w http.ResponseWriter, after string) {
			w.WriteHeader(503)
			write(w, after, `{"status":503,"code":"draining"}`)
		},
		func(w http.ResponseWriter, after string) { w.WriteHeader(502); write(w, after, "<html>") },
		func(w http.ResponseWriter, after string) { // a connection that breaks off
			write(w, after, event(3, "step", `{"step":2}`))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
		func(w http.ResponseWriter, after string) {
			write(w, after, event(4, "state", `{"to":"succeeded"}`)+event(5, "step", `{}`))
		},
	)
	got, lost, err := follow(t, c, time.Minute)
	if err != nil || fmt.Sprint(got) != "[1 2 3 4]" || lost != 4 || fmt.Sprint(asked) != "[ 2 2 2 3]" {
		t.Errorf("%v, %d times lost, asked %q: %v", got, lost, asked, err)
	}
}

func TestFollowEnds(t *testing.T) {
	send := func(status int, text string) func(http.ResponseWriter, string) {
		return func(w http.ResponseWriter, _ string) { w.WriteHeader(status); _, _ = io.WriteString(w, text) }
	}
	for _, tc := range []struct {
		name   string
		stream func(http.ResponseWriter, string)
		code   string
		err    error
	}{
		{"nothing more", send(204, ""), "", nil},
		{"no job", send(404, `{"status":404,"code":"job_not_found"}`), "job_not_found", nil},
		{"deleted", send(200, event(1, "state", `{"to":"queued"}`)+"event: problem\ndata: {\"status\":404,\"code\":\"job_not_found\"}\n\n"), "job_not_found", nil},
		{"nothing but errors", send(500, "oops"), "", ErrUnreachable},
		{"no events", send(200, "data: {}\n\n"), "", ErrUnreachable},
	} {
		_, _, err := follow(t, streamOf(t, tc.stream), 100*time.Millisecond)
		problem, _ := errors.AsType[*Problem](err)
		switch {
		case tc.code != "" && (problem == nil || problem.Code != tc.code), tc.err != nil && !errors.Is(err, tc.err), tc.code == "" && tc.err == nil && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
