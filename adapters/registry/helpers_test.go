package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"valence/adapters"
	"valence/adapters/hub"
	"valence/adapters/hub/hubtest"
	"valence/adapters/peft"
	"valence/adapters/store"
	"valence/adapters/store/storetest"
	"valence/runtime/engine"
	"valence/runtime/mt5/spec"
)

// deadline is for what happens in the background.
const deadline = 30 * time.Second

func model(t testing.TB) *spec.Config {
	t.Helper()
	data, err := os.ReadFile("../peft/testdata/mt5/config.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := spec.ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	goodBad = `{"format":1,"labels":[{"name":"bad","verbaliser":"negative"},{"name":"good","verbaliser":"positive"}]}`
	sure    = `{"format":1,"labels":[{"name":"good","verbaliser":"positive"},{"name":"bad","verbaliser":"negative"}],"temperature":2,"abstain_below":0.5}`
	framed  = `{"format":1,"labels":[{"name":"bad","verbaliser":"negative"},{"name":"good","verbaliser":"positive"}],"template":"Review: {text}"}`
)

// withCanary has one row, whose recorded scores are those of vectors of x.
func withCanary(x float32) string {
	p := chance(x)
	return fmt.Sprintf(`{"format":1,"labels":[{"name":"bad","verbaliser":"negative"},{"name":"good","verbaliser":"positive"}],
		"metrics":{"accuracy":0.9375,"rows":160,"by language":{"en":{"f1":0.5}},"note":"x"},
		"canary":[{"text":"Great.","scores":{"bad":%v,"good":%v}}]}`, p, 1-p)
}

// chance is the probability of the first label that the engine of the tests gives.
func chance(x float32) float64 { return 1 / (1 + math.Exp(-float64(x))) }

// folder is an adapter whose vectors are x everywhere.
func folder(t testing.TB, x float32, sidecar string) map[string][]byte {
	t.Helper()
	m := model(t)
	sites := m.DefaultSites()
	v, err := spec.NewVectors(sites, slices.Repeat([]float32{x}, spec.Total(sites)))
	if err != nil {
		t.Fatal(err)
	}
	config := peft.DefaultConfig(m)
	config.BaseModel = "bigscience/mt0-large"
	var text []byte
	if sidecar != "" {
		text = []byte(sidecar)
	}
	f, err := peft.NewFolder(m, config, v, text)
	if err != nil {
		t.Fatal(err)
	}
	files, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// size is what an adapter takes in memory.
func size(t testing.TB) int64 { return int64(spec.Total(model(t).DefaultSites())) * 4 }

// fakeEngine answers with the first element of the vectors. It holds the tasks that it
// has made.
type fakeEngine struct {
	mu       sync.Mutex
	tasks    map[*engine.Task]engine.TaskSpec
	predicts atomic.Int64
	fail     atomic.Pointer[error] // of Predict
}

func (e *fakeEngine) NewTask(s engine.TaskSpec) (*engine.Task, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t := new(engine.Task)
	e.tasks[t] = s
	return t, nil
}

func (e *fakeEngine) spec(t *engine.Task) engine.TaskSpec {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tasks[t]
}

func (e *fakeEngine) Predict(ctx context.Context, reqs []engine.Request) ([]engine.Outcome, error) {
	e.predicts.Add(1)
	if err := e.fail.Load(); err != nil {
		return nil, *err
	}
	out := make([]engine.Outcome, len(reqs))
	for i, q := range reqs {
		s := e.spec(q.Task)
		p := chance(s.Vectors.Data[0])
		out[i].Labels = []string{s.Labels[0].Name, s.Labels[1].Name}
		out[i].LogProbs = []float64{math.Log(p), math.Log(1 - p)}
	}
	return out, ctx.Err()
}

// openStore makes an empty store on SQLite.
func openStore(t testing.TB) Store {
	t.Helper()
	return storetest.Open(t, store.Options{Dir: t.TempDir()})
}

// harness is a registry with what it stands on.
type harness struct {
	*Registry
	t       testing.TB
	store   Store
	engine  *fakeEngine
	metrics *prometheus.Registry
	log     *bytes.Buffer
	now     *atomic.Int64 // seconds

	mu    sync.Mutex
	freed map[*spec.Vectors]int
}

const baseDigest = "sha256:00ba5e"

// start makes a registry on a store, or on a new one for nil.
func start(t testing.TB, on Store, change func(*Options)) *harness {
	t.Helper()
	if on == nil {
		on = openStore(t)
	}
	h := &harness{t: t, store: on, engine: &fakeEngine{tasks: map[*engine.Task]engine.TaskSpec{}},
		metrics: prometheus.NewRegistry(), log: new(bytes.Buffer), now: new(atomic.Int64), freed: map[*spec.Vectors]int{}}
	h.now.Store(time.Now().Unix())
	o := Options{
		Store: on, Engine: h.engine, Model: model(t), CacheBytes: 1 << 20, Registerer: h.metrics,
		Log: slog.New(slog.NewTextHandler(&lockedWriter{w: h.log}, nil)), Now: func() time.Time { return time.Unix(h.now.Load(), 0) },
		Free: func(all []*spec.Vectors) {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, v := range all {
				h.freed[v]++
			}
		},
	}
	side := adapters.DefaultSidecar()
	task, err := h.engine.NewTask(side.TaskSpec(nil))
	if err != nil {
		t.Fatal(err)
	}
	o.Base = &adapters.Entry{ID: adapters.BaseID, Digest: baseDigest, Sidecar: side, Task: task}
	if change != nil {
		change(&o)
	}
	if h.Registry, err = New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	return h
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func (h *harness) close() {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := h.Close(ctx); err != nil {
		h.t.Error(err)
	}
}

// frees counts the vectors freed, each of which must be freed once.
func (h *harness) frees() int {
	h.t.Helper()
	if err := h.freeing.wait(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for v, n := range h.freed {
		if n != 1 {
			h.t.Errorf("vectors of %v were freed %d times", v.Data[0], n)
		}
	}
	return len(h.freed)
}

func (h *harness) upload(id string, x float32, sidecar string) adapters.Published {
	h.t.Helper()
	p, err := h.Upload(h.t.Context(), adapters.UploadRequest{ID: id, Files: folder(h.t, x, sidecar), Activate: true})
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (h *harness) lease(q adapters.Query) *adapters.Lease {
	h.t.Helper()
	l, err := h.Lease(h.t.Context(), q)
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

// ask leases one adapter for a moment and gives its vectors' value.
func (h *harness) ask(ref string) float32 {
	h.t.Helper()
	l := h.lease(adapters.Ask(ref))
	defer l.Release()
	return l.Vectors.Data[0]
}

// refused leases what must not be had.
func (h *harness) refused(q adapters.Query, want error, says ...string) {
	h.t.Helper()
	l, err := h.Lease(h.t.Context(), q)
	if err == nil {
		l.Release()
	}
	expect(h.t, err, want, says...)
}

func (h *harness) info(id string) adapters.Info {
	h.t.Helper()
	i, err := h.Info(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return i
}

// gauge reads a metric without labels.
func (h *harness) gauge(name string) float64 {
	h.t.Helper()
	families, err := h.metrics.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	h.t.Fatalf("no metric %s", name)
	return 0
}

func expect(t testing.TB, err, want error, says ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v is not %v", err, want)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

// eventually waits for something in the background.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, deadline)
		}
	}
}

// Tokens of the test hub.
const (
	alice = "hf_alice" // owns every repository of the tests
	bob   = "hf_bob"
	carol = "hf_carol" // granted the gated one
)

// startHub makes a hub and lets o use it, with a token of the server or "".
func startHub(t *testing.T, token string) (*hubtest.Server, func(*Options)) {
	t.Helper()
	server, err := hubtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	for name, user := range map[string]string{alice: "alice", bob: "bob", carol: "carol"} {
		server.AddToken(name, user)
	}
	client, err := hub.New(hub.Options{Endpoint: server.URL, CacheDir: t.TempDir(), Token: token, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return server, func(o *Options) { o.Hub, o.HubPull, o.HubEndpoint = client, true, server.URL+"/" }
}
