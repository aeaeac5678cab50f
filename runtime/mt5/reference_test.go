package mt5

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
	"valence/runtime/torch"
	"valence/runtime/torch/torchtest"
)

// variants are the folders of testdata; see its README for the format.
var variants = []string{"mt5", "t5", "t5v11", "mt5-bf16-sharded", "mt5-fp16-tied"}

// tolerance bounds the absolute difference to transformers of hidden states,
// logits and log-probabilities in float32.
const tolerance = 1e-4

// reference is testdata/<variant>/reference.json.
type reference struct {
	MaxNewTokens int                  `json:"max_new_tokens"`
	Tries        map[string][][]int32 `json:"tries"`
	Cases        []referenceCase      `json:"cases"`
}

type referenceCase struct {
	Name       string         `json:"name"`
	InputIDs   [][]int32      `json:"input_ids"`
	DecoderIDs [][]int32      `json:"decoder_input_ids"`
	Runs       []referenceRun `json:"runs"`
}

type referenceRun struct {
	Name      string                 `json:"name"`
	Adapters  []string               `json:"adapters"` // of each row
	States    bool                   `json:"states"`   // hidden states are recorded too
	Generated [][]int32              `json:"generated"`
	LogProbs  map[string][][]float64 `json:"label_log_probs"` // by trie, row and label
}

// fixture is a variant loaded, with its reference.
type fixture struct {
	*reference
	model    *Model
	thread   *torch.Thread
	adapters map[string]*spec.Vectors // "base" is nil
	tensors  *safetensors.File
}

func open(t *testing.T, variant string) *checkpoint.Checkpoint {
	t.Helper()
	base, err := checkpoint.Open(filepath.Join("testdata", variant))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { base.Close() })
	return base
}

func load(t *testing.T, variant string) *fixture {
	t.Helper()
	return loadAs(t, variant, "packed")
}

func loadAs(t *testing.T, variant, way string) *fixture {
	t.Helper()
	dir := filepath.Join("testdata", variant)
	f := &fixture{reference: &reference{}, adapters: map[string]*spec.Vectors{"base": nil}}
	data, err := os.ReadFile(filepath.Join(dir, "reference.json"))
	if err == nil {
		err = json.Unmarshal(data, f.reference)
	}
	if err != nil {
		t.Fatal(err)
	}
	base := open(t, variant)
	if f.tensors, err = safetensors.Open(filepath.Join(dir, "reference.safetensors")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.tensors.Close() })
	for _, name := range []string{"default", "second", "custom", "regex"} {
		f.adapters[name] = readVectors(t, filepath.Join(dir, "adapters", name, "adapter_model.safetensors"), base.Config)
	}
	t.Setenv("VALENCE_MAX_CPU_ISA", ways[way].isa)
	f.model, f.thread = loadWith(t, base.Config, base, Options{DType: torch.Float32, Packed: ways[way].format})
	if err := base.Close(); err != nil { // the model holds what it reads
		t.Fatal(err)
	}
	return f
}

// readVectors reads the vectors that PEFT wrote. (Package peft, which checks such
// files, lies above this one.)
func readVectors(t *testing.T, path string, config *spec.Config) *spec.Vectors {
	t.Helper()
	file, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var sites []spec.Site
	var data []float32
	for _, l := range config.Linears() {
		tensor, ok := file.Tensor(spec.Site{Module: l.Module}.Key())
		if !ok {
			continue
		}
		v, err := tensor.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		sites = append(sites, spec.Site{Module: l.Module, Input: tensor.Shape[0] == 1, Size: len(v)})
		data = append(data, v...)
	}
	if len(sites) != len(file.Names()) {
		t.Fatalf("%s: %d tensors, %d of them at projections", path, len(file.Names()), len(sites))
	}
	vectors, err := spec.NewVectors(sites, data)
	if err != nil {
		t.Fatal(err)
	}
	return vectors
}

// loadModel loads a model whose handles must all be gone when the test ends.
func loadModel(t *testing.T, config *spec.Config, w Weights, dtype torch.DType) (*Model, *torch.Thread) {
	t.Helper()
	return loadWith(t, config, w, Options{DType: dtype})
}

func loadPacked(t *testing.T, config *spec.Config, w Weights, format torch.Format) *Model {
	t.Helper()
	m, _ := loadWith(t, config, w, Options{DType: torch.Float32, Packed: format})
	return m
}

func loadWith(t *testing.T, config *spec.Config, w Weights, o Options) (*Model, *torch.Thread) {
	t.Helper()
	device := torchtest.Device(t)
	if device.IsCUDA() {
		o.Packed = plainOnCUDA(t, o.Packed)
	}
	thread := torch.Start(torch.Options{Device: device, Threads: 1})
	m, err := Load(context.Background(), thread, config, w, o)
	if err != nil {
		thread.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := thread.Close(); err != nil {
			t.Error(err)
		}
	})
	return m, thread
}

func (f *fixture) batch(ids [][]int32, names []string) *spec.Batch {
	b := &spec.Batch{IDs: ids}
	for _, name := range names {
		b.Adapters = append(b.Adapters, f.adapters[name])
	}
	return b
}

// want reads a recorded tensor.
func (f *fixture) want(t *testing.T, key string) []float32 {
	t.Helper()
	tensor, ok := f.tensors.Tensor(key)
	if !ok {
		t.Errorf("the fixture has no %q", key)
		return nil
	}
	v, err := tensor.Float32s()
	if err != nil {
		t.Error(err)
	}
	return v
}

// compare wants got within tolerance of the recorded tensor. Where lengths is
// given, both are [rows, T, D] and only a row's own tokens are compared.
func (f *fixture) compare(t *testing.T, key string, got []float32, lengths []int) {
	t.Helper()
	want := f.want(t, key)
	if len(got) != len(want) {
		t.Errorf("%s: %d elements, want %d", key, len(got), len(want))
		return
	}
	worst := 0.0
	for i := range got {
		if lengths != nil {
			d := f.model.config.DModel
			longest := slices.Max(lengths)
			if i/d%longest >= lengths[i/d/longest] {
				continue
			}
		}
		worst = max(worst, math.Abs(float64(got[i]-want[i])))
	}
	t.Logf("%s: off by %.2g", key, worst)
	if !(worst <= tolerance) {
		t.Errorf("%s: off by %.2g, tolerance %.0e", key, worst, tolerance)
	}
}

func lengths(rows [][]int32) []int {
	out := make([]int, len(rows))
	for i, row := range rows {
		out[i] = len(row)
	}
	return out
}

func TestHiddenStatesAndLogits(t *testing.T) {
	each(t, func(t *testing.T, f *fixture, c *referenceCase, r *referenceRun) {
		b := f.batch(c.InputIDs, r.Adapters)
		err := f.thread.Do(context.Background(), torch.Serving, func(s *torch.Scope) error {
			p, err := f.model.begin(s, b)
			if err != nil {
				return err
			}
			read := func(x torch.Tensor) []float32 {
				v, err := s.ReadFloat32s(x)
				if err != nil {
					t.Error(err)
				}
				return v
			}
			watch := func(stack string, layers int, rows []int) func(int, torch.Tensor) {
				if !r.States {
					return nil
				}
				return func(layer int, x torch.Tensor) {
					name := strconv.Itoa(layer)
					if layer > layers {
						name = "final"
					}
					f.compare(t, c.Name+"/"+r.Name+"/"+stack+"/"+name, read(x), rows)
				}
			}
			in := p.pad(b.IDs)
			p.watch = watch("encoder", f.model.config.EncoderLayers, lengths(b.IDs))
			mem := p.remember(p.encode(in), in, nil)
			p.watch = watch("decoder", f.model.config.DecoderLayers, nil)
			n, l := int64(len(c.DecoderIDs)), int64(len(c.DecoderIDs[0]))
			var ids []int64
			for _, row := range c.DecoderIDs {
				for _, id := range row {
					ids = append(ids, int64(id))
				}
			}
			x := p.decode(s.Int64s(ids, n, l), n, l, mem, &past{})
			f.compare(t, c.Name+"/"+r.Name+"/logits", read(p.logits(x, f.model.head)), nil)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestLabelLogProbs(t *testing.T) {
	each(t, func(t *testing.T, f *fixture, c *referenceCase, r *referenceRun) {
		b := f.batch(c.InputIDs, r.Adapters)
		for name, labels := range f.Tries {
			got := f.logProbs(t, b, labels)
			compareRows(t, name, got, r.LogProbs[name])
		}
	})
}

// TestRowsAloneEqualTheBatch is the promise of isolation: each row of a batch with
// its own adapter is answered as if it were alone.
func TestRowsAloneEqualTheBatch(t *testing.T) {
	each(t, func(t *testing.T, f *fixture, c *referenceCase, r *referenceRun) {
		for name, labels := range f.Tries {
			batch := f.logProbs(t, f.batch(c.InputIDs, r.Adapters), labels)
			for i := range c.InputIDs {
				alone := f.logProbs(t, f.batch(c.InputIDs[i:i+1], r.Adapters[i:i+1]), labels)
				compareRows(t, fmt.Sprintf("%s row %d", name, i), alone, batch[i:i+1])
			}
		}
	})
}

func TestGenerate(t *testing.T) {
	each(t, func(t *testing.T, f *fixture, c *referenceCase, r *referenceRun) {
		got, err := f.model.Generate(context.Background(), f.batch(c.InputIDs, r.Adapters), f.MaxNewTokens)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if !slices.Equal(got[i], r.Generated[i]) {
				t.Errorf("row %d: generated %v, transformers %v", i, got[i], r.Generated[i])
			}
		}
		if n := f.thread.Live(); n > f.resident() {
			t.Errorf("%d handles live, %d at rest", n, f.resident())
		}
	})
}

// resident is the number of handles that the model keeps: weights, two position
// biases, also by distance, the table and the room for a batch's rows of it, the head's scale,
// and the head once more where all of it was read.
func (f *fixture) resident() int64 {
	n := int64(len(f.model.config.Weights()) + 6)
	if f.model.config.TiedHead {
		n++
	}
	if f.model.packed != 0 {
		n += 2 * int64(f.model.config.DecoderLayers) // keys' and values' matrices are there twice
	}
	if f.model.whole.Defined() {
		n++
	}
	return n
}

func compareRows(t *testing.T, name string, got, want [][]float64) {
	t.Helper()
	worst := 0.0
	for i := range want {
		for j := range want[i] {
			worst = max(worst, math.Abs(got[i][j]-want[i][j]))
			if d := math.Abs(got[i][j] - want[i][j]); !(d <= tolerance) {
				t.Errorf("%s: row %d label %d: %.6f, want %.6f", name, i, j, got[i][j], want[i][j])
			}
		}
	}
	t.Logf("%s: log-probabilities off by %.2g", name, worst)
}

// logProbs scores labels, given by their token ids, by probing every node of their
// trie: a plain reading of the definition.
func (f *fixture) logProbs(t *testing.T, b *spec.Batch, labels [][]int32) [][]float64 {
	t.Helper()
	var probes []spec.Probe
	for row := range b.IDs {
		for _, label := range labels {
			for i := range label {
				probes = append(probes, spec.Probe{Row: row, Prefix: label[:i], Next: children(labels, label[:i])})
			}
		}
	}
	logits, err := f.model.Score(context.Background(), b, probes)
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]float64, len(b.IDs))
	at := 0
	for row := range b.IDs {
		for _, label := range labels {
			sum := 0.0
			for _, id := range label {
				sum += logSoftmax(logits[at])[slices.Index(probes[at].Next, id)]
				at++
			}
			out[row] = append(out[row], sum)
		}
	}
	return out
}

// children are the tokens that follow prefix in any label.
func children(labels [][]int32, prefix []int32) []int32 {
	var out []int32
	for _, l := range labels {
		if len(l) > len(prefix) && slices.Equal(l[:len(prefix)], prefix) && !slices.Contains(out, l[len(prefix)]) {
			out = append(out, l[len(prefix)])
		}
	}
	return out
}

func logSoftmax(x []float32) []float64 {
	top := float64(slices.Max(x))
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v) - top - math.Log(sum)
	}
	return out
}
