package mt5

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
	"valence/runtime/torch"
	"valence/runtime/torch/torchtest"
)

var ctx = context.Background()

// probe asks a row for the logits of a few tokens at the first step.
func probe(row int) spec.Probe { return spec.Probe{Row: row, Next: []int32{5, 6, 7}} }

// scaled gives default-site vectors with all elements value.
func scaled(c *spec.Config, value float32) *spec.Vectors {
	sites := c.DefaultSites()
	data := make([]float32, spec.Total(sites))
	for i := range data {
		data[i] = value
	}
	return &spec.Vectors{Sites: sites, Data: data}
}

func score(t *testing.T, m *Model, ids []int32, v *spec.Vectors) []float32 {
	t.Helper()
	out, err := m.Score(ctx, &spec.Batch{IDs: [][]int32{ids}, Adapters: []*spec.Vectors{v}}, []spec.Probe{probe(0)})
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func near(a, b []float32) bool {
	for i := range a {
		if !(math.Abs(float64(a[i]-b[i])) <= tolerance) {
			return false
		}
	}
	return len(a) == len(b)
}

func TestScoreRefusesBadBatches(t *testing.T) {
	f := load(t, "mt5")
	ok := &spec.Batch{IDs: [][]int32{{5, 1}}, Adapters: []*spec.Vectors{nil}}
	for _, tc := range []struct {
		name  string
		batch *spec.Batch
		probe spec.Probe
		want  string
	}{
		{"no rows", &spec.Batch{}, probe(0), "no rows"},
		{"empty row", &spec.Batch{IDs: [][]int32{{5, 1}, {}}, Adapters: make([]*spec.Vectors, 2)}, probe(0), "row 1 has no tokens"},
		{"adapters", &spec.Batch{IDs: [][]int32{{5, 1}}}, probe(0), "1 rows and 0 adapters"},
		{"id too large", &spec.Batch{IDs: [][]int32{{5, 128}}, Adapters: make([]*spec.Vectors, 1)}, probe(0), "row 0: token id 128"},
		{"negative id", &spec.Batch{IDs: [][]int32{{-1}}, Adapters: make([]*spec.Vectors, 1)}, probe(0), "token id -1"},
		{"probe's row", ok, probe(1), "row 1 of 1"},
		{"probe's token", ok, spec.Probe{Next: []int32{999}}, "token id 999"},
		{"probe's prefix", ok, spec.Probe{Prefix: []int32{-7}, Next: []int32{1}}, "token id -7"},
		{"nothing asked", ok, spec.Probe{}, "asks for no tokens"},
	} {
		_, err := f.model.Score(ctx, tc.batch, []spec.Probe{tc.probe})
		if !errors.Is(err, ErrBatch) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := f.model.Generate(ctx, ok, 0); !errors.Is(err, ErrBatch) {
		t.Errorf("no new tokens: %v", err)
	}
}

func TestForeignAdapterFailsAndHarmsNobody(t *testing.T) {
	f := load(t, "mt5")
	c := f.model.config
	before := score(t, f.model, []int32{5, 6, 1}, f.adapters["default"])
	for _, tc := range []struct {
		site spec.Site
		want string
	}{
		{spec.Site{Module: "encoder.block.9.layer.0.SelfAttention.k", Size: c.DInner()}, `no module "encoder.block.9`},
		{spec.Site{Module: "encoder.block.0.layer.0.SelfAttention.k", Size: 3}, "has 3 elements"},
	} {
		v := &spec.Vectors{Sites: []spec.Site{tc.site}, Data: make([]float32, tc.site.Size)}
		_, err := f.model.Score(ctx, &spec.Batch{IDs: [][]int32{{5}}, Adapters: []*spec.Vectors{v}}, []spec.Probe{probe(0)})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v", tc.site, err)
		}
	}
	if after := score(t, f.model, []int32{5, 6, 1}, f.adapters["default"]); !near(before, after) {
		t.Errorf("%v became %v", before, after)
	}
}

// TestTableRefusesWhole has a batch of which one adapter fits, at sites that the table has no
// columns for yet, and another in part: neither leaves anything behind.
func TestTableRefusesWhole(t *testing.T) {
	f := load(t, "mt5")
	before := score(t, f.model, []int32{5, 6, 1}, f.adapters["default"])
	custom := f.adapters["custom"]
	sites := append(slices.Clone(f.model.config.DefaultSites()), spec.Site{Module: "encoder.block.0.layer.0.SelfAttention.q", Input: true, Size: 3})
	bad := &spec.Vectors{Sites: sites, Data: make([]float32, spec.Total(sites))}
	_, err := f.model.Score(ctx, &spec.Batch{IDs: [][]int32{{5}, {5}}, Adapters: []*spec.Vectors{custom, bad}}, []spec.Probe{probe(0), probe(1)})
	if err == nil || !strings.Contains(err.Error(), "has 3 elements") {
		t.Fatal(err)
	}
	if after := score(t, f.model, []int32{5, 6, 1}, f.adapters["default"]); !near(before, after) {
		t.Errorf("%v became %v", before, after)
	}
	fresh := load(t, "mt5")
	if want, got := score(t, fresh.model, []int32{5, 6, 1}, fresh.adapters["custom"]), score(t, f.model, []int32{5, 6, 1}, custom); !near(want, got) {
		t.Errorf("the adapter that fits gives %v, want %v", got, want)
	}
}

// TestTableEvictsAndGrows serves more adapters than the table holds, drops some,
// and widens it in between: answers never change.
func TestTableEvictsAndGrows(t *testing.T) {
	f := load(t, "mt5")
	m := f.model
	m.table.maxBytes = m.table.bytes(firstSlots) // no growth for adapters of one batch at a time
	ids := []int32{5, 9, 30, 1}
	var vectors []*spec.Vectors
	var want [][]float32
	for i := range 3 * firstSlots {
		v := scaled(m.config, 0.5+float32(i)/20)
		vectors, want = append(vectors, v), append(want, score(t, m, ids, v))
	}
	if m.table.slots != firstSlots {
		t.Errorf("the table grew to %d slots", m.table.slots)
	}
	if near(want[0], want[1]) {
		t.Fatal("adapters make no difference: the test would show nothing")
	}
	full, room := m.Copies()
	if err := m.Drop(ctx, vectors[len(vectors)-3], vectors[0], vectors[len(vectors)-1]); err != nil { // the second gave way before
		t.Fatal(err)
	}
	if used, _ := m.Copies(); full != room || used != full-2 {
		t.Errorf("%d copies of %d; %d after two were dropped", full, room, used)
	}
	score(t, m, ids, f.adapters["custom"]) // sites that the table has no columns for
	for i := range vectors {
		k := (i * 7) % len(vectors)
		if got := score(t, m, ids, vectors[k]); !near(got, want[k]) {
			t.Errorf("adapter %d: %v, want %v", k, got, want[k])
		}
	}
	b := &spec.Batch{}
	var probes []spec.Probe
	for i, v := range vectors { // one batch needs them all at once: now it must grow
		b.IDs, b.Adapters, probes = append(b.IDs, ids), append(b.Adapters, v), append(probes, probe(i))
	}
	got, err := m.Score(ctx, b, probes)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if !near(got[i], want[i]) {
			t.Errorf("in one batch, adapter %d: %v, want %v", i, got[i], want[i])
		}
	}
}

// TestTableWithoutMemory makes the device refuse a table: the next batch has one again.
func TestTableWithoutMemory(t *testing.T) {
	f := load(t, "mt5")
	m := f.model
	ids := []int32{5, 9, 30, 1}
	v := scaled(m.config, 1.5)
	want := score(t, m, ids, v)
	err := m.thread.Do(ctx, torch.Serving, func(*torch.Scope) error { return m.table.reset(1 << 50) })
	if err == nil || !strings.Contains(err.Error(), "device table") {
		t.Fatalf("a table of 2^50 rows: %v", err)
	}
	if got := score(t, m, ids, v); !near(got, want) {
		t.Errorf("after the refusal %v, before %v", got, want)
	}
}

func TestCancelledContextRunsNothing(t *testing.T) {
	f := load(t, "mt5")
	gone, cancel := context.WithCancel(ctx)
	cancel()
	b := &spec.Batch{IDs: [][]int32{{5, 1}}, Adapters: []*spec.Vectors{nil}}
	if _, err := f.model.Score(gone, b, []spec.Probe{probe(0)}); !errors.Is(err, context.Canceled) {
		t.Errorf("score: %v", err)
	}
	if _, err := f.model.Generate(gone, b, 5); !errors.Is(err, context.Canceled) {
		t.Errorf("generate: %v", err)
	}
}

// faulty gives tensors until the one that is named.
type faulty struct {
	Weights
	name string
}

func (w faulty) Weight(s spec.Weight) (safetensors.Tensor, error) {
	if s.Name == w.name {
		return safetensors.Tensor{}, fmt.Errorf("tensor %q: broken", s.Name)
	}
	return w.Weights.Weight(s)
}

// TestLoadFailsClean wants the tensor named and every handle freed.
func TestLoadFailsClean(t *testing.T) {
	base := open(t, "mt5")
	thread := torch.Start(torch.Options{Device: torchtest.Device(t)})
	for _, name := range []string{"shared.weight", "lm_head.weight", "decoder.final_layer_norm.weight"} {
		_, err := Load(ctx, thread, base.Config, faulty{base, name}, Options{DType: torch.Float32})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(ctx, thread, base.Config, base, Options{DType: torch.Float16}); err == nil {
		t.Error("float16 activations were allowed")
	}
	if err := thread.Close(); err != nil {
		t.Error(err)
	}
}

// TestBFloat16 is near float32 and isolated: bfloat16 has 8 bits of precision.
func TestBFloat16(t *testing.T) {
	f := load(t, "mt5-bf16-sharded")
	base := open(t, "mt5-bf16-sharded")
	m, _ := loadModel(t, base.Config, base, torch.BFloat16)
	for _, name := range []string{"base", "default"} {
		ids := []int32{5, 70, 101, 122, 48, 1}
		got, want := score(t, m, ids, f.adapters[name]), score(t, f.model, ids, f.adapters[name])
		for i := range got {
			if d := math.Abs(float64(got[i] - want[i])); !(d < 0.15) {
				t.Errorf("%s: logit %d is %v in bfloat16, %v in float32", name, i, got[i], want[i])
			}
		}
	}
}

// TestPacked is near float32. These models are small and random, and rounding moves them
// more than it does a trained one: `valence bench` has the builtin base's figures.
func TestPacked(t *testing.T) {
	for name, tt := range map[string]struct {
		format torch.Format
		near   float64 // of a logit
	}{
		"bfloat16":  {torch.PackedBFloat16, 0.2},
		"float16":   {torch.PackedFloat16, 0.01},
		"int8":      {torch.PackedInt8, 0.6},
		"wide-int8": {torch.PackedWideInt8, 0.4},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variant := range variants {
				f := load(t, variant)
				base := open(t, variant)
				m := loadPacked(t, base.Config, base, tt.format)
				for adapter, v := range f.adapters {
					ids := []int32{5, 70, 101, 122, 48, 1}
					got, want := score(t, m, ids, v), score(t, f.model, ids, v)
					for i := range got {
						if d := math.Abs(float64(got[i] - want[i])); !(d < tt.near) {
							t.Errorf("%s, %s: logit %d is %v, %v in float32", variant, adapter, i, got[i], want[i])
						}
					}
				}
			}
		})
	}
}

// A base that asks for wide activations has them in int8, and in no other format.
func TestWideInt8(t *testing.T) {
	torchtest.OnCPU(t)
	base := open(t, "mt5")
	config := *base.Config
	config.WideInt8 = true
	for format, want := range map[torch.Format]string{torch.PackedInt8: "wide-int8", torch.PackedFloat16: "float16"} {
		if got := loadPacked(t, &config, base, format).Precision(); got != want {
			t.Errorf("%v: %s", format, got)
		}
	}
	if torch.Layout(torch.PackedInt8) != "" && Layout(&config, torch.PackedInt8) == Layout(base.Config, torch.PackedInt8) {
		t.Error("kept weights of one could be taken for the other's")
	}
}
