package conformance

import (
	"errors"
	"sync"
)

// maxExamples is how many wrong answers are explained; all are counted.
const maxExamples = 10

// Report is what a run found.
type Report struct {
	URL          string       `json:"url"`
	Base         baseReport   `json:"base"`
	Seed         uint64       `json:"seed"`
	Adapters     int          `json:"adapters"`
	Versions     int          `json:"versions"` // that were uploaded before the load
	Clients      int          `json:"clients"`
	Distribution Distribution `json:"distribution"`
	Tolerance    float64      `json:"tolerance"`
	Churned      bool         `json:"churned"`

	References int     `json:"references"` // rows that were asked alone
	Apart      float64 `json:"apart"`      // share of exchanged answers that comparing finds

	Load  *Load `json:"load"` // nil where the run did not come so far
	One   *Load `json:"one_adapter,omitzero"`
	Ratio *struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"ratio,omitzero"` // of Load to One

	Rows      map[string]int `json:"rows"`      // that were checked, by what they asked for
	Wrong     int            `json:"wrong"`     // all that must not be; see Failed
	Kinds     map[string]int `json:"kinds"`     // of Wrong
	Examples  []Wrong        `json:"examples"`  // the first few
	Expected  map[string]int `json:"expected"`  // rows' errors that had to be or could be, by code
	Undecided int            `json:"undecided"` // rows whose version could not be judged: a change had no outcome
	Waits     map[string]int `json:"waits"`     // calls that the server sent away for a while, by code
	Changes   map[string]int `json:"changes"`   // by kind
	Refused   map[string]int `json:"refused"`   // changes, by kind, status and code

	Server    map[string]Figure `json:"server"` // nil where the metrics could not be read
	NoMetrics string            `json:"no_metrics,omitzero"`

	mu sync.Mutex
}

type baseReport struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	DType  string `json:"dtype"`
	Device string `json:"device"`
}

// Figure is one of the server's metrics before the run, after its load, and after its
// adapters were deleted.
type Figure struct {
	Before float64 `json:"before"`
	Loaded float64 `json:"loaded"`
	After  float64 `json:"after"`
}

func newReport(r *run) *Report {
	return &Report{
		URL: r.api.URL(), Seed: r.Seed, Adapters: r.Adapters, Clients: r.Clients, Distribution: r.Distribution,
		Tolerance: r.Tolerance, Churned: r.Churn,
		Rows: map[string]int{}, Kinds: map[string]int{}, Examples: []Wrong{}, Expected: map[string]int{},
		Waits: map[string]int{}, Changes: map[string]int{}, Refused: map[string]int{},
	}
}

// Failed tells whether the server broke its promise.
func (r *Report) Failed() bool { return r.Wrong > 0 }

func (r *Report) wrong(w Wrong) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Wrong++
	r.Kinds[w.Kind]++
	if len(r.Examples) < maxExamples {
		r.Examples = append(r.Examples, w)
	}
}

// fault files what judge or pair found.
func (r *Report) fault(row asked, err error) {
	w := Wrong{Kind: "no answer", Row: row.name(), Detail: err.Error()}
	if f, ok := errors.AsType[*faultError](err); ok {
		w.Kind, w.Detail = f.kind, f.detail
	}
	r.wrong(w)
}

// checked counts a row. Its error counts as expected until it is found to be wrong.
func (r *Report) checked(row judged) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Rows[row.kind]++
	if row.failure != nil {
		r.Expected[row.failure.Code]++
	}
}

func (r *Report) count(counts map[string]int, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts[name]++
}

func (r *Report) changed(kind string)      { r.count(r.Changes, kind) }
func (r *Report) failedChange(what string) { r.count(r.Refused, what) }
func (r *Report) waited(code string)       { r.count(r.Waits, code) }

func (r *Report) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Undecided++
}

// setLoad files the load and compares it with that on one adapter.
func (r *Report) setLoad(l *Load) {
	r.Load = l
	if r.One == nil || r.One.P50 == 0 || r.One.P99 == 0 {
		return
	}
	r.Ratio = &struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	}{l.P50 / r.One.P50, l.P99 / r.One.P99}
}

// figures are the metrics that a report shows.
func figures() []string {
	return []string{
		"valence_adapter_cache_hits_total", "valence_adapter_cache_misses_total", "valence_adapter_cache_evictions_total",
		"valence_adapter_cache_resident", "valence_adapter_cache_resident_bytes",
		"valence_torch_live_handles", "process_resident_memory_bytes",
	}
}

// setServer files the metrics; each argument is nil where they could not be read.
func (r *Report) setServer(before, loaded, after map[string]float64) {
	if before == nil || loaded == nil || after == nil {
		return
	}
	r.NoMetrics = ""
	r.Server = map[string]Figure{}
	for _, name := range figures() {
		if _, ok := after[name]; ok {
			r.Server[name] = Figure{before[name], loaded[name], after[name]}
		}
	}
}
