package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// go test ./cmd/valence -run TestSoak -soak 20000 -soak-url http://127.0.0.1:8080
//
// sends so many requests to a server that runs elsewhere, with adapters "half" and
// "twice" as TestServeAnAdapterForEachRow makes them, or none of that name.
var (
	soakRequests = flag.Int("soak", 800, "requests of TestSoak")
	soakURL      = flag.String("soak-url", "", "server for TestSoak; none starts one")
)

const soakClients = 32

// soakBodies are requests of many kinds: lengths, modes, adapters, and rows that fail.
func soakBodies(adapters []string) []string {
	var out []string
	words := strings.Fields("the room was clean but nobody answered the phone and I loved every minute of it although it rained all day")
	for i := range 24 {
		text := strings.Join(words[:1+i*7%len(words)], " ")
		adapter := adapters[i%len(adapters)]
		out = append(out, fmt.Sprintf(`{"text": %q, "adapter": %q}`, text, adapter))
		switch i % 4 {
		case 0:
			out = append(out, fmt.Sprintf(`{"text": %q, "mode": "generate", "max_new_tokens": 3}`, text))
		case 1:
			out = append(out, fmt.Sprintf(`{"inputs": [%q, {"text": %q, "adapter": %q}, "", {"text": "x", "adapter": "nobody"}]}`, text+text, text, adapter))
		case 2:
			out = append(out, fmt.Sprintf(`{"text": %q, "labels": ["negative", "positive"]}`, strings.Repeat(text+" ", i)))
		}
	}
	return append(out, `{"text": ""}`, `{"text": 5}`, `{`)
}

// reply is the status and the part of an answer that must not change.
type reply struct {
	status int
	labels []string
	scores []map[string]float64
}

func soakAsk(client *http.Client, url, body string) (reply, error) {
	resp, err := client.Post(url+"/v1/sentiment", "application/json", strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	var answer struct {
		Results []struct {
			Label  string
			Scores map[string]float64
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return reply{}, err
	}
	r := reply{status: resp.StatusCode}
	for _, row := range answer.Results {
		r.labels, r.scores = append(r.labels, row.Label), append(r.scores, row.Scores)
	}
	return r, nil
}

// differs says how two answers differ, or "".
func (r reply) differs(o reply) string {
	if r.status != o.status || len(r.labels) != len(o.labels) {
		return fmt.Sprintf("%v and %v", r, o)
	}
	for i := range r.scores {
		for label, p := range r.scores[i] {
			if math.Abs(p-o.scores[i][label]) > 1e-4 {
				return fmt.Sprintf("row %d: %v and %v", i, r.scores[i], o.scores[i])
			}
		}
	}
	return ""
}

// gauge reads one metric of the server.
func gauge(t *testing.T, url, name string) float64 {
	t.Helper()
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(bytes.NewReader(body)); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestSoak wants every answer under load equal to the answer alone, and nothing to
// grow: tensor handles at all, and in a long run memory.
func TestSoak(t *testing.T) {
	url := *soakURL
	if url == "" {
		url, _, _ = serve(t, "--adapter", "half="+adapterFolder(t, 0.5, ""), "--adapter", "twice="+adapterFolder(t, 1.5, ""))
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: soakClients}}
	defer client.CloseIdleConnections()
	bodies := soakBodies([]string{"base", "half", "twice", "base"})
	want := make([]reply, len(bodies))
	for i, body := range bodies {
		var err error
		if want[i], err = soakAsk(client, url, body); err != nil {
			t.Fatal(err)
		}
	}
	handles := gauge(t, url, "valence_torch_live_handles")
	tenth := *soakRequests / 10
	soak(t, client, url, bodies, want, 0, tenth)
	before := gauge(t, url, "process_resident_memory_bytes")
	soak(t, client, url, bodies, want, tenth, *soakRequests)
	after := gauge(t, url, "process_resident_memory_bytes")
	t.Logf("%d requests: %.0f handles; resident %.1f MB after the first tenth, %.1f MB at the end", *soakRequests, handles, before/1e6, after/1e6)
	if n := gauge(t, url, "valence_torch_live_handles"); n != handles {
		t.Errorf("%v tensor handles at the start, %v at the end", handles, n)
	}
	if *soakRequests >= 20000 && after > 1.02*before {
		t.Errorf("resident memory grew from %.1f to %.1f MB", before/1e6, after/1e6)
	}
}

// soak sends requests from to to.
func soak(t *testing.T, client *http.Client, url string, bodies []string, want []reply, from, to int) {
	t.Helper()
	var next atomic.Int64
	next.Store(int64(from))
	var wg sync.WaitGroup
	for range soakClients {
		wg.Go(func() {
			for n := int(next.Add(1)) - 1; n < to; n = int(next.Add(1)) - 1 {
				i := n * 7 % len(bodies)
				got, err := soakAsk(client, url, bodies[i])
				if err != nil {
					t.Errorf("request %d: %v", n, err)
				} else if d := want[i].differs(got); d != "" {
					t.Errorf("request %d, %s: %s", n, bodies[i], d)
				}
			}
		})
	}
	wg.Wait()
}
