package bench

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sample is a report with a bar of each kind.
func sample() *Report {
	q := &Question{Name: "latency", Title: "one row", Seconds: 12, Bars: []*Bar{
		{Name: "against PEFT", Need: 5, Unit: "times", Peers: true},
		{Name: "over HTTP", Need: 1.5, AtMost: true, Unit: "times"},
		{Name: "with labels", Need: 0.2, AtMost: true, Unit: "points", Why: "it takes labelled texts"},
	}}
	for _, ms := range []float64{900, 950, 1000} {
		q.add("PEFT", "ms", ms)
		q.add("ours", "ms", 100)
		q.figure("against PEFT", ms/100)
		q.figure("over HTTP", 1.75)
	}
	q.note("auto is float32")
	q.judge("no time")
	r := &Report{
		Format: 1, Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Rounds: 5, Shape: "tiny", Questions: []*Question{q}, LeftOut: []string{"http"},
		Machine:  Machine{CPU: "A CPU", Cores: 2, Threads: 2, ISA: []string{"avx2", "fma"}, MemoryBytes: 25e9},
		Versions: Versions{Valence: "1", Libtorch: "2", Go: "go3", Peers: map[string]string{"torch": "2.11.0", "peft": "0.18.0"}},
	}
	r.count()
	return r
}

func TestCount(t *testing.T) {
	r := sample()
	if r.Met != 1 || r.Bars != 3 || r.Passed() {
		t.Errorf("met %d of %d, passed %v", r.Met, r.Bars, r.Passed())
	}
	r.Questions[0].Bars = r.Questions[0].Bars[:1]
	r.count()
	if r.Met != 1 || r.Bars != 1 || !r.Passed() {
		t.Errorf("with the met one alone: met %d of %d, passed %v", r.Met, r.Bars, r.Passed())
	}
	r.Questions[0].Error = "broken"
	if r.Passed() {
		t.Error("a question that failed passes")
	}
}

func TestPrint(t *testing.T) {
	var out bytes.Buffer
	r := sample()
	for _, err := range []error{r.PrintHead(&out), r.Questions[0].Print(&out), r.PrintEnd(&out)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := `A CPU, 2 cores (avx2 fma), 2 threads, 25.0 GB of memory
valence 1, libtorch 2, go3, torch 2.11.0, peft 0.18.0
large base: tiny; 5 rounds

latency: one row (12 s)

measured min median unit
PEFT 900 950 ms
ours 100 100 ms

bar asked worst median unit
against PEFT at least 5.00 9.00 9.50 times met
over HTTP at most 1.50 1.75 1.75 times missed
with labels at most 0.2 - - points not measured: it takes labelled texts
note: auto is float32

bars met 1 of 3 (not asked: http)
`
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	if got := strings.Join(lines, "\n") + "\n"; got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	r := sample()
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	back := &Report{}
	if err := json.Unmarshal(out.Bytes(), back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r, back) {
		t.Errorf("read back\n%+v\nwant\n%+v", back, r)
	}
	for _, part := range []string{`"bars_met": 1`, `"bars": 3`, `"median": 950`, `"at_most": true`, `"left_out"`} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%s is missing in\n%s", part, &out)
		}
	}
}

func TestFigureOfNoBar(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a figure that no bar asks for is lost without a word")
		}
	}()
	sample().Questions[0].figure("against nobody", 1)
}
