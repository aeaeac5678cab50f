package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// logBuffer collects a log that is written while it is read.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

var readyURL = regexp.MustCompile(`msg=ready url=(\S+)`)

// serve starts the server on a free port and gives its address, its log, and a
// function that stops it as SIGTERM does and gives its exit status.
func serve(t *testing.T, args ...string) (url string, log *logBuffer, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log = &logBuffer{}
	done := make(chan int, 1)
	if !slices.Contains(args, "--database-url") {
		args = append([]string{"--data-dir", t.TempDir()}, args...)
	}
	args = append([]string{"serve", "--threads", "1", "--listen", "127.0.0.1:0"}, args...)
	go func() { done <- run(ctx, args, streams{in: strings.NewReader(""), out: io.Discard, err: log}) }()
	stop = sync.OnceValue(func() int { cancel(); return <-done })
	t.Cleanup(func() { stop() })
	for range 600 {
		if m := readyURL.FindStringSubmatch(log.String()); m != nil {
			return m[1], log, stop
		}
		select {
		case status := <-done:
			done <- status // for stop
			t.Fatalf("the server ended with status %d\n%s", status, log)
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatalf("not ready\n%s", log)
	return "", nil, nil
}

func post(t *testing.T, url, body string) (int, map[string]any) {
	t.Helper()
	resp, err := http.Post(url+"/v1/sentiment", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func TestServeAnswersAndDrains(t *testing.T) {
	url, log, stop := serve(t)
	status, answer := post(t, url, `{"text": "I love it, wonderful!"}`)
	if status != 200 || answer["results"].([]any)[0].(map[string]any)["label"] != "positive" {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer := post(t, url, `{"text": "x", "adapter": "nobody"}`); status != 404 || answer["code"] != "adapter_not_found" {
		t.Errorf("%d %v", status, answer)
	}
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ready", "/metrics": "valence_torch_live_handles", "/openapi.yaml": "openapi: 3.1",
	} {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %v\n%.300s", path, resp.StatusCode, err, body)
		}
	}
	if code := stop(); code != 0 || !strings.Contains(log.String(), "tensor_handles=0") {
		t.Errorf("status %d\n%s", code, log)
	}
}

func TestServeAsksForKeys(t *testing.T) {
	t.Setenv("VALENCE_INFER_KEY", "first-infer-key-1,second-infer-key-2")
	url, log, _ := serve(t, "--admin-key", "the-admin-key-123456", "--listen", "0.0.0.0:0")
	url = "http://127.0.0.1:" + url[strings.LastIndex(url, ":")+1:]
	if status, answer := post(t, url, `{"text": "x"}`); status != 401 || answer["code"] != "unauthorized" {
		t.Errorf("%d %v", status, answer)
	}
	for _, key := range []string{"first-infer-key-1", "second-infer-key-2", "the-admin-key-123456"} {
		r, err := http.NewRequest(http.MethodPost, url+"/v1/sentiment", strings.NewReader(`{"text": "x"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: status %d", key, resp.StatusCode)
		}
	}
	if strings.Contains(log.String(), "infer-key-1") || strings.Contains(log.String(), "the-admin-key") {
		t.Error("a key is in the log")
	}
}

// TestServeFinishesWhatRuns stops the server in the middle of a large request.
func TestServeFinishesWhatRuns(t *testing.T) {
	url, log, stop := serve(t)
	inputs, err := json.Marshal(map[string]any{"inputs": slicesRepeat(strings.Repeat("a long text that takes its time ", 20), 48)})
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 1)
	go func() {
		resp, err := http.Post(url+"/v1/sentiment", "application/json", strings.NewReader(string(inputs)))
		if err != nil {
			answered <- 0
			return
		}
		defer resp.Body.Close()
		answered <- resp.StatusCode
	}()
	time.Sleep(50 * time.Millisecond) // the request is on its way
	if code := stop(); code != 0 {
		t.Errorf("status %d\n%s", code, log)
	}
	if status := <-answered; status != 200 {
		t.Errorf("the running request got %d\n%s", status, log)
	}
}

func slicesRepeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

func TestServeTellsThatAPortIsTaken(t *testing.T) {
	url, _, _ := serve(t)
	status, _, stderr := valence(t, "", "serve", "--listen", strings.TrimPrefix(url, "http://"))
	if status != 1 || !strings.Contains(stderr, "address already in use") {
		t.Errorf("status %d, %s", status, stderr)
	}
}
