package peft

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var keep = flag.String("keep", "", "where TestWriteFixtures leaves what it writes, for testdata/check_write.py; it must not exist")

// names lists what is in a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteFixtures(t *testing.T) {
	out := *keep
	if out == "" {
		out = filepath.Join(t.TempDir(), "out")
	}
	var expected map[string]struct{ Digest string }
	decodeFixture(t, "expected.json", &expected)
	for name, want := range expected {
		parent, _ := filepath.Split(name)
		if err := os.MkdirAll(filepath.Join(out, parent), 0o755); err != nil {
			t.Fatal(err)
		}
		model := base(t, strings.Trim(parent, "/"))
		f, err := ReadDir(filepath.Join("testdata", name), model)
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(filepath.Join(out, name), f, []byte("# "+name+"\n")); err != nil {
			t.Fatal(err)
		}
		back, err := ReadDir(filepath.Join(out, name), model)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, f) || back.Digest != want.Digest {
			t.Errorf("%s: %+v came back as %+v", name, f, back)
		}
	}
}

func TestWrite(t *testing.T) {
	f, err := ReadDir("testdata/mt5/labels", base(t, "mt5"))
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "v1")
	if err := Write(dir+"/", f, []byte("# card\n")); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{cardFile, configFile, weightsFile, sidecarFile}) {
		t.Errorf("found %q", got)
	}
	card, err := os.ReadFile(filepath.Join(dir, cardFile))
	if err != nil || string(card) != "# card\n" {
		t.Errorf("card %q, %v", card, err)
	}
	f.Sidecar = nil
	f.redigest()
	if err := Write(filepath.Join(parent, "v2"), f, nil); err != nil {
		t.Fatal(err)
	}
	if got := names(t, filepath.Join(parent, "v2")); !slices.Equal(got, []string{configFile, weightsFile}) {
		t.Errorf("found %q", got)
	}
	if got := names(t, parent); !slices.Equal(got, []string{"v1", "v2"}) {
		t.Errorf("beside them: %q", got)
	}
}

func TestWriteRelative(t *testing.T) {
	model := base(t, "mt5")
	f, err := ReadDir("testdata/mt5/default", model)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := Write("v1", f, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadDir("v1", model); err != nil {
		t.Error(err)
	}
}

func TestWriteRefuses(t *testing.T) {
	f, err := ReadDir("testdata/mt5/default", base(t, "mt5"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, prepare := range map[string]func(path string) error{
		"file":    func(path string) error { return os.WriteFile(path, []byte("old"), 0o600) },
		"empty":   func(path string) error { return os.Mkdir(path, 0o700) },
		"full":    func(path string) error { return os.MkdirAll(filepath.Join(path, "old"), 0o700) },
		"link":    func(path string) error { return os.Symlink(dir, path) },
		"nowhere": func(path string) error { return os.Symlink("absent", path) },
	} {
		path := filepath.Join(dir, name)
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		if err := Write(path, f, nil); !errors.Is(err, fs.ErrExist) || errors.Is(err, ErrAdapter) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Write(filepath.Join(dir, "absent", "v1"), f, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a parent: %v", err)
	}
	f.Digest = ""
	wants(t, Write(filepath.Join(dir, "stale"), f, nil), "digest")
	if got := names(t, dir); !slices.Equal(got, []string{"empty", "file", "full", "link", "nowhere"}) {
		t.Errorf("left behind: %q", got)
	}
}

// A name that cannot be written comes after files that can.
func TestWriteFolderCleansUp(t *testing.T) {
	parent := t.TempDir()
	err := writeFolder(filepath.Join(parent, "v1"), map[string][]byte{"a": nil, "b/c": nil})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if got := names(t, parent); got != nil {
		t.Errorf("left behind: %q", got)
	}
}
