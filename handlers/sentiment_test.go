package handlers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"valence/runtime/engine"
)

func TestSentiment(t *testing.T) {
	const (
		base    = `"adapter":{"id":"base","version":"v2","digest":"sha256:abcdef"}`
		reviews = `"adapter":{"id":"acme/reviews","version":"v2","digest":"sha256:abcdef"}`
		careful = `"adapter":{"id":"acme/careful","version":"v2","digest":"sha256:abcdef"}`
		scored  = `"score":0.7,"scores":{"positive":0.7,"neutral":0.2,"negative":0.1}`
	)
	ok := func(rows ...string) string { return `{"results":[` + strings.Join(rows, ",") + `],"errors":[]}` }
	row := func(i int, adapter string) string {
		return fmt.Sprintf(`{"index":%d,"label":"positive",%s,%s,"tokens":5,"truncated":false}`, i, scored, adapter)
	}
	tests := []struct{ name, body, want string }{
		{"one text", `{"text":"good"}`, ok(row(0, base))},
		{"one input", `{"inputs":["good"]}`, ok(row(0, base))},
		{"both kinds of input", `{"inputs":["good",{"text":"fine","adapter":"acme/reviews"}]}`, ok(row(0, base), row(1, reviews))},
		{"the request's adapter", `{"adapter":"acme/reviews","inputs":["good",{"text":"fine"},{"text":"poor","adapter":"base"}]}`,
			ok(row(0, reviews), row(1, reviews), row(2, base))},
		{"a revision", `{"text":"good","adapter":"acme/reviews@v2"}`, ok(row(0, reviews))},
		{"null is absent", `{"text":"good","inputs":null,"adapter":null,"mode":null,"labels":null,"top_k":null,"abstain_below":null,"truncate":null,"max_new_tokens":null}`,
			ok(row(0, base))},
		{"the best label", `{"text":"good","top_k":1}`,
			ok(`{"index":0,"label":"positive","score":0.7,"scores":{"positive":0.7},` + base + `,"tokens":5,"truncated":false}`)},
		{"more than there are", `{"text":"good","top_k":9}`, ok(row(0, base))},
		{"two labels", `{"text":"good","labels":["negative","neutral"]}`,
			ok(`{"index":0,"label":"neutral","score":0.66666667,"scores":{"neutral":0.66666667,"negative":0.33333333},` + base + `,"tokens":5,"truncated":false}`)},
		{"abstain", `{"text":"good","abstain_below":0.71}`,
			ok(`{"index":0,"label":null,` + scored + `,` + base + `,"tokens":5,"truncated":false,"abstained":true}`)},
		{"not below", `{"text":"good","abstain_below":0.7}`, ok(row(0, base))},
		{"the adapter's threshold", `{"text":"good","adapter":"acme/careful"}`,
			ok(`{"index":0,"label":null,` + scored + `,` + careful + `,"tokens":5,"truncated":false,"abstained":true}`)},
		{"instead of the adapter's", `{"text":"good","adapter":"acme/careful","abstain_below":0}`, ok(row(0, careful))},
		{"generate a label", `{"text":" so so ","mode":"generate"}`,
			ok(`{"index":0,"label":"neutral",` + base + `,"tokens":8,"truncated":false,"text":" so so "}`)},
		{"generate another text", `{"text":"neutral","mode":"generate"}`,
			ok(`{"index":0,"label":null,` + base + `,"tokens":8,"truncated":false,"text":"neutral"}`)},
		{"white space around", " \n{\"text\":\"good\"}\t\r\n", ok(row(0, base))},
	}
	s := serve(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := s.post(tt.body)
			if a.StatusCode != http.StatusOK || string(a.body) != tt.want+"\n" {
				t.Errorf("status %d\n got %s\nwant %s", a.StatusCode, a.body, tt.want)
			}
		})
	}
}

// TestQuestions looks at what reaches the engine.
func TestQuestions(t *testing.T) {
	tests := []struct {
		body string
		want engine.Request
	}{
		{`{"text":"a"}`, engine.Request{Text: "a", Mode: engine.ModeLabels, Truncate: true}},
		{`{"text":"a","truncate":false}`, engine.Request{Text: "a", Mode: engine.ModeLabels}},
		{`{"text":"a","mode":"generate"}`, engine.Request{Text: "a", Mode: engine.ModeGenerate, Truncate: true}},
		{`{"text":"a","mode":"generate","max_new_tokens":64}`, engine.Request{Text: "a", Mode: engine.ModeGenerate, Truncate: true, MaxNewTokens: 64}},
		{`{"inputs":["a\u0000\ud83d\ude00"]}`, engine.Request{Text: "a\x00😀", Mode: engine.ModeLabels, Truncate: true}},
	}
	for _, tt := range tests {
		var got []engine.Request
		s := serve(t, func(d *Deps) {
			d.Engine = fakeEngine{func(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error) {
				got = reqs
				return outcomes(nil)(ctx, reqs)
			}}
		})
		s.post(tt.body)
		if len(got) != 1 || got[0].Task == nil {
			t.Fatalf("%s: asked %+v", tt.body, got)
		}
		got[0].Task = nil
		if fmt.Sprintf("%+v", got[0]) != fmt.Sprintf("%+v", tt.want) {
			t.Errorf("%s: asked %+v, want %+v", tt.body, got[0], tt.want)
		}
	}
}

func TestRowsFailAlone(t *testing.T) {
	faults := map[string]error{
		"":     engine.ErrEmptyText,
		"long": &engine.TooLongError{Tokens: 600, Limit: 512},
		"nan":  fmt.Errorf("engine: predict: %w: row 3", engine.ErrNonFinite),
		"bug":  errors.New("secret path"),
	}
	s := serve(t, func(d *Deps) { d.Engine = fakeEngine{outcomes(faults)} })
	a := s.post(`{"inputs":["","good","long",{"text":"x","adapter":"acme/none"},{"text":"x","adapter":"a--b"},"fine","nan","bug"]}`)
	var got struct {
		Results []struct {
			Index int `json:"index"`
		} `json:"results"`
		Errors []struct {
			Index  int    `json:"index"`
			Code   string `json:"code"`
			Status int    `json:"status"`
			Detail string `json:"detail"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(a.body, &got); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %v: %s", a.StatusCode, err, a.body)
	}
	if s := fmt.Sprint(got.Results); s != "[{1} {5}]" {
		t.Errorf("results %s", s)
	}
	const internal = "the server failed on this request; its log has the cause under the request id"
	want := []string{
		`0 422 empty_text the text is empty`,
		`2 422 text_too_long the text is too long: it has 600 tokens; at most 512 are allowed`,
		`3 404 adapter_not_found no such adapter: "acme/none"`,
		`4 422 invalid_adapter_id invalid adapter id "a--b": it must not hold "--"`,
		`6 500 inference_failed ` + internal,
		`7 500 internal ` + internal,
	}
	if len(got.Errors) != len(want) {
		t.Fatalf("errors %v", got.Errors)
	}
	for i, e := range got.Errors {
		if s := fmt.Sprintf("%d %d %s %s", e.Index, e.Status, e.Code, e.Detail); s != want[i] {
			t.Errorf("got  %s\nwant %s", s, want[i])
		}
	}
	for _, cause := range []string{"secret path", "row 3"} {
		if strings.Contains(string(a.body), cause) || !strings.Contains(s.log.String(), cause) {
			t.Errorf("%q must be in the log and not in the answer", cause)
		}
	}
}

func TestNoRowAnswered(t *testing.T) {
	faults := map[string]error{
		"":     engine.ErrEmptyText,
		"long": &engine.TooLongError{Tokens: 600, Limit: 512},
		"lab":  fmt.Errorf("%w %q; there are \"a\", \"b\"", engine.ErrUnknownLabel, "c"),
		"req":  fmt.Errorf("%w: it contradicts itself", engine.ErrInvalidText),
		"nan":  engine.ErrNonFinite,
		"shut": engine.ErrClosed,
	}
	tests := []struct {
		name, body string
		status     int
		code       string
		faults     string
		detail     string
	}{
		{"one text", `{"text":""}`, 422, "empty_text", "/text empty_text", "the text is empty"},
		{"one input", `{"inputs":[""]}`, 422, "empty_text", "/inputs/0 empty_text", "the text is empty"},
		{"one object", `{"inputs":[{"text":""}]}`, 422, "empty_text", "/inputs/0/text empty_text", "the text is empty"},
		{"an unknown adapter", `{"text":"a","adapter":"acme/none"}`, 404, "adapter_not_found", "/adapter adapter_not_found", `no such adapter: "acme/none"`},
		{"an unknown revision", `{"text":"a","adapter":"acme/reviews@v9"}`, 404, "adapter_not_found", "/adapter adapter_not_found", `no such adapter: "acme/reviews" has no revision "v9"`},
		{"an input's adapter", `{"inputs":[{"text":"a","adapter":"acme/none"}]}`, 404, "adapter_not_found", "/inputs/0/adapter adapter_not_found", `no such adapter: "acme/none"`},
		{"an unknown label", `{"text":"lab","labels":["a","c"]}`, 422, "unknown_label", "/labels unknown_label", `unknown label "c"; there are "a", "b"`},
		{"alike", `{"inputs":[""," long",""," "]}`, 200, "", "", ""},
		{"all empty", `{"inputs":["",""]}`, 422, "empty_text", "/inputs/0 empty_text, /inputs/1 empty_text", "none of the 2 inputs could be answered: the text is empty"},
		{"different", `{"inputs":["",{"text":"a","adapter":"acme/none"}]}`, 422, "no_answer", "/inputs/0 empty_text, /inputs/1/adapter adapter_not_found",
			"none of the 2 inputs could be answered, for different reasons"},
		{"in either order", `{"inputs":[{"text":"a","adapter":"acme/none"},"long"]}`, 422, "no_answer", "/inputs/0/adapter adapter_not_found, /inputs/1 text_too_long",
			"none of the 2 inputs could be answered, for different reasons"},
		{"a fault of ours", `{"text":"nan"}`, 500, "inference_failed", "", "the server failed on this request; its log has the cause under the request id"},
		{"worst of all", `{"inputs":["","shut","nan"]}`, 503, "no_answer", "/inputs/0 empty_text", "none of the 3 inputs could be answered, for different reasons"},
		{"invalid text", `{"text":"req"}`, 422, "invalid_text", "/text invalid_text", "invalid text: it contradicts itself"},
	}
	s := serve(t, func(d *Deps) { d.Engine = fakeEngine{outcomes(faults)} })
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := s.post(tt.body)
			if tt.status == http.StatusOK {
				if a.StatusCode != tt.status {
					t.Fatalf("status %d: %s", a.StatusCode, a.body)
				}
				return
			}
			p := a.problem(t, tt.status, tt.code)
			if p.faults() != tt.faults || p.Detail != tt.detail {
				t.Errorf("got  %s: %s\nwant %s: %s", p.faults(), p.Detail, tt.faults, tt.detail)
			}
			if retry := a.Header.Get("Retry-After"); (retry != "") != (tt.status == 503) {
				t.Errorf("Retry-After is %q", retry)
			}
		})
	}
}

// TestCallFails covers errors of Predict as a whole.
func TestCallFails(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		status int
		code   string
		retry  string
	}{
		{"busy", &engine.BusyError{Waiting: 9, Limit: 9, RetryAfter: 2100 * time.Millisecond}, 429, "busy", "3"},
		{"closed", engine.ErrClosed, 503, "draining", "2"},
		{"more than the queue holds", fmt.Errorf("%w: 9; at most 8 may wait", engine.ErrTooManyRows), 422, "too_many_inputs", ""},
		{"deadline", fmt.Errorf("engine: predict: %w", context.DeadlineExceeded), 503, "timeout", "2"},
		{"unknown", errors.New("boom"), 500, "internal", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(d *Deps) {
				d.Engine = fakeEngine{func(context.Context, []engine.Request) ([]engine.Outcome, error) { return nil, tt.err }}
			})
			a := s.post(`{"text":"a"}`)
			a.problem(t, tt.status, tt.code)
			if got := a.Header.Get("Retry-After"); got != tt.retry {
				t.Errorf("Retry-After is %q, want %q", got, tt.retry)
			}
		})
	}
}

// TestRoundedScoresSum wants sums within 1e-6 of 1 for the most labels there can
// be, where the rounding of each goes the same way.
func TestRoundedScoresSum(t *testing.T) {
	for n := 2; n <= engine.MaxLabels; n++ {
		res := engine.Result{}
		for i := range n {
			res.Labels = append(res.Labels, fmt.Sprint(i))
			res.LogProbs = append(res.LogProbs, -math.Log(float64(n)))
		}
		sum := 0.0
		for _, l := range rank(res.Labels, probabilities(res)) {
			sum += l.p
		}
		if math.Abs(sum-1) > 1e-6 {
			t.Errorf("%d labels sum to %v", n, sum)
		}
	}
}

func TestServerTiming(t *testing.T) {
	a := serve(t, nil).post(`{"inputs":["a","b"]}`)
	const want = "tokenize;dur=1, queue;dur=2, infer;dur=3, total;dur="
	if got := a.Header.Get("Server-Timing"); !strings.HasPrefix(got, want) {
		t.Errorf("Server-Timing is %q", got)
	}
}

func TestWhoAsksForAFreshAnswerGetsOne(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "max-age=0": false, "no-cache": true, "No-Store": true, "max-age=0, no-cache": true, "x-no-cache": false,
	} {
		var got []engine.Request
		s := serve(t, func(d *Deps) {
			d.Engine = fakeEngine{func(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error) {
				got = reqs
				return outcomes(nil)(ctx, reqs)
			}}
		})
		s.post(`{"text":"a"}`, "Cache-Control", header)
		if len(got) != 1 || got[0].Fresh != want {
			t.Errorf("%q: asked %+v, want fresh %v", header, got, want)
		}
	}
}
