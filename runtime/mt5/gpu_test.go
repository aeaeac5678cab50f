package mt5

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"valence/runtime/builtin"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
	"valence/runtime/torch/torchtest"
)

// gpuTest is the builtin base on a GPU in bfloat16, and in float32. Where there is no GPU its
// kernels are emulated.
type gpuTest struct {
	m, exact *Model
	real     bool // else it is emulated, which takes long
	rng      *rand.Rand
	// squares of logits, and of how far the forward as a whole and single operators are from them
	all, fused, single float64
	most               float64 // that the two differ by in a logit
}

func newGPUTest(t *testing.T) *gpuTest {
	t.Helper()
	base, err := checkpoint.OpenFS("builtin", builtin.Base())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { base.Close() })
	g := &gpuTest{rng: rand.New(rand.NewPCG(3, 4))}
	if g.real = torchtest.Device(t).IsCUDA(); !g.real {
		torchtest.EmulateGPU(t, base.Config.DKV)
	}
	g.m, _ = loadModel(t, base.Config, base, torch.BFloat16)
	g.exact, _ = loadModel(t, base.Config, base, torch.Float32)
	if !g.m.gpu.Defined() {
		t.Fatal("the builtin base has no GPU's forward")
	}
	return g
}

// adapters are one for each row, in turns: none, default sites, and inputs and outputs of all
// projections.
func (g *gpuTest) adapters(t *testing.T) map[string][]*spec.Vectors {
	c := g.m.config
	one, two := g.vectors(t, c.DefaultSites()), g.vectors(t, c.DefaultSites())
	return map[string][]*spec.Vectors{"base": {nil}, "one": {one}, "mixed": {nil, one, two}, "everywhere": {nil, g.vectors(t, everywhere(c)), two}}
}

// everywhere are the sites of all projections' inputs and outputs.
func everywhere(c *spec.Config) (all []spec.Site) {
	for _, l := range c.Linears() {
		all = append(all, spec.Site{Module: l.Module, Input: true, Size: l.In}, spec.Site{Module: l.Module, Size: l.Out})
	}
	return all
}

func (g *gpuTest) vectors(t *testing.T, sites []spec.Site) *spec.Vectors {
	t.Helper()
	data := make([]float32, spec.Total(sites))
	for i := range data {
		data[i] = float32(1 + 0.05*g.rng.NormFloat64())
	}
	v, err := spec.NewVectors(sites, data)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (g *gpuTest) batch(adapters []*spec.Vectors, lengths ...int) *spec.Batch {
	b := &spec.Batch{}
	for i, n := range lengths {
		ids := make([]int32, n)
		for j := range ids {
			ids[j] = g.rng.Int32N(20000) + 300
		}
		b.IDs, b.Adapters = append(b.IDs, ids), append(b.Adapters, adapters[i%len(adapters)])
	}
	return b
}

// check holds the scores of a batch against those by single operators, both beside float32.
func (g *gpuTest) check(t *testing.T, b *spec.Batch, probes []spec.Probe) {
	t.Helper()
	flat := func(m *Model) (out []float32) {
		t.Helper()
		scores, err := m.Score(t.Context(), b, probes)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range scores {
			out = append(out, s...)
		}
		return out
	}
	want, fused := flat(g.exact), flat(g.m)
	gpu := g.m.gpu
	g.m.gpu = torch.GPU{}
	single := flat(g.m)
	g.m.gpu = gpu
	for i, x := range want {
		g.all += float64(x) * float64(x)
		g.fused += square(fused[i] - x)
		g.single += square(single[i] - x)
		d := math.Abs(float64(fused[i] - single[i]))
		if g.most = max(g.most, d); !(d < 1) { // what another text would have is nowhere near
			t.Errorf("logit %d of %d is %v, by single operators %v", i, len(want), fused[i], single[i])
		}
	}
}

// conclude holds all that was checked together: one logit more or less is chance.
func (g *gpuTest) conclude(t *testing.T) {
	t.Helper()
	fused, single := math.Sqrt(g.fused/g.all), math.Sqrt(g.single/g.all)
	t.Logf("%d records; apart from float32: the forward as a whole %.4f, single operators %.4f; from each other at most %.3f", g.m.gpu.Records(), fused, single, g.most)
	slack := 1.1
	if !g.real { // fewer logits
		slack = 1.5
	}
	if !(fused < slack*single) || !(fused < 0.02) {
		t.Errorf("the forward as a whole is %v from float32, single operators %v", fused, single)
	}
}

func square(x float32) float64 { return float64(x) * float64(x) }

// TestGPU has texts of one token to more than a block of queries, in batches that are queued,
// recorded and replayed with other texts and adapters, and too large for that, and probes of
// all texts, of some, and behind prefixes.
func TestGPU(t *testing.T) {
	g := newGPUTest(t)
	shapes, times := [][]int{{5}, {1, 2, 31, 64, 65, 120, 17, 128}, {32, 32, 32}, {200, 1, 400}}, 4
	if !g.real {
		shapes, times = [][]int{{1, 2, 17, 65}}, 3
	}
	all := g.adapters(t)
	for _, name := range slices.Sorted(maps.Keys(all)) { // the same batches each time
		adapters := all[name]
		t.Run(name, func(t *testing.T) {
			for _, lengths := range shapes {
				var all, some, deep []spec.Probe
				for i := range lengths {
					next := []int32{300, 17, 4000, 25000}
					all = append(all, spec.Probe{Row: i, Next: next})
					if i%2 == 1 {
						some = append(some, spec.Probe{Row: i, Next: next})
					}
					deep = append(deep, spec.Probe{Row: i, Prefix: []int32{300, 17}[:i%3], Next: next})
				}
				for range times {
					g.check(t, g.batch(adapters, lengths...), all)
				}
				if len(some) > 0 {
					g.check(t, g.batch(adapters, lengths...), some)
				}
				for range times {
					g.check(t, g.batch(adapters, lengths...), deep)
				}
			}
		})
	}
	if g.m.gpu.Records() == 0 || g.m.gpu.LessonRecords() == 0 || g.m.gpu.Unrecorded() != "" {
		t.Errorf("%d first steps and %d batches behind prefixes are recorded: %s", g.m.gpu.Records(), g.m.gpu.LessonRecords(), g.m.gpu.Unrecorded())
	}
	g.conclude(t)
}

// TestGPUBatches are many of one shape after another, whose numbers of tokens differ, and one
// that is too large to be recorded.
func TestGPUBatches(t *testing.T) {
	g := newGPUTest(t)
	most, many := 60, make([]int, 300)
	if !g.real {
		most, many = 6, many[:3]
	}
	adapters := g.adapters(t)["mixed"]
	probes := func(n int) (out []spec.Probe) {
		for i := range n {
			out = append(out, spec.Probe{Row: i, Next: []int32{300, 17, 4000}})
		}
		return out
	}
	for range 20 {
		n := 1 + g.rng.IntN(9)
		lengths := make([]int, n)
		for i := range lengths {
			lengths[i] = 1 + g.rng.IntN(most)
		}
		g.check(t, g.batch(adapters, lengths...), probes(n))
	}
	for i := range many {
		many[i] = 1 + g.rng.IntN(90)
	}
	g.check(t, g.batch(adapters, many...), probes(len(many)))
	g.conclude(t)
}
