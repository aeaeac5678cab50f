package checkpoint

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"valence/runtime/stamp"
)

// remembering is a folder with a checkpoint that has rested, and a function that gives its
// digest as a new process would, with the stamps in another folder.
func remembering(t *testing.T) (weights, stamps string, digest func() string) {
	t.Helper()
	dir, stamps := t.TempDir(), filepath.Join(t.TempDir(), "digests")
	if err := os.CopyFS(dir, os.DirFS("testdata/mt5")); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, singleFile), stamps, func() string {
		c, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.RememberDigests(stamp.Sums{Folder: stamps, Failed: func(err error) { t.Error(err) }})
		return c.Digest()
	}
}

// rest waits until the times of files written now have passed.
func rest() { time.Sleep(stamp.Settled + 100*time.Millisecond) }

func TestDigestsAreRemembered(t *testing.T) {
	weights, folder, digest := remembering(t)
	want := readExpected(t)["mt5"].Digest
	if got := digest(); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	if _, err := os.Stat(folder); err == nil {
		t.Error("a file that may be written to again within a tick of its clock is remembered")
	}
	rest()
	digest()
	forge(t, folder)
	if got := digest(); got == want {
		t.Error("the file is read again")
	}
	flipLast(t, weights)
	changed := digest()
	flipLast(t, weights)
	if got := digest(); changed == want || got != want {
		t.Errorf("changed %s, back %s; the first was %s", changed, got, want)
	}
}

// forge changes the sum of the only stamp, to see whether it is used.
func forge(t *testing.T, folder string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v, %v", paths, err)
	}
	text, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	forged := regexp.MustCompile(`"SHA256":"[0-9a-f]{64}"`).ReplaceAll(text, []byte(`"SHA256":"`+strings.Repeat("0", 64)+`"`))
	if err := os.WriteFile(paths[0], forged, 0o644); err != nil || string(forged) == string(text) {
		t.Fatal(err)
	}
}

// flipLast changes the last byte of a file in place, or changes it back, and leaves its size
// and the time of its last modification.
func flipLast(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// A broken stamp, or a folder that cannot be written, is told of and costs no digest.
func TestBrokenStamps(t *testing.T) {
	want := readExpected(t)["mt5"].Digest
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Open("testdata/mt5")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var told []error
	c.RememberDigests(stamp.Sums{Folder: filepath.Join(file, "under"), Failed: func(err error) { told = append(told, err) }})
	if got := c.Digest(); got != want || len(told) == 0 {
		t.Errorf("digest %s, told of %v", got, told)
	}
}
