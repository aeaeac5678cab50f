package handlers

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"valence/adapters"
	"valence/runtime/engine"
	"valence/runtime/mt5/spec"
)

type fakeEngine struct {
	predict func(context.Context, []engine.Request) ([]engine.Outcome, error)
}

func (f fakeEngine) Predict(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error) {
	return f.predict(ctx, reqs)
}

// fakeAdapters panics where a func is missing: the call was not expected.
type fakeAdapters struct {
	lease    func(context.Context, adapters.Query) (*adapters.Lease, error)
	list     func() []adapters.Info
	info     func(context.Context, string) (adapters.Info, error)
	resident func() []*adapters.Lease
	upload   func(context.Context, adapters.UploadRequest) (adapters.Published, error)
	pull     func(context.Context, adapters.PullRequest) (adapters.Published, error)
	push     func(context.Context, adapters.PushRequest) (adapters.Pushed, error)
	change   func(ctx context.Context, call, ref string) (adapters.Info, error) // activate, rollback, pin, unpin
	remove   func(context.Context, string) error
}

func (f fakeAdapters) Lease(ctx context.Context, q adapters.Query) (*adapters.Lease, error) {
	return f.lease(ctx, q)
}
func (f fakeAdapters) List() []adapters.Info { return f.list() }
func (f fakeAdapters) Info(ctx context.Context, id string) (adapters.Info, error) {
	return f.info(ctx, id)
}
func (f fakeAdapters) Resident() []*adapters.Lease { return f.resident() }
func (f fakeAdapters) Upload(ctx context.Context, u adapters.UploadRequest) (adapters.Published, error) {
	return f.upload(ctx, u)
}
func (f fakeAdapters) Pull(ctx context.Context, p adapters.PullRequest) (adapters.Published, error) {
	return f.pull(ctx, p)
}
func (f fakeAdapters) Push(ctx context.Context, p adapters.PushRequest) (adapters.Pushed, error) {
	return f.push(ctx, p)
}
func (f fakeAdapters) Activate(ctx context.Context, ref string) (adapters.Info, error) {
	return f.change(ctx, "activate", ref)
}
func (f fakeAdapters) Rollback(ctx context.Context, id string) (adapters.Info, error) {
	return f.change(ctx, "rollback", id)
}
func (f fakeAdapters) Pin(ctx context.Context, id string) (adapters.Info, error) {
	return f.change(ctx, "pin", id)
}
func (f fakeAdapters) Unpin(ctx context.Context, id string) (adapters.Info, error) {
	return f.change(ctx, "unpin", id)
}
func (f fakeAdapters) Delete(ctx context.Context, ref string) error { return f.remove(ctx, ref) }

// testBase is a small gated T5.
func testBase() Base {
	return Base{
		Name: "small", Digest: "sha256:ba5e", DType: "float32", Device: "cpu", MaxTokens: 512,
		Config: &spec.Config{
			ModelType: "mt5", VocabSize: 100, DModel: 8, DKV: 2, DFF: 16, EncoderLayers: 1, DecoderLayers: 1, Heads: 3, Buckets: 8, MaxDistance: 16,
			Epsilon: 1e-6, Dropout: 0.1, Gated: true, Activation: spec.GELUNew, EOSID: 1,
		},
	}
}

// entry is an adapter with the labels negative, neutral and positive, which the
// model writes as "bad", "so so" and "good".
func entry(id string) *adapters.Entry {
	s := adapters.DefaultSidecar()
	for i, v := range []string{"bad", "so so", "good"} {
		s.Labels[i].Verbaliser = v
	}
	return &adapters.Entry{ID: id, Version: "v2", Digest: "sha256:abcdef", Sidecar: s, Task: &engine.Task{}, Sites: 3, Parameters: 12}
}

// shelf has the base, acme/reviews and acme/careful, which abstains below 0.9, and
// counts its leases. It is safe for concurrent use.
type shelf struct {
	entries       []*adapters.Entry
	taken, active atomic.Int64
	twice         atomic.Bool // a lease was released twice
}

func newShelf() *shelf {
	careful := entry("acme/careful")
	careful.Sidecar.AbstainBelow = 0.9
	reviews := entry("acme/reviews")
	careful.Vectors = &spec.Vectors{Sites: []spec.Site{{Module: "a.k", Size: 2}}, Data: []float32{0.5, 1.5}}
	reviews.Vectors = &spec.Vectors{Sites: []spec.Site{{Module: "a.k", Size: 2}}, Data: []float32{1.5, 1.5}}
	reviews.Sidecar.Metrics = []byte(`{"accuracy":0.91}`)
	reviews.Sidecar.Template = "Review: {text}"
	return &shelf{entries: []*adapters.Entry{entry("base"), careful, reviews}}
}

// fake serves the shelf to readers.
func (s *shelf) fake() fakeAdapters {
	return fakeAdapters{lease: s.lease, list: s.list, info: s.info, resident: s.resident}
}

// settled fails the test unless every lease was released once.
func (s *shelf) settled(t *testing.T, taken int64) {
	t.Helper()
	if s.taken.Load() != taken || s.active.Load() != 0 || s.twice.Load() {
		t.Errorf("%d leases, want %d; %d are not released; one is released twice: %v", s.taken.Load(), taken, s.active.Load(), s.twice.Load())
	}
}

func (s *shelf) hold(e *adapters.Entry) *adapters.Lease {
	s.taken.Add(1)
	s.active.Add(1)
	var released atomic.Bool
	return adapters.NewLease(e, func() {
		if released.Swap(true) {
			s.twice.Store(true)
		}
		s.active.Add(-1)
	})
}

func (s *shelf) find(ref string) (*adapters.Entry, error) {
	r, err := adapters.ParseID(cmp.Or(ref, "base"))
	if err != nil {
		return nil, err
	}
	for _, e := range s.entries {
		if e.ID == r.ID && (r.Revision == "" || r.Revision == e.Version) {
			return e, nil
		}
		if e.ID == r.ID {
			return nil, fmt.Errorf("%w: %q has no revision %q", adapters.ErrNotFound, r.ID, r.Revision)
		}
	}
	return nil, fmt.Errorf("%w: %q", adapters.ErrNotFound, r.ID)
}

func (s *shelf) lease(_ context.Context, q adapters.Query) (*adapters.Lease, error) {
	first, err := s.find(q.Parts[0].Ref)
	if err != nil || len(q.Parts) == 1 && q.Strength == 1 {
		if err != nil {
			return nil, err
		}
		return s.hold(first), nil
	}
	blend := *first
	blend.Blend = &adapters.Blended{Strength: q.Strength}
	for _, p := range q.Parts {
		e, err := s.find(p.Ref)
		if err != nil {
			return nil, err
		}
		blend.Blend.Parts = append(blend.Blend.Parts, adapters.BlendedPart{ID: e.ID, Version: e.Version, Digest: e.Digest, Weight: p.Weight})
	}
	return s.hold(&blend), nil
}

func (s *shelf) resident() []*adapters.Lease {
	var out []*adapters.Lease
	for _, e := range s.entries[1:] {
		out = append(out, s.hold(e))
	}
	return out
}

func (s *shelf) list() []adapters.Info {
	out := make([]adapters.Info, len(s.entries))
	for i, e := range s.entries {
		out[i] = infoAbout(e)
	}
	return out
}

func (s *shelf) info(_ context.Context, id string) (adapters.Info, error) {
	e, err := s.find(id)
	if err != nil {
		return adapters.Info{}, err
	}
	return infoAbout(e), nil
}

// infoAbout has a first version from the Hub, and the entry as its second.
func infoAbout(e *adapters.Entry) adapters.Info {
	now := adapters.Version{
		Name: e.Version, Digest: e.Digest, Base: "sha256:ba5e", Source: adapters.SourceUpload, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Bytes: 99, Sites: e.Sites, Parameters: e.Parameters, Sidecar: e.Sidecar, Active: true,
		Residency: adapters.Residency{Resident: true, ResidentBytes: 48, Leases: 1},
	}
	before := adapters.Version{
		Name: "v1", Digest: "sha256:0123456789", Base: "sha256:ba5e", Source: adapters.SourceHub, Origin: "acme/old@5d4c7a1e",
		Sites: 3, Parameters: 12, Sidecar: adapters.DefaultSidecar(),
	}
	return adapters.Info{ID: e.ID, Fixed: e.ID == "base", Pinned: true, Requests: 7, Versions: []adapters.Version{before, now}}
}

// outcomes answers each text: negative 0.1, neutral 0.2, positive 0.7; in mode
// generate the text itself. Texts in faults have that error.
func outcomes(faults map[string]error) func(context.Context, []engine.Request) ([]engine.Outcome, error) {
	p := map[string]float64{"negative": 0.1, "neutral": 0.2, "positive": 0.7}
	return func(_ context.Context, reqs []engine.Request) ([]engine.Outcome, error) {
		out := make([]engine.Outcome, len(reqs))
		for i, r := range reqs {
			if err := cmp.Or(faults[r.Text], unknownLabel(r.Labels, p)); err != nil {
				out[i].Err = err
				continue
			}
			res := engine.Result{Tokens: len(r.Text) + 1, Timings: engine.Timings{Tokenize: time.Millisecond, Queue: 2 * time.Millisecond, Infer: 3 * time.Millisecond}}
			if r.Mode == engine.ModeGenerate {
				res.Generated = r.Text
				res.Written = map[string]string{"bad": "negative", "so so": "neutral", "good": "positive"}[strings.TrimSpace(r.Text)]
				out[i].Result = res
				continue
			}
			sum := 0.0
			for _, l := range []string{"negative", "neutral", "positive"} {
				if r.Labels == nil || slices.Contains(r.Labels, l) {
					res.Labels = append(res.Labels, l)
					sum += p[l]
				}
			}
			for _, l := range res.Labels {
				res.LogProbs = append(res.LogProbs, math.Log(p[l]/sum))
			}
			out[i].Result = res
		}
		return out, nil
	}
}

func unknownLabel(labels []string, known map[string]float64) error {
	for _, l := range labels {
		if _, ok := known[l]; !ok {
			return fmt.Errorf("%w %q", engine.ErrUnknownLabel, l)
		}
	}
	return nil
}

// server is an API on fakes and a client of it whose traffic is held against the
// contract.
type server struct {
	t   *testing.T
	h   http.Handler
	reg *prometheus.Registry
	log *logBuffer
}

// serve builds the API; change, or nil, replaces dependencies first.
func serve(t *testing.T, change func(*Deps)) *server {
	t.Helper()
	s := &server{t: t, reg: prometheus.NewRegistry(), log: new(logBuffer)}
	gate := new(Gate)
	gate.Open()
	d := Deps{
		Engine:   fakeEngine{outcomes(nil)},
		Adapters: newShelf().fake(),
		Base:     testBase(),
		Jobs:     fakeJobs{},
		Datasets: fakeDatasets{},
		Ready:    gate,
		Limits:   Limits{BodyBytes: 4096, UploadBytes: 1 << 16, DatasetBytes: 1 << 16, Inputs: 8, Timeout: time.Minute, ChangeTimeout: 5 * time.Minute},
		Registry: s.reg,
		Log:      slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&d)
	}
	h, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	s.h = h
	return s
}

// logBuffer is a log that may be written while it is read.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// RoundTrip serves the request in the process and fails the test where request
// and answer break the contract.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.t.Helper()
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	sent := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), bytes.NewReader(body))
	sent.Header = r.Header
	rec := httptest.NewRecorder()
	s.h.ServeHTTP(rec, sent)
	resp := rec.Result()
	resp.Request = r
	checkContract(s.t, r, body, resp.StatusCode, resp.Header, rec.Body.Bytes())
	return resp, nil
}

// answer is a response with its body.
type answer struct {
	*http.Response
	body []byte
}

// do sends a request; headers are pairs of name and value.
func (s *server) do(method, path, body string, headers ...string) answer {
	s.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://valence.test"+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp, data}
}

func (s *server) post(body string, headers ...string) answer {
	s.t.Helper()
	return s.do(http.MethodPost, "/v1/sentiment", body, append([]string{"Content-Type", "application/json"}, headers...)...)
}

// problem fails the test unless the answer is a problem with the status and code.
func (a answer) problem(t *testing.T, status int, code string) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("status %d, not a problem: %v: %s", a.StatusCode, err, a.body)
	}
	if a.StatusCode != status || p.Status != status || p.Code != code {
		t.Fatalf("status %d, want %d %s: %s", a.StatusCode, status, code, a.body)
	}
	if ct := a.Header.Get("Content-Type"); ct != typeProblem {
		t.Errorf("Content-Type is %q", ct)
	}
	return p
}

// faults lists a problem's field errors as "pointer code".
func (p problem) faults() string {
	var out []string
	for _, f := range p.Errors {
		out = append(out, fmt.Sprintf("%s %s", f.Pointer, f.Code))
	}
	return strings.Join(out, ", ")
}
