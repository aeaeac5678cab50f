package datasets_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"valence/adapters/datasets"
	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// TestFull: a database without room refuses a file and keeps nothing of it.
func TestFull(t *testing.T) {
	state := storetest.Open(t, store.Options{Dir: t.TempDir()})
	f := fixture{state: state}
	f.Store = must[*datasets.Store](t)(datasets.New(t.Context(), state, datasets.Options{}))
	var pages int
	if err := state.DB().QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	if _, err := state.DB().Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages+64)); err != nil {
		t.Fatal(err)
	}
	var large strings.Builder
	large.WriteString("text,label\n")
	for i := range 200_000 {
		fmt.Fprintf(&large, "text number %d,x\n", i)
	}
	_, err := f.Put(t.Context(), "a.csv", "", strings.NewReader(large.String()), datasets.Mapping{})
	if !errors.Is(err, store.ErrFull) {
		t.Errorf("%v", err)
	}
	f.empty(t)
	f.put(t, "small.csv", stars)
}

// TestUploadsWaitInTheDataFolder: a file that comes in fills the disk of the data folder
// and no other, and what a killed process left there is gone at the next start.
func TestUploadsWaitInTheDataFolder(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "none")) // where nothing can be written
	state := storetest.Open(t, store.Options{Dir: dir})
	uploads := filepath.Join(dir, "uploads")
	if err := os.MkdirAll(uploads, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dataset-1", "dataset-of-somebody", "mine.csv"} {
		if err := os.WriteFile(filepath.Join(uploads, name), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := must[*datasets.Store](t)(datasets.New(t.Context(), state, datasets.Options{}))
	left := must[[]os.DirEntry](t)(os.ReadDir(uploads))
	if len(left) != 1 || left[0].Name() != "mine.csv" {
		t.Errorf("%v are left", left)
	}
	must[datasets.Dataset](t)(s.Put(t.Context(), "a.csv", "", strings.NewReader(file), stars))
	if info := must[os.FileInfo](t)(os.Stat(uploads)); info.Mode().Perm() != 0o700 {
		t.Errorf("others may look into it: %v", info.Mode())
	}
}
