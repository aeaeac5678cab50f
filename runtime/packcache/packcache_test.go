package packcache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"valence/runtime/newfile"
	"valence/runtime/safetensors"
)

const layout = "1-1-64x64x2-2"

func base(n int) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte{byte(n)})) }

var weights = []Weight{{"encoder.a.weight", []byte("panels of a")}, {"decoder.b.weight", []byte("panels of b, and more")}}

func save(t *testing.T, c Cache, n int) {
	t.Helper()
	if err := c.Save(t.Context(), base(n), layout, weights); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsKeptComesBack(t *testing.T) {
	c := Cache{Folder: filepath.Join(t.TempDir(), "packed")}
	if _, err := c.Open(base(1), layout); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing was kept: %v", err)
	}
	save(t, c, 1)
	save(t, c, 1) // once more, in its place
	f, err := c.Open(base(1), layout)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range weights {
		if data, ok := f.Packed(w.Name); !ok || string(data) != string(w.Data) {
			t.Errorf("%s: %q, %v", w.Name, data, ok)
		}
	}
	if _, ok := f.Packed("another"); ok {
		t.Error("there is a weight that was not kept")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for _, other := range [][2]string{{base(2), layout}, {base(1), "1-3-64x64x2-1-levels"}} {
		if _, err := c.Open(other[0], other[1]); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: %v", other, err)
		}
	}
}

func TestDamageIsTold(t *testing.T) {
	for name, damage := range map[string]func(file, sum string) error{
		"a byte": func(file, _ string) error {
			data, err := os.ReadFile(file)
			data[len(data)-1] ^= 1
			return errors.Join(err, os.WriteFile(file, data, 0o600))
		},
		"the sum": func(_, sum string) error { return os.WriteFile(sum, []byte("00"), 0o600) },
		"another base's file": func(file, sum string) error {
			c := Cache{Folder: filepath.Dir(file)}
			if err := c.Save(context.Background(), base(7), layout, weights); err != nil {
				return err
			}
			path, err := c.path(base(7), layout)
			return errors.Join(err, os.Rename(path+filesEnd, file), os.Rename(path+sumsEnd, sum))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := Cache{Folder: t.TempDir()}
			save(t, c, 1)
			path, err := c.path(base(1), layout)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(path+filesEnd, path+sumsEnd); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Open(base(1), layout); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v", err)
			}
			save(t, c, 1)
			f, err := c.Open(base(1), layout)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNothingHalfIsKept(t *testing.T) {
	c := Cache{Folder: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Save(ctx, base(1), layout, weights); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := c.Save(t.Context(), base(1), layout, []Weight{weights[0], weights[0]}); !errors.Is(err, safetensors.ErrFormat) {
		t.Errorf("a name twice: %v", err)
	}
	for _, bad := range [][2]string{{"base", layout}, {base(1), ""}, {base(1), "../x"}} {
		if err := c.Save(t.Context(), bad[0], bad[1], weights); err == nil {
			t.Errorf("%v is kept", bad)
		}
	}
	if left, err := os.ReadDir(c.Folder); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestOldFilesAreRemoved(t *testing.T) {
	c := Cache{Folder: t.TempDir()}
	killed, running := filepath.Join(c.Folder, newfile.Unfinished+"1"), filepath.Join(c.Folder, newfile.Unfinished+"2")
	for i, path := range []string{killed, running} {
		at := time.Now().Add(time.Duration(i-1) * 2 * abandoned)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range most + 2 {
		save(t, c, n)
		path, err := c.path(base(n), layout)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(n-10) * time.Minute)
		if err := os.Chtimes(path+sumsEnd, at, at); err != nil {
			t.Fatal(err)
		}
		if n == most-1 { // the first is used, and lives
			f, err := c.Open(base(0), layout)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	for n, want := range []bool{true, false, false, true, true} {
		f, err := c.Open(base(n), layout)
		if (err == nil) != want {
			t.Errorf("base %d: %v", n, err)
		}
		if err == nil {
			f.Close()
		}
	}
	if _, err := os.Stat(killed); err == nil {
		t.Error("what a killed process left is still there")
	}
	if _, err := os.Stat(running); err != nil {
		t.Errorf("what is being written is gone: %v", err)
	}
}
