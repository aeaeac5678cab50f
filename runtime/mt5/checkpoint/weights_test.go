package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
)

// model is a checkpoint in memory that a test can break.
type model struct {
	config  string
	tensors map[string]safetensors.Tensor
}

func load(t *testing.T, name string) *model {
	t.Helper()
	config, err := os.ReadFile("testdata/" + name + "/config.json")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("testdata/" + name + "/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	m := &model{string(config), map[string]safetensors.Tensor{}}
	for _, n := range f.Names() {
		m.tensors[n], _ = f.Tensor(n)
	}
	return m
}

// copyTo adds a tensor under another name, changed by change if that is not nil.
func (m *model) copyTo(to, from string, change func(*safetensors.Tensor)) {
	x := m.tensors[from]
	x.Name, x.Data, x.Shape = to, slices.Clone(x.Data), slices.Clone(x.Shape)
	if change != nil {
		change(&x)
	}
	m.tensors[to] = x
}

func flip(x *safetensors.Tensor)      { x.Data[0] ^= 1 }
func transpose(x *safetensors.Tensor) { slices.Reverse(x.Shape) }

// widen turns F16 into F32.
func widen(x *safetensors.Tensor) {
	values, _ := x.Float32s()
	x.DType, x.Data = safetensors.F32, nil
	for _, v := range values {
		b := math.Float32bits(v)
		x.Data = append(x.Data, byte(b), byte(b>>8), byte(b>>16), byte(b>>24))
	}
}

func file(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

func encode(t *testing.T, tensors map[string]safetensors.Tensor) *fstest.MapFile {
	t.Helper()
	var b bytes.Buffer
	if err := safetensors.Write(&b, slices.Collect(maps.Values(tensors)), nil); err != nil {
		t.Fatal(err)
	}
	return &fstest.MapFile{Data: b.Bytes()}
}

func (m *model) fsys(t *testing.T) fstest.MapFS {
	t.Helper()
	return fstest.MapFS{configFile: file(m.config), singleFile: encode(t, m.tensors)}
}

// sharded puts shared.weight in a.safetensors and the rest in b.safetensors.
func (m *model) sharded(t *testing.T, change func(index map[string]string)) fstest.MapFS {
	t.Helper()
	a, b, index := map[string]safetensors.Tensor{}, map[string]safetensors.Tensor{}, map[string]string{}
	for name, x := range m.tensors {
		if name == sharedWeight {
			a[name], index[name] = x, "a.safetensors"
		} else {
			b[name], index[name] = x, "b.safetensors"
		}
	}
	change(index)
	data, err := json.Marshal(map[string]any{"weight_map": index})
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{configFile: file(m.config), indexFile: file(string(data)), "a.safetensors": encode(t, a), "b.safetensors": encode(t, b)}
}

const wo = "encoder.block.1.layer.1.DenseReluDense.wo.weight"

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		base   string
		change func(*model)
		want   []string
	}{
		"no weight":            {"mt5", func(m *model) { delete(m.tensors, wo) }, []string{wo, "is missing"}},
		"transposed":           {"mt5", func(m *model) { m.copyTo(wo, wo, transpose) }, []string{wo, "model.safetensors has shape [10 4]", "asks for [4 10]"}},
		"no shared":            {"mt5", func(m *model) { delete(m.tensors, sharedWeight) }, []string{sharedWeight, "is missing"}},
		"tied, only the head":  {"t5", func(m *model) { m.copyTo(headWeight, sharedWeight, nil); delete(m.tensors, sharedWeight) }, []string{sharedWeight, "is missing"}},
		"untied without head":  {"mt5", func(m *model) { delete(m.tensors, headWeight) }, []string{headWeight, "untied", "transformers 5 drops"}},
		"tied, another head":   {"t5", func(m *model) { m.copyTo(headWeight, sharedWeight, flip) }, []string{headWeight, "differs from", "tie_word_embeddings"}},
		"tied, wide head":      {"t5", func(m *model) { m.copyTo(headWeight, sharedWeight, func(x *safetensors.Tensor) { widen(x); flip(x) }) }, []string{"differs from"}},
		"tied, head of a view": {"t5", func(m *model) { m.copyTo(headWeight, sharedWeight, transpose) }, []string{"differs from"}},
		"misshapen alias":      {"t5", func(m *model) { m.copyTo(sharedAliases[1], sharedWeight, transpose) }, []string{sharedAliases[1], "another name of shared.weight", "[4 17]"}},
		"aliases differ": {"t5", func(m *model) {
			m.copyTo(sharedAliases[0], sharedWeight, nil)
			m.copyTo(sharedAliases[1], sharedWeight, flip)
			delete(m.tensors, sharedWeight)
		}, []string{sharedWeight, sharedAliases[0], sharedAliases[1], "differ"}},
		"integers":   {"mt5", func(m *model) { m.copyTo(wo, wo, func(x *safetensors.Tensor) { x.DType = safetensors.I32 }) }, []string{wo, "I32", "quantised"}},
		"8-bit":      {"t5", func(m *model) { m.copyTo(wo, wo, eightBit) }, []string{wo, "F8_E4M3"}},
		"bad config": {"t5", func(m *model) { m.config = `{"model_type":"bert"}` }, []string{"model_type"}},
		"other size": {"t5", func(m *model) { m.config = strings.Replace(m.config, `"vocab_size": 17`, `"vocab_size": 18`, 1) }, []string{sharedWeight, "[17 4]", "[18 4]"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := load(t, c.base)
			c.change(m)
			_, err := OpenFS("memory", m.fsys(t))
			wants(t, err, append(c.want, "memory")...)
		})
	}
}

func eightBit(x *safetensors.Tensor) { x.DType, x.Data = safetensors.F8E4M3, x.Data[:len(x.Data)/2] }

func wants(t *testing.T, err error, parts ...string) {
	t.Helper()
	if !errors.Is(err, ErrCheckpoint) {
		t.Fatalf("got %v, want ErrCheckpoint", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

func TestOpenTolerates(t *testing.T) {
	extra := "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
	for name, c := range map[string]struct {
		base   string
		change func(*model)
		unused []string
	}{
		"tied, equal head":           {"t5", func(m *model) { m.copyTo(headWeight, sharedWeight, nil) }, nil},
		"tied, equal head in F32":    {"t5", func(m *model) { m.copyTo(headWeight, sharedWeight, widen) }, nil},
		"an alias":                   {"t5", func(m *model) { m.copyTo(sharedAliases[0], sharedWeight, nil) }, nil},
		"another alias, overruled":   {"t5", func(m *model) { m.copyTo(sharedAliases[1], sharedWeight, flip) }, nil},
		"an alias in stead":          {"mt5", func(m *model) { m.copyTo(sharedAliases[1], sharedWeight, nil); delete(m.tensors, sharedWeight) }, nil},
		"a tensor that is not read":  {"t5", func(m *model) { m.copyTo(extra, sharedWeight, nil); m.copyTo("a", wo, nil) }, []string{"a", extra}},
		"one weight in another type": {"t5", func(m *model) { m.copyTo(wo, wo, widen) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := load(t, c.base)
			want := m.tensors[sharedWeight].Data
			c.change(m)
			got, err := OpenFS("memory", m.fsys(t))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Unused(), c.unused) {
				t.Errorf("unused %q, want %q", got.Unused(), c.unused)
			}
			shared, err := got.Weight(spec.Weight{Name: sharedWeight, Shape: []int64{17, 4}})
			if err != nil || !bytes.Equal(shared.Data, want) {
				t.Errorf("shared.weight changed: %v", err)
			}
		})
	}
}

func TestOpenIndexRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		index func(map[string]string)
		files func(fstest.MapFS)
		want  []string
	}{
		"outside":        {func(m map[string]string) { m[wo] = "../b.safetensors" }, nil, []string{wo, `"../b.safetensors"`, "beside the index"}},
		"absolute":       {func(m map[string]string) { m[wo] = "/b.safetensors" }, nil, []string{wo, "beside the index"}},
		"in a folder":    {func(m map[string]string) { m[wo] = "x/b.safetensors" }, nil, []string{wo, "beside the index"}},
		"backslash":      {func(m map[string]string) { m[wo] = `..\b.safetensors` }, nil, []string{wo, "beside the index"}},
		"other format":   {func(m map[string]string) { m[wo] = "b.bin" }, nil, []string{wo, "only .safetensors"}},
		"parent":         {func(m map[string]string) { m[wo] = ".." }, nil, []string{wo, "beside the index"}},
		"wrong shard":    {func(m map[string]string) { m[wo] = "a.safetensors" }, nil, []string{wo, "a.safetensors, which does not hold it"}},
		"missing shard":  {nil, func(f fstest.MapFS) { delete(f, "a.safetensors") }, []string{`names "a.safetensors"`, "does not exist"}},
		"broken shard":   {nil, func(f fstest.MapFS) { f["a.safetensors"] = file("x") }, []string{"a.safetensors", "too few"}},
		"weight not in":  {func(m map[string]string) { delete(m, wo) }, nil, []string{wo, "is missing"}},
		"empty":          {func(m map[string]string) { clear(m) }, nil, []string{"weight_map is empty"}},
		"not JSON":       {nil, func(f fstest.MapFS) { f[indexFile] = file("{") }, []string{indexFile, "JSON"}},
		"map of numbers": {nil, func(f fstest.MapFS) { f[indexFile] = file(`{"weight_map":{"a":1}}`) }, []string{indexFile}},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := load(t, "t5").sharded(t, func(m map[string]string) {
				if c.index != nil {
					c.index(m)
				}
			})
			if c.files != nil {
				c.files(fsys)
			}
			_, err := OpenFS("memory", fsys)
			wants(t, err, c.want...)
		})
	}
}

func TestOpenIndexListsWhatItLeavesOut(t *testing.T) {
	m := load(t, "t5")
	m.copyTo("extra", wo, nil)
	c, err := OpenFS("memory", m.sharded(t, func(index map[string]string) { delete(index, "extra") }))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Unused(), []string{"extra"}) {
		t.Errorf("unused %q", c.Unused())
	}
}

func TestSingleFileComesFirst(t *testing.T) {
	m := load(t, "t5")
	fsys := m.fsys(t)
	fsys[indexFile] = file("not read")
	if _, err := OpenFS("memory", fsys); err != nil {
		t.Error(err)
	}
}

func TestOpenWithoutSafetensors(t *testing.T) {
	m := load(t, "t5")
	for _, name := range []string{"pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"} {
		_, err := OpenFS("memory", fstest.MapFS{configFile: file(m.config), name: file("x")})
		wants(t, err, name, "convert it", "save_pretrained")
	}
	_, err := OpenFS("memory", fstest.MapFS{configFile: file(m.config)})
	wants(t, err, singleFile, indexFile)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not ErrNotExist", err)
	}
}

func TestOpenNamesTheBrokenFile(t *testing.T) {
	m := load(t, "t5")
	_, err := OpenFS("memory", fstest.MapFS{configFile: file(m.config), singleFile: file("short")})
	wants(t, err, singleFile, "too few")
	if !errors.Is(err, safetensors.ErrFormat) {
		t.Errorf("%v is not ErrFormat", err)
	}
}
