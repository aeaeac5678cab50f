package peft

import (
	"bytes"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"valence/runtime/mt5/spec"
)

// encoded puts the files of Encode into a file system.
func encoded(t *testing.T, f *Folder) fstest.MapFS {
	t.Helper()
	files, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: data}
	}
	return fsys
}

// What PEFT wrote is written again to the byte, where PEFT wrote float32.
func TestEncodeEqualsPEFT(t *testing.T) {
	for name, files := range map[string][]string{
		"mt5/default": {configFile, weightsFile},
		"mt5/list":    {configFile, weightsFile},
		"mt5/regex":   {configFile, weightsFile},
		"mt5/labels":  {configFile, weightsFile, sidecarFile},
		"mt5/pickle":  {configFile},
		"t5/default":  {configFile, weightsFile},
		"t5/linear":   {configFile, weightsFile},
		"t5/half":     {configFile},
	} {
		t.Run(name, func(t *testing.T) {
			model, _, _ := strings.Cut(name, "/")
			f, err := ReadDir(filepath.Join("testdata", name), base(t, model))
			if err != nil {
				t.Fatal(err)
			}
			got := encoded(t, f)
			for _, file := range files {
				if want := readFixture(t, name+"/"+file); !bytes.Equal(got[file].Data, want) {
					t.Errorf("%s:\n%s\nwant\n%s", file, got[file].Data, want)
				}
			}
		})
	}
}

func TestDefaultConfigEqualsPEFT(t *testing.T) {
	for _, name := range []string{"mt5", "t5"} {
		c := DefaultConfig(base(t, name))
		c.BaseModel = "base"
		got, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		if want := readFixture(t, name+"/default/"+configFile); !bytes.Equal(got, want) {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
}

// vectorsFor makes vectors for the sites of a configuration, all different.
func vectorsFor(t *testing.T, model *spec.Config, c Config) *spec.Vectors {
	t.Helper()
	sites, err := c.Sites(model)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]float32, spec.Total(sites))
	for i := range data {
		data[i] = float32(math.Sqrt(float64(i + 2)))
	}
	// Values whose bits a conversion could lose.
	copy(data, []float32{float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, math.MaxFloat32})
	v, err := spec.NewVectors(sites, data)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEncodeRoundTrip(t *testing.T) {
	pattern := func(p string) Modules { return Modules{Pattern: &p} }
	names := func(n ...string) Modules { return Modules{Names: n} }
	const block = "decoder.block.0.layer."
	for name, c := range map[string]Config{
		"nothing":          {},
		"default lists":    DefaultConfig(base(t, "mt5")),
		"explicit paths":   {Target: names(block+"0.SelfAttention.k", block+"1.EncDecAttention.q", "encoder.block.1.layer.1.DenseReluDense.wo"), FeedForward: names("encoder.block.1.layer.1.DenseReluDense.wo")},
		"no feed-forward":  {Target: names("wo", "k"), FeedForward: names()},
		"order and twice":  {Target: names("v", "k", "v"), FeedForward: names("v")},
		"patterns":         {Target: pattern(`.*block\.(0|1)\..*\.(?P<which>k|v|wo)`), FeedForward: pattern(`.*<>&wo|.*\.wo`), Exclude: pattern("encoder.*")},
		"pattern and list": {Target: pattern(".*SelfAttention.*[qv]"), FeedForward: names()},
		"all projections":  {Target: pattern("all-linear"), FeedForward: names(), Exclude: names("q")},
		"empty exclusion":  {Target: names("k"), FeedForward: names(), Exclude: names()},
		"texts":            {Target: names("k"), FeedForward: names(), TaskType: "SEQ_2_SEQ_LM", BaseModel: "küche/\"<模型>\" 😀\x7f\n", Revision: "main", PEFTVersion: Version},
	} {
		for _, sidecar := range [][]byte{nil, []byte("{\"format\": 1,\n \"template\": \"ä {text}\", \"temperature\": 3}\n")} {
			model := base(t, "mt5")
			f, err := NewFolder(model, c, vectorsFor(t, model, c), sidecar)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			fsys := encoded(t, f)
			back, err := Read(fsys, model)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, fsys[configFile].Data)
			}
			if !reflect.DeepEqual(back, f) {
				t.Errorf("%s: %+v came back as %+v", name, f, back)
			}
			if math.Signbit(float64(back.Vectors.Data[0])) != true {
				t.Errorf("%s: -0 became 0", name)
			}
			if i := bytes.IndexFunc(fsys[configFile].Data, func(r rune) bool { return r > '~' }); i >= 0 {
				t.Errorf("%s: byte %d of the configuration is not ASCII", name, i)
			}
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	pattern := "k"
	for name, c := range map[string]struct {
		change func(*Folder)
		want   string
	}{
		"stale digest":     {func(f *Folder) { f.Digest = "sha256:00" }, `the digest is "sha256:00"`},
		"stale sidecar":    {func(f *Folder) { f.Sidecar = []byte(`{"temperature":2}`) }, "the digest is"},
		"broken sidecar":   {func(f *Folder) { f.Sidecar = []byte(`{`) }, sidecarFile},
		"list and pattern": {func(f *Folder) { f.Config.Target.Pattern = &pattern }, "adapter_config.json: target_modules: it would not be read back"},
		"not UTF-8":        {func(f *Folder) { f.Config.BaseModel = "\xff" }, "base_model_name_or_path"},
		"name not UTF-8":   {func(f *Folder) { f.Config.Target.Names = []string{"k\xff"} }, "target_modules"},
		"not a subset":     {func(f *Folder) { f.Config.FeedForward.Names = []string{"wo"} }, "feedforward_modules"},
		"many names":       {func(f *Folder) { f.Config.Exclude.Names = make([]string, maxNames+1) }, "exclude_modules"},
		"a long name":      {func(f *Folder) { f.Config.Revision = strings.Repeat("x", maxConfig) }, "adapter_config.json: its"},
		"NaN":              {func(f *Folder) { f.Vectors.Data[7] = float32(math.NaN()); f.redigest() }, "v.ia3_l\": element 1 is NaN"},
		"infinity":         {func(f *Folder) { f.Vectors.Data[0] = float32(math.Inf(1)); f.redigest() }, "k.ia3_l\": element 0 is +Inf"},
		"a site twice":     {func(f *Folder) { f.Vectors.Sites[1] = f.Vectors.Sites[0]; f.redigest() }, "given twice"},
		"a long sidecar":   {func(f *Folder) { f.Sidecar = []byte("{}" + strings.Repeat(" ", maxSidecar)); f.redigest() }, "valence.json: its"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := ReadDir("testdata/mt5/default", base(t, "mt5"))
			if err != nil {
				t.Fatal(err)
			}
			c.change(f)
			files, err := f.Encode()
			wants(t, err, "encode", c.want)
			if files != nil {
				t.Error("there are files beside the error")
			}
		})
	}
}

func (f *Folder) redigest() { f.Digest, _ = Digest(f.Vectors, f.Sidecar) }

func TestNewFolder(t *testing.T) {
	model := base(t, "mt5")
	c := DefaultConfig(model)
	v := vectorsFor(t, model, c)
	f, err := NewFolder(model, c, v, nil)
	if err != nil || !strings.HasPrefix(f.Digest, "sha256:") || f.Vectors != v {
		t.Fatalf("%+v, %v", f, err)
	}
	turned := &spec.Vectors{Sites: slices.Clone(v.Sites), Data: v.Data}
	slices.Reverse(turned.Sites)
	for name, err := range map[string]error{
		"fewer":    second(NewFolder(model, Config{Target: Modules{Names: []string{"k"}}}, v, nil)),
		"reversed": second(NewFolder(model, c, turned, nil)),
		"sidecar":  second(NewFolder(model, c, v, []byte("{"))),
		"targets":  second(NewFolder(model, Config{Target: Modules{Names: []string{"absent"}}}, v, nil)),
	} {
		t.Run(name, func(t *testing.T) { wants(t, err) })
	}
}

func second[T any](_ T, err error) error { return err }
