package peft

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"valence/runtime/safetensors"
)

// Both files hold the same tensors as far as shapes go: only the values tell which
// one was read.
func TestReadPrefersSafetensors(t *testing.T) {
	model := base(t, "mt5")
	fsys := loadAdapter(t, "mt5/default").fsys(t)
	alone, err := Read(fsys, model)
	if err != nil {
		t.Fatal(err)
	}
	fsys[pickleFile] = &fstest.MapFile{Data: readFixture(t, "mt5/pickle/"+pickleFile)}
	both, err := Read(fsys, model)
	if err != nil || both.Digest != alone.Digest {
		t.Errorf("beside a pickle: %+v, %v", both, err)
	}
	delete(fsys, weightsFile)
	pickled, err := Read(fsys, model)
	if err != nil || pickled.Digest == alone.Digest {
		t.Errorf("the pickle alone: %+v, %v", pickled, err)
	}
}

// The pickles are checked as safetensors files are.
func TestReadPickleRefuses(t *testing.T) {
	fsys := loadAdapter(t, "mt5/default").fsys(t)
	fsys[pickleFile] = &fstest.MapFile{Data: readFixture(t, "mt5/pickle/"+pickleFile)}
	delete(fsys, weightsFile)
	_, err := Read(fsys, base(t, "t5"))
	wants(t, err, pickleFile, "wi_1.ia3_l", "no module")

	a := loadAdapter(t, "mt5/default")
	a.config["target_modules"] = []string{"k", "v", "wi_1", "q"}
	fsys[configFile] = a.fsys(t)[configFile]
	_, err = Read(fsys, base(t, "mt5"))
	wants(t, err, pickleFile, "SelfAttention.q.ia3_l", "missing")
}

func TestCheckVectorRefusesDoubles(t *testing.T) {
	folder, err := ReadDir("testdata/mt5/default", base(t, "mt5"))
	if err != nil {
		t.Fatal(err)
	}
	site := folder.Vectors.Sites[0]
	x := safetensors.Tensor{Name: site.Key(), DType: safetensors.F64, Shape: site.Shape(), Data: make([]byte, 8*site.Size)}
	if err := checkVector(map[string]safetensors.Tensor{x.Name: x}, x.Name, site.Shape()); err == nil {
		t.Error("doubles are read")
	}
}

// Loaded without care, the pickle makes a file named marker in the working directory.
func TestReadRunsNoCode(t *testing.T) {
	hostile, err := os.ReadFile(filepath.Join("pickle", "testdata", "refused", "system.bin"))
	if err != nil {
		t.Fatal(err)
	}
	model := base(t, "mt5")
	fsys := loadAdapter(t, "mt5/labels").fsys(t)
	fsys[pickleFile] = &fstest.MapFile{Data: hostile}
	delete(fsys, weightsFile)
	t.Chdir(t.TempDir())
	_, err = Read(fsys, model)
	wants(t, err, pickleFile, "posix.system")
	entries, err := os.ReadDir(".")
	if err != nil || len(entries) != 0 {
		t.Errorf("found %v, %v", entries, err)
	}
}
