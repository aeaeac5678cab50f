package handlers

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"valence/adapters"
	"valence/runtime/engine"
)

func TestBlendAndStrength(t *testing.T) {
	const (
		reviews = `"id":"acme/reviews","version":"v2","digest":"sha256:abcdef"`
		careful = `"id":"acme/careful","version":"v2","digest":"sha256:abcdef"`
		base    = `"id":"base","version":"v2","digest":"sha256:abcdef"`
	)
	tests := []struct{ name, body, want string }{
		{"blend", `{"text":"a","adapter":{"acme/reviews":0.7,"acme/careful":0.3}}`,
			`{"blend":[{` + reviews + `,"weight":0.7},{` + careful + `,"weight":0.3}]}`},
		{"the order of the object", `{"text":"a","adapter":{"base":0.25,"acme/reviews":0.75},"strength":1.5}`,
			`{"blend":[{` + base + `,"weight":0.25},{` + reviews + `,"weight":0.75}],"strength":1.5}`},
		{"weights that sum to almost 1", `{"text":"a","adapter":{"acme/reviews":0.3333333,"base":0.6666666}}`,
			`{"blend":[{` + reviews + `,"weight":0.3333333},{` + base + `,"weight":0.6666666}]}`},
		{"strength", `{"text":"a","adapter":"acme/reviews","strength":0.5}`, `{` + reviews + `,"strength":0.5}`},
		{"no effect", `{"text":"a","adapter":"acme/reviews","strength":0}`, `{` + reviews + `,"strength":0}`},
		{"as trained", `{"text":"a","adapter":"acme/reviews","strength":1}`, `{` + reviews + `}`},
		{"an input's own blend", `{"inputs":[{"text":"a","adapter":{"acme/reviews":0.5,"base":0.5}}],"adapter":"base"}`,
			`{"blend":[{` + reviews + `,"weight":0.5},{` + base + `,"weight":0.5}]}`},
		{"an input's own strength", `{"inputs":[{"text":"a","strength":0.25}],"adapter":"acme/reviews","strength":1.5}`, `{` + reviews + `,"strength":0.25}`},
		{"the request's strength", `{"inputs":[{"text":"a","adapter":"acme/reviews"}],"strength":1.5}`, `{` + reviews + `,"strength":1.5}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := serve(t, nil).post(tt.body)
			if !strings.Contains(string(a.body), `"adapter":`+tt.want+`,"tokens"`) {
				t.Errorf("status %d: %s\nlacks %s", a.StatusCode, a.body, tt.want)
			}
		})
	}
}

func TestBlendFails(t *testing.T) {
	s := serve(t, nil)
	p := s.post(`{"inputs":[{"text":"a","adapter":{"acme/reviews":0.5,"acme/none":0.5}}]}`).problem(t, 404, "adapter_not_found")
	if p.faults() != "/inputs/0/adapter adapter_not_found" {
		t.Errorf("faults %s", p.faults())
	}
}

// members answers each jury member with its own probabilities of no and yes.
func members(p map[string][2]float64) func(*Deps) {
	return func(d *Deps) {
		tasks := map[*engine.Task]string{}
		shelf := newShelf()
		shelf.entries = nil
		for id := range p {
			e := entry(id)
			e.Task = &engine.Task{}
			tasks[e.Task] = id
			shelf.entries = append(shelf.entries, e)
		}
		d.Adapters = shelf.fake()
		d.Engine = fakeEngine{func(_ context.Context, reqs []engine.Request) ([]engine.Outcome, error) {
			out := make([]engine.Outcome, len(reqs))
			for i, r := range reqs {
				id := tasks[r.Task]
				labels := []string{"no", "yes"}
				logs := []float64{math.Log(p[id][0]), math.Log(p[id][1])}
				switch {
				case strings.HasPrefix(id, "reversed"):
					labels, logs = []string{"yes", "no"}, []float64{logs[1], logs[0]}
				case strings.HasPrefix(id, "other"):
					labels = []string{"no", "maybe"}
				case strings.HasPrefix(id, "three"):
					labels, logs = append(labels, "maybe"), append(logs, math.Log(1e-9))
				}
				out[i].Result = engine.Result{Labels: labels, LogProbs: logs, Tokens: len(r.Text) + len(id), Truncated: strings.HasPrefix(id, "reversed")}
				if r.Text == "bad for b" && id == "b" {
					out[i].Err = &engine.TooLongError{Tokens: 600, Limit: 512}
				}
			}
			return out, nil
		}}
	}
}

func TestJury(t *testing.T) {
	who := func(id string) string {
		return `{"adapter":{"id":"` + id + `","version":"v2","digest":"sha256:abcdef"},`
	}
	s := serve(t, members(map[string][2]float64{"a": {0.9, 0.1}, "b": {0.2, 0.8}, "reversed": {0.7, 0.3}}))
	tests := []struct{ name, body, want string }{
		{"three members", `{"text":"x","jury":["a","b","reversed"]}`,
			`{"index":0,"label":"no","score":0.6,"scores":{"no":0.6,"yes":0.4},"tokens":9,"truncated":true,"jury":[` +
				who("a") + `"label":"no","score":0.9,"scores":{"no":0.9,"yes":0.1}},` +
				who("b") + `"label":"yes","score":0.8,"scores":{"yes":0.8,"no":0.2}},` +
				who("reversed") + `"label":"no","score":0.7,"scores":{"no":0.7,"yes":0.3}}],` +
				`"agreement":0.66666667,"disagreement":0.2802124}`},
		{"abstain and top_k", `{"text":"x","jury":["b","a"],"abstain_below":0.6,"top_k":1}`,
			`{"index":0,"label":null,"score":0.55,"scores":{"no":0.55},"tokens":2,"truncated":false,"abstained":true,"jury":[` +
				who("b") + `"label":"yes","score":0.8,"scores":{"yes":0.8}},` +
				who("a") + `"label":"no","score":0.9,"scores":{"no":0.9}}],` +
				`"agreement":0.5,"disagreement":0.39731261}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if a := s.post(tt.body); string(a.body) != `{"results":[`+tt.want+`],"errors":[]}`+"\n" {
				t.Errorf("status %d\n got %s\nwant %s", a.StatusCode, a.body, tt.want)
			}
		})
	}
}

// TestJuryThreshold wants the mean of the members' thresholds where the request has none.
func TestJuryThreshold(t *testing.T) {
	a := serve(t, nil).post(`{"text":"a","jury":["base","acme/careful"]}`) // 0 and 0.9; the best score is 0.7
	if !strings.Contains(string(a.body), `"label":"positive","score":0.7`) {
		t.Errorf("abstained above 0.45: %s", a.body)
	}
	a = serve(t, func(d *Deps) {
		shelf := newShelf()
		shelf.entries[0].Sidecar.AbstainBelow = 0.7
		d.Adapters = shelf.fake()
	}).post(`{"text":"a","jury":["base","acme/careful"]}`)
	if !strings.Contains(string(a.body), `"label":null,"score":0.7`) {
		t.Errorf("answered below 0.8: %s", a.body)
	}
}

func TestJuryFails(t *testing.T) {
	p := map[string][2]float64{"a": {0.9, 0.1}, "b": {0.2, 0.8}, "other": {0.5, 0.5}, "three": {0.5, 0.5}}
	s := serve(t, members(p))
	tests := []struct {
		name, body string
		status     int
		code       string
		faults     string
		detail     string
	}{
		{"unknown", `{"text":"x","jury":["a","none"]}`, 404, "adapter_not_found", "/jury/1 adapter_not_found", `jury member "none": no such adapter: "none"`},
		{"no id", `{"text":"x","jury":["a","b--"]}`, 422, "invalid_adapter_id", "/jury/1 invalid_adapter_id", `jury member "b--": invalid adapter id`},
		{"one label differs", `{"text":"x","jury":["a","b","other"]}`, 422, "jury_labels_differ", "/jury jury_labels_differ", `"a" has no, yes, "other" has no, maybe`},
		{"more labels", `{"text":"x","jury":["a","three"]}`, 422, "jury_labels_differ", "/jury jury_labels_differ", `"three" has no, yes, maybe`},
		{"a row of one", `{"text":"bad for b","jury":["a","b"]}`, 422, "text_too_long", "/text text_too_long", `jury member "b": the text is too long: it has 600 tokens`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.post(tt.body).problem(t, tt.status, tt.code)
			if got.faults() != tt.faults || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("got %s: %s", got.faults(), got.Detail)
			}
		})
	}
	t.Run("other rows go on", func(t *testing.T) {
		a := s.post(`{"inputs":["x","bad for b","y"],"jury":["a","b"]}`)
		var got struct {
			Results []struct {
				Index int `json:"index"`
			} `json:"results"`
			Errors []struct {
				Index  int    `json:"index"`
				Detail string `json:"detail"`
			} `json:"errors"`
		}
		if err := json.Unmarshal(a.body, &got); err != nil || fmt.Sprint(got.Results) != "[{0} {2}]" || len(got.Errors) != 1 || !strings.HasPrefix(got.Errors[0].Detail, `jury member "b": `) {
			t.Errorf("%v: %s", err, a.body)
		}
	})
	t.Run("a fault of ours", func(t *testing.T) {
		s := serve(t, func(d *Deps) {
			f := newShelf().fake()
			f.lease = func(context.Context, adapters.Query) (*adapters.Lease, error) {
				return nil, fmt.Errorf("%w: acme/x: row 0 (\"secret text\")", adapters.ErrCanary)
			}
			d.Adapters = f
		})
		got := s.post(`{"text":"a","jury":["a","b"]}`).problem(t, 500, codeSelfTest)
		if !strings.HasPrefix(got.Detail, `jury member "a": the adapter's version does not give`) || strings.Contains(got.Detail, "secret") || !strings.Contains(s.log.String(), "secret") {
			t.Errorf("detail %q; log %s", got.Detail, s.log)
		}
	})
}

func TestDivergence(t *testing.T) {
	// By hand: two members over two labels, in bits.
	h := func(p float64) float64 { return -(p*math.Log2(p) + (1-p)*math.Log2(1-p)) }
	tests := []struct {
		name string
		p    [][]float64
		want float64
	}{
		{"alike", [][]float64{{0.2, 0.8}, {0.2, 0.8}, {0.2, 0.8}}, 0},
		{"certain of the same", [][]float64{{1, 0}, {1, 0}}, 0},
		{"certain of two", [][]float64{{1, 0}, {0, 1}}, 1},
		{"four members, two labels, halves", [][]float64{{1, 0}, {0, 1}, {1, 0}, {0, 1}}, 1},
		{"three members, three labels", [][]float64{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, 1},
		{"two members, three labels", [][]float64{{1, 0, 0}, {0, 0, 1}}, 1},
		{"in between", [][]float64{{0.9, 0.1}, {0.2, 0.8}}, h(0.55) - (h(0.9)+h(0.2))/2},
	}
	for _, tt := range tests {
		if got := divergence(tt.p); math.Abs(got-tt.want) > 1e-12 || got < 0 || got > 1 {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestDivergenceRange wants 0 to 1, and the same whatever the order of the members.
func TestDivergenceRange(t *testing.T) {
	x := uint32(1)
	random := func() float64 { x = x*1664525 + 1013904223; return math.Pow(float64(x>>8)/(1<<24), 8) }
	for n := 2; n <= 16; n++ {
		for k := 2; k <= 9; k++ {
			p := make([][]float64, n)
			for i := range p {
				p[i] = make([]float64, k)
				sum := 0.0
				for j := range p[i] {
					p[i][j] = random()
					sum += p[i][j]
				}
				for j := range p[i] {
					p[i][j] /= sum
				}
			}
			d := divergence(p)
			p[0], p[n-1] = p[n-1], p[0]
			if !(d > 0 && d < 1) || math.Abs(divergence(p)-d) > 1e-12 {
				t.Errorf("%d members, %d labels: %v, then %v", n, k, d, divergence(p))
			}
		}
	}
}
