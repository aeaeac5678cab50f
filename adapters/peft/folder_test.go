package peft

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"valence/adapters/peft/pickle"
	"valence/runtime/safetensors"
)

func TestReadFixtures(t *testing.T) {
	var expected map[string]struct {
		Digest string
		Shapes map[string][]int64
	}
	decodeFixture(t, "expected.json", &expected)
	if len(expected) != 10 {
		t.Fatalf("%d adapters in expected.json", len(expected))
	}
	for name, want := range expected {
		t.Run(name, func(t *testing.T) {
			f, err := ReadDir(filepath.Join("testdata", name), base(t, strings.Split(name, "/")[0]))
			if err != nil {
				t.Fatal(err)
			}
			if f.Digest != want.Digest {
				t.Errorf("digest %s, want %s", f.Digest, want.Digest)
			}
			if len(f.Vectors.Sites) != len(want.Shapes) {
				t.Errorf("%d vectors, want %d", len(f.Vectors.Sites), len(want.Shapes))
			}
			for _, s := range f.Vectors.Sites {
				if !slices.Equal(s.Shape(), want.Shapes[s.Key()]) {
					t.Errorf("%s has shape %v, want %v", s.Key(), s.Shape(), want.Shapes[s.Key()])
				}
			}
			if (f.Sidecar != nil) != (name == "mt5/labels") {
				t.Errorf("sidecar %q", f.Sidecar)
			}
		})
	}
}

func TestReadKeepsTheModelsOrder(t *testing.T) {
	model := base(t, "mt5")
	f, err := ReadDir("testdata/mt5/list", model)
	if err != nil {
		t.Fatal(err)
	}
	file, err := safetensors.Parse(readFixture(t, "mt5/list/"+weightsFile))
	if err != nil {
		t.Fatal(err)
	}
	rest, last := f.Vectors.Data, -1
	for _, s := range f.Vectors.Sites {
		tensor, _ := file.Tensor(s.Key())
		want, err := tensor.Float32s()
		if err != nil || !slices.Equal(rest[:s.Size], want) {
			t.Errorf("%s: %v, want %v (%v)", s.Key(), rest[:s.Size], want, err)
		}
		rest = rest[s.Size:]
		place := -1
		for i, l := range model.Linears() {
			if l.Module == s.Module {
				place = i
			}
		}
		if place <= last {
			t.Errorf("%s is out of order", s.Module)
		}
		last = place
	}
	if len(rest) != 0 {
		t.Errorf("%d values are left over", len(rest))
	}
}

// The first tensor of mt5/default by name.
const first = "base_model.model.decoder.block.0.layer.0.SelfAttention.k.ia3_l"

func TestReadRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*adapter)
		want   []string
	}{
		"vector missing":   {func(a *adapter) { a.tensors = a.tensors[1:] }, []string{first, "missing"}},
		"vector turned":    {func(a *adapter) { slices.Reverse(a.tensors[0].Shape) }, []string{first, "[1 6]", "[6 1]"}},
		"vector flat":      {func(a *adapter) { a.tensors[0].Shape = []int64{6} }, []string{first, "[6]", "[6 1]"}},
		"vector shorter":   {func(a *adapter) { a.tensors[0].Shape[0], a.tensors[0].Data = 5, a.tensors[0].Data[:20] }, []string{first, "[5 1]"}},
		"NaN":              {func(a *adapter) { copy(a.tensors[0].Data[8:], "\x00\x00\xc0\x7f") }, []string{first, "element 2 is NaN"}},
		"infinity":         {func(a *adapter) { copy(a.tensors[0].Data, "\x00\x00\x80\xff") }, []string{first, "element 0 is -Inf"}},
		"integers":         {func(a *adapter) { a.tensors[0].DType = safetensors.I32 }, []string{first, "I32"}},
		"doubles":          {func(a *adapter) { a.tensors[0].DType, a.tensors[0].Data = safetensors.F64, make([]byte, 48) }, []string{first, "F64"}},
		"unknown tensor":   {func(a *adapter) { a.add("base_model.model.lm_head.weight") }, []string{weightsFile, "base_model.model.lm_head.weight", "no module"}},
		"adapter's name":   {func(a *adapter) { a.tensors[0].Name += ".default" }, []string{first, "missing"}},
		"without prefix":   {func(a *adapter) { a.tensors[0].Name = strings.TrimPrefix(first, "base_model.") }, []string{first, "missing"}},
		"other targets":    {func(a *adapter) { a.config["target_modules"] = []string{"k"} }, []string{"SelfAttention.v.ia3_l", "no module"}},
		"input for output": {func(a *adapter) { a.config["feedforward_modules"] = []string{"wi_1"} }, []string{"wi_1.ia3_l", "[10 1]", "[1 4]"}},
		"bad targets":      {func(a *adapter) { a.config["target_modules"] = "(" }, []string{"target_modules"}},
		"bad method":       {func(a *adapter) { a.config["peft_type"] = "LORA" }, []string{configFile, "LORA"}},
		"bad sidecar":      {func(a *adapter) { a.sidecar = "{" }, []string{sidecarFile}},
		"bad labels":       {func(a *adapter) { a.sidecar = `{"labels":["x"]}` }, []string{sidecarFile}},
	} {
		t.Run(name, func(t *testing.T) {
			a := loadAdapter(t, "mt5/default")
			c.change(a)
			_, err := Read(a.fsys(t), base(t, "mt5"))
			wants(t, err, c.want...)
		})
	}
}

func (a *adapter) add(name string) {
	x := a.tensors[0]
	x.Name = name
	a.tensors = append(a.tensors, x)
}

func TestReadOtherModel(t *testing.T) {
	_, err := ReadDir("testdata/mt5/default", base(t, "t5"))
	wants(t, err, "testdata/mt5/default", "wi_1.ia3_l", "no module")
}

func TestReadFiles(t *testing.T) {
	model := base(t, "mt5")
	whole := loadAdapter(t, "mt5/default")
	pickled := readFixture(t, "mt5/pickle/"+pickleFile)
	for name, c := range map[string]struct {
		change func(fstest.MapFS)
		want   []string
		is     error
	}{
		"no config":    {func(f fstest.MapFS) { delete(f, configFile) }, []string{configFile}, fs.ErrNotExist},
		"no weights":   {func(f fstest.MapFS) { delete(f, weightsFile) }, []string{weightsFile}, fs.ErrNotExist},
		"not a pickle": {func(f fstest.MapFS) { f[pickleFile] = f[weightsFile]; delete(f, weightsFile) }, []string{pickleFile, "does not begin as torch.save"}, pickle.ErrFormat},
		"a long pickle": {func(f fstest.MapFS) {
			f[pickleFile] = &fstest.MapFile{Data: make([]byte, maxWeights+1)}
			delete(f, weightsFile)
		}, []string{pickleFile, "larger"}, ErrAdapter},
		"cut, and pickle": {func(f fstest.MapFS) { f[weightsFile].Data = nil; f[pickleFile] = &fstest.MapFile{Data: pickled} }, []string{weightsFile, "truncated"}, safetensors.ErrFormat},
		"config too long": {func(f fstest.MapFS) { f[configFile].Data = make([]byte, maxConfig+1) }, []string{configFile, "larger than the limit of 1048576"}, ErrAdapter},
		"a long sidecar":  {func(f fstest.MapFS) { f[sidecarFile] = &fstest.MapFile{Data: make([]byte, maxSidecar+1)} }, []string{sidecarFile, "larger"}, ErrAdapter},
		"cut weights":     {func(f fstest.MapFS) { f[weightsFile].Data = f[weightsFile].Data[:100] }, []string{weightsFile, "truncated"}, safetensors.ErrFormat},
		"a folder":        {func(f fstest.MapFS) { f[configFile].Mode = fs.ModeDir }, []string{configFile, "not a regular file"}, ErrAdapter},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := whole.fsys(t)
			c.change(fsys)
			_, err := Read(fsys, model)
			wants(t, err, c.want...)
			if !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
		})
	}
}

func TestReadDirLinks(t *testing.T) {
	model := base(t, "mt5")
	source, err := filepath.Abs("testdata/mt5/default")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "blobs"), os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "snapshot"), 0o700); err != nil {
		t.Fatal(err)
	}
	link("../blobs/"+configFile, "snapshot/"+configFile)
	link("../blobs/"+weightsFile, "snapshot/"+weightsFile)

	_, err = ReadDir(filepath.Join(dir, "snapshot"), model)
	wants(t, err, configFile, "escapes")

	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	inside, err := fs.Sub(root.FS(), "snapshot")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(inside, model); err != nil {
		t.Errorf("links within the common root: %v", err)
	}

	link("blobs/"+configFile, configFile)
	link("blobs/"+weightsFile, weightsFile)
	link(filepath.Join(source, configFile), sidecarFile)
	_, err = ReadDir(dir, model)
	wants(t, err, sidecarFile, "escapes")
}

func TestReadDirRefuses(t *testing.T) {
	model := base(t, "mt5")
	dir := t.TempDir()
	_, err := ReadDir(filepath.Join(dir, "absent"), model)
	wants(t, err, "absent")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not ErrNotExist", err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, configFile), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ReadDir(dir, model) // must not wait for a writer
	wants(t, err, configFile, "not a regular file")
}
