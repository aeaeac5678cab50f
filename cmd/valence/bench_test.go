package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"valence/cmd/internal/bench"
)

func TestBenchRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"at least 5":           {"--rounds", "4"},
		`no question "speed"`:  {"--questions", "http,speed"},
		"--threads is 2000":    {"--threads", "2000"},
		"mt0-large":            {"--large", "huge"},
		"unexpected argument ": {"now"},
	} {
		status, _, stderr := valence(t, "", append([]string{"bench"}, args...)...)
		if status != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: status %d, %s", args, status, stderr)
		}
	}
}

func TestBenchWithoutPeers(t *testing.T) {
	status, out, stderr := valence(t, "", "bench", "--questions", "start", "--cache", t.TempDir())
	if status != 1 || !strings.Contains(stderr, "--no-peers") || strings.Contains(out, "bars met") || !strings.Contains(stderr, "make bench") {
		t.Errorf("status %d\n%s\n%s", status, out, stderr)
	}
}

// TestBench asks one question of the tiny base. Whether its bars are met is up to the
// machine; what is printed, written and returned must agree.
func TestBench(t *testing.T) {
	dir := t.TempDir()
	status, out, stderr := valence(t, "", "bench", "--no-peers", "--large", "tiny", "--questions", "adapters",
		"--cache", dir, "--json", filepath.Join(dir, "r.json"), "--pictures", filepath.Join(dir, "pictures"), "--lock", filepath.Join(dir, "lock"))
	data, err := os.ReadFile(filepath.Join(dir, "r.json"))
	if err != nil {
		t.Fatalf("status %d: %v\n%s\n%s", status, err, out, stderr)
	}
	var r bench.Report
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if r.Bars != 2 || len(r.Questions) != 1 || r.Questions[0].Error != "" || len(r.LeftOut) != 8 {
		t.Errorf("%s", data)
	}
	if (status == 0) != (r.Met == 2) || status > 1 {
		t.Errorf("status %d with %d of %d met", status, r.Met, r.Bars)
	}
	if want := fmt.Sprintf("\nbars met %d of 2 (not asked: latency,", r.Met); !strings.Contains(out, want) {
		t.Errorf("no %q in\n%s", want, out)
	}
	for _, s := range r.Questions[0].Series {
		if len(s.Values) != bench.MinRounds || s.Min <= 0 || s.Median < s.Min {
			t.Errorf("%+v", s)
		}
	}
	if picture, err := os.Stat(filepath.Join(dir, "pictures", "adapters.png")); err != nil || picture.Size() < 1000 {
		t.Errorf("picture: %v, %v", picture, err)
	}
}

// TestBenchPicture draws a question without any figure, and one with all kinds of bars.
func TestBenchPicture(t *testing.T) {
	for name, q := range map[string]*bench.Question{
		"empty": {Name: "empty"},
		"full": {Name: "full", Series: []*bench.Series{{Name: "a", Unit: "ms", Median: 3}, {Name: "b", Unit: "ms"}}, Bars: []*bench.Bar{
			{Name: "met", Need: 1, Median: 2, Figures: []float64{2}, Met: true}, {Name: "missed", Need: 1, AtMost: true, Median: 9, Figures: []float64{9}}, {Name: "none", Need: 1},
		}},
	} {
		path := filepath.Join(t.TempDir(), name+".svg")
		if err := drawQuestion(path, q); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range q.Bars {
			if !strings.Contains(string(text), b.Name) {
				t.Errorf("%s: %q is not in the picture", name, b.Name)
			}
		}
	}
}
