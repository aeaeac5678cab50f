package training

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"log/slog"

	"valence/adapters"
	"valence/adapters/datasets"
	"valence/adapters/datasets/table"
	"valence/adapters/jobs"
	"valence/adapters/registry"
	"valence/adapters/store"
	"valence/adapters/store/storetest"
	"valence/runtime/engine"
	"valence/runtime/mt5/spec"
	"valence/runtime/tokenizer"
)

// words reads each word as one id: 1 is the end marker, 2 what is unknown.
type words struct {
	mu   sync.Mutex
	text map[int32]string
}

const vocabulary = 500

func (w *words) Encode(text string, o tokenizer.Options) (*tokenizer.Encoding, error) {
	e := &tokenizer.Encoding{}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, word := range strings.Fields(text) {
		h := fnv.New32a()
		h.Write([]byte(word))
		id := int32(h.Sum32()%(vocabulary-3)) + 3
		w.text[id] = word
		e.IDs = append(e.IDs, id)
		e.Offsets = append(e.Offsets, tokenizer.Span{})
	}
	if o.MaxTokens > 0 && len(e.IDs) > o.MaxTokens-1 {
		e.IDs, e.Offsets, e.Truncated = e.IDs[:o.MaxTokens-1], e.Offsets[:o.MaxTokens-1], true
	}
	e.IDs, e.Offsets = append(e.IDs, 1), append(e.Offsets, tokenizer.Span{})
	return e, nil
}

func (w *words) Decode(ids []int32, _ bool) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, id := range ids {
		if id != 1 {
			out = append(out, w.text[id])
		}
	}
	return strings.Join(out, " ")
}

func (*words) EOS() int32 { return 1 }
func (*words) UNK() int32 { return 2 }

// linear is a model in which a text's first word and the token to write choose an element
// of the vectors, which is the logit. It trains, judges and answers alike.
type linear struct {
	pace   time.Duration // of a lesson
	broken func(l *spec.Lesson) bool
}

const (
	elements = 78 // of the vectors of the configuration
	slope    = 20 // of a logit
)

func element(ids, prefix []int32, id int32) int {
	return (int(ids[0])*31 + int(id)*17 + len(prefix)*7) % elements
}

func logits(vectors []float32, ids, prefix, among []int32) []float64 {
	out := make([]float64, len(among))
	for k, id := range among {
		out[k] = slope * float64(vectors[element(ids, prefix, id)])
	}
	return out
}

func softmax(logits []float64) []float64 {
	out, sum := make([]float64, len(logits)), 0.0
	top := slices.Max(logits)
	for i, x := range logits {
		out[i] = math.Exp(x - top)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

func among(c spec.Choice) []int32 {
	if c.Among != nil {
		return c.Among
	}
	out := make([]int32, vocabulary)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

func (m *linear) Learn(ctx context.Context, l *spec.Lesson) (*spec.Gradient, error) {
	select {
	case <-time.After(m.pace):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	g := &spec.Gradient{Runs: make([][]float32, len(l.Vectors))}
	for _, row := range l.Rows {
		if g.Runs[row.Run] == nil {
			g.Runs[row.Run] = make([]float32, len(l.Vectors[row.Run]))
		}
		var losses []float32
		for _, c := range row.Choices {
			ids := among(c)
			p := softmax(logits(l.Vectors[row.Run], row.IDs, c.Prefix, ids))
			loss := -math.Log(p[c.Truth])
			if m.broken != nil && m.broken(l) {
				loss = math.NaN()
			}
			losses = append(losses, float32(loss))
			for k, id := range ids {
				step := p[k]
				if k == c.Truth {
					step--
				}
				g.Runs[row.Run][element(row.IDs, c.Prefix, id)] += c.Weight * float32(slope*step)
			}
		}
		g.Losses = append(g.Losses, losses)
	}
	return g, nil
}

func (m *linear) Judge(ctx context.Context, l *spec.Lesson) ([][]spec.Verdict, error) {
	var out [][]spec.Verdict
	for _, row := range l.Rows {
		var verdicts []spec.Verdict
		for _, c := range row.Choices {
			p := softmax(logits(l.Vectors[row.Run], row.IDs, c.Prefix, among(c)))
			v := spec.Verdict{Loss: float32(-math.Log(p[c.Truth])), Best: slices.Index(p, slices.Max(p))}
			for _, q := range p {
				if c.Among != nil {
					v.LogProbs = append(v.LogProbs, float32(math.Log(q)))
				}
			}
			verdicts = append(verdicts, v)
		}
		out = append(out, verdicts)
	}
	return out, context.Cause(ctx)
}

// Score and Generate answer for the engine.
func (m *linear) Score(_ context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error) {
	var out [][]float32
	for _, p := range probes {
		vectors := slices.Repeat([]float32{1}, elements)
		if v := b.Adapters[p.Row]; v != nil {
			vectors = v.Data
		}
		x := logits(vectors, b.IDs[p.Row], p.Prefix, p.Next)
		row := make([]float32, len(x))
		for i := range x {
			row[i] = float32(x[i])
		}
		out = append(out, row)
	}
	return out, nil
}

func (m *linear) Generate(context.Context, *spec.Batch, int) ([][]int32, error) {
	return nil, fmt.Errorf("not needed")
}

// fixture is a server's state with a linear model.
type fixture struct {
	*Trainer
	store    *store.Store
	sets     *datasets.Store
	registry *registry.Registry
	engine   *engine.Engine
	model    *linear
	base     *adapters.Entry
}

func config(t testing.TB) *spec.Config {
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

func open(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{store: storetest.Open(t, store.Options{Dir: t.TempDir()}), model: &linear{}}
	tok := &words{text: map[int32]string{}}
	f.engine = engine.New(f.model, tok, engine.Options{}, slog.New(slog.DiscardHandler))
	side := adapters.DefaultSidecar()
	task, err := f.engine.NewTask(side.TaskSpec(nil))
	if err != nil {
		t.Fatal(err)
	}
	f.base = &adapters.Entry{ID: adapters.BaseID, Digest: "sha256:base", Sidecar: side, Task: task}
	f.sets, err = datasets.New(t.Context(), f.store, datasets.Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	f.registry, err = registry.New(t.Context(), registry.Options{
		Store: f.store, Engine: f.engine, Model: config(t), Base: f.base, CacheBytes: 64 << 20, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Trainer, err = New(Options{
		Model: f.model, Tokenizer: tok, Config: config(t), Base: f.base, BaseName: "acme/base", Engine: f.engine, Datasets: f.sets, Adapters: f.registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := f.registry.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := f.engine.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

// patience is how long a busy machine may take.
const patience = time.Minute

// manager works on jobs in segments of some steps.
func (f *fixture) manager(t testing.TB, segment time.Duration) *jobs.Manager {
	t.Helper()
	m, err := jobs.New(t.Context(), jobs.Options{
		Store: f.store, Trainer: f.Trainer, Publisher: f.Trainer, Base: f.base.Digest,
		SegmentTime: segment, Beat: 20 * time.Millisecond, Lease: 2 * time.Second, Poll: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.registry.ServeLive(func(ctx context.Context, id, job string) (adapters.Live, error) { return Live(ctx, m, id, job) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return m
}

// reviews are n rows whose label the first word tells.
func reviews(n int) string {
	marks := map[string][]string{"negative": {"awful", "broken", "rude"}, "neutral": {"arrived", "contains", "opens"}, "positive": {"great", "lovely", "superb"}}
	names := []string{"negative", "neutral", "positive"}
	var b strings.Builder
	b.WriteString("text,label\n")
	for i := range n {
		label := names[i%3]
		fmt.Fprintf(&b, "%s item%d of row%d,%s\n", marks[label][i/3%3], i%7, i, label)
	}
	return b.String()
}

func (f *fixture) put(t testing.TB, csv string) jobs.Data {
	t.Helper()
	d, err := f.sets.Put(t.Context(), "rows.csv", table.CSV, strings.NewReader(csv), datasets.Mapping{})
	if err != nil {
		t.Fatal(err)
	}
	return jobs.Data{Dataset: d.ID, Digest: d.ID, Blobs: []string{d.Content}}
}

func small() jobs.Spec {
	return jobs.Spec{Objective: "labels", Epochs: 2, BatchSize: 8, LearningRate: 0.05, Seed: 3, Validation: jobs.Validation{Split: new(0.2)}}
}
