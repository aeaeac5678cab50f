package store_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"valence/adapters"
	"valence/adapters/peft"
	"valence/adapters/store"
	"valence/adapters/store/storetest"
	"valence/runtime/mt5/spec"
)

// fill makes a store with something of everything.
func fill(t testing.TB, s *store.Store) {
	t.Helper()
	for _, name := range []string{"one", "two", "three"} {
		publish(t, s, activated("acme/reviews", name))
	}
	change := must[store.Adapter](t)
	change(s.Rollback(t.Context(), "acme/reviews"))
	change(s.SetPinned(t.Context(), "acme/reviews", true))
	hub := version("acme", "one") // its folder is also that of the adapters of acme
	hub.Source, hub.Private, hub.Origin = store.SourceHub, true, "acme/reviews@0123"
	publish(t, s, hub)
	publish(t, s, activated("acme/v1", "four"))
	publish(t, s, version("gone", "five"))
	if err := s.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	publish(t, s, version("empty", "six"))
	change(s.DeleteVersion(t.Context(), "empty", 1))
}

// content is what an export keeps of a store: all but sequences.
func content(t testing.TB, s *store.Store) []store.Adapter {
	t.Helper()
	all, _, err := s.Adapters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i].Sequence = 0
		for _, v := range all[i].Versions {
			if _, err := s.Files(t.Context(), v.Adapter, v.Number); err != nil {
				t.Error(err)
			}
		}
	}
	return all
}

func export(t testing.TB, s *store.Store) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "export")
	if err := s.Export(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func tree(t testing.TB, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			path, err = filepath.Rel(dir, path)
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestExportAndImport(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		fill(t, s)
		dir := filepath.Join(t.TempDir(), "export")
		var told []string
		if err := s.Export(t.Context(), dir, func(done, total int) { told = append(told, fmt.Sprint(done, "/", total)) }); err != nil {
			t.Fatal(err)
		}
		if want := []string{"1/5", "2/5", "3/5", "4/5", "5/5"}; !slices.Equal(told, want) {
			t.Errorf("progress %q", told)
		}
		var want []string
		for _, version := range []string{"acme/reviews/v1", "acme/reviews/v2", "acme/reviews/v3", "acme/v1", "acme/v1/v1"} {
			for _, name := range []string{"adapter_config.json", "adapter_model.safetensors", "valence.json"} {
				want = append(want, filepath.Join("adapters", version, name))
			}
		}
		want = append(want, "store.json")
		slices.Sort(want)
		if got := tree(t, dir); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Errorf("the export has %q", got)
		}
		// Into the other dialect too: an export is how one moves from one to the other.
		storetest.Each(t, func(t *testing.T, o store.Options) {
			to := storetest.Open(t, o)
			report, err := to.Import(t.Context(), dir, nil)
			if err != nil || report != (store.ImportReport{Adapters: 4, Versions: 5}) {
				t.Fatalf("%+v, %v", report, err)
			}
			if got, want := content(t, to), content(t, s); !reflect.DeepEqual(got, want) {
				t.Errorf("%+v\nwant %+v", got, want)
			}
			state(t, must[store.Adapter](t)(to.Rollback(t.Context(), "acme/reviews")), 1, 1, 2, 3) // its history came along
			for id, next := range map[string]int{"gone": 2, "empty": 2, "acme/reviews": 4} {
				if _, v := publish(t, to, version(id, "new")); v.Number != next {
					t.Errorf("the next version of %s is %d", id, v.Number)
				}
			}
		})
		report, err := s.Import(t.Context(), dir, nil)
		if err != nil || report != (store.ImportReport{Present: 5}) {
			t.Errorf("again: %+v, %v", report, err)
		}
	})
}

// TestImportRestoresWhatWasDeleted: what is here keeps its state, what is gone comes back
// under its own numbers.
func TestImportRestoresWhatWasDeleted(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		fill(t, s)
		dir, change := export(t, s), must[store.Adapter](t)
		change(s.Activate(t.Context(), "acme/reviews", 3))
		change(s.SetPinned(t.Context(), "acme/reviews", false))
		change(s.DeleteVersion(t.Context(), "acme/reviews", 1))
		if err := s.Delete(t.Context(), "acme/v1"); err != nil {
			t.Fatal(err)
		}
		publish(t, s, version("acme/reviews", "later"))
		report, err := s.Import(t.Context(), dir, nil)
		if err != nil || report != (store.ImportReport{Adapters: 1, Versions: 2, Present: 3}) {
			t.Errorf("%+v, %v", report, err)
		}
		a := change(s.Adapter(t.Context(), "acme/reviews"))
		if state(t, a, 3, 1, 2, 3, 4); a.Pinned {
			t.Error("the import has pinned it")
		}
		state(t, change(s.Adapter(t.Context(), "acme/v1")), 1, 1)
	})
}

func TestImportConflicts(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		publish(t, s, version("a", "one"))
		publish(t, s, version("b", "one"))
		publish(t, s, version("b", "two"))
		dir := export(t, s)
		for name, c := range map[string]struct {
			prepare func(s *store.Store)
			says    string
		}{
			"another version": {func(s *store.Store) { publish(t, s, version("b", "other")) }, "b: store: conflict: version 1"},
			"deleted version": {func(s *store.Store) {
				publish(t, s, version("b", "other"))
				if err := s.Delete(t.Context(), "b"); err != nil {
					t.Fatal(err)
				}
			}, "b: store: conflict: version 1 is, or was"},
			"another number": {func(s *store.Store) {
				publish(t, s, version("b", "one"))
				must[store.Adapter](t)(s.DeleteVersion(t.Context(), "b", 1))
				publish(t, s, version("b", "two"))
				publish(t, s, version("b", "one"))
			}, "b: store: conflict: version 1 of the export is version 3 here"},
		} {
			t.Run(name, func(t *testing.T) {
				to := storetest.Open(t, store.Options{Dir: t.TempDir()})
				c.prepare(to)
				_, before, _ := to.Adapters(t.Context())
				_, err := to.Import(t.Context(), dir, nil)
				expect(t, err, store.ErrConflict, dir, c.says)
				if _, after, _ := to.Adapters(t.Context()); after != before {
					t.Errorf("%d changes of an import that failed", after-before)
				}
				if _, err := to.Adapter(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("half of it is here: %v", err)
				}
			})
		}
	})
}

func TestImportRefuses(t *testing.T) {
	from := storetest.Open(t, store.Options{Dir: t.TempDir()})
	publish(t, from, activated("acme/reviews", "one"))
	config := filepath.Join("adapters", "acme", "reviews", "v1", "adapter_config.json")
	edit := func(old, new string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, "store.json")
			text := string(must[[]byte](t)(os.ReadFile(path)))
			if !strings.Contains(text, old) {
				t.Fatalf("%q is not in %s", old, text)
			}
			write(t, path, strings.ReplaceAll(text, old, new))
		}
	}
	one := version("acme/reviews", "one")
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		kind   error
		says   string
	}{
		"no folder":      {func(t *testing.T, dir string) { remove(t, dir) }, store.ErrInvalid, "no such file"},
		"no store.json":  {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "store.json")) }, store.ErrInvalid, "store.json"},
		"cut":            {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "store.json"), `{"format": 1, "adap`) }, store.ErrInvalid, "store.json"},
		"format":         {edit(`"format": 1`, `"format": 2`), store.ErrInvalid, "only 1"},
		"unknown field":  {edit(`"active"`, `"activ"`), store.ErrInvalid, "activ"},
		"id":             {edit("acme/reviews", "../../etc"), adapters.ErrID, ".."},
		"file's name":    {edit("adapter_config.json", "../secret.json"), store.ErrInvalid, "../secret.json"},
		"digest":         {edit(one.Digest, "sha256:12"), store.ErrInvalid, "digest"},
		"active":         {edit(`"active": 1`, `"active": 2`), store.ErrInvalid, "no version 2"},
		"number":         {edit(`"number": 1`, `"number": 0`), store.ErrInvalid, "0 is below 1"},
		"missing file":   {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, config)) }, store.ErrInvalid, "adapter_config.json"},
		"changed file":   {func(t *testing.T, dir string) { write(t, filepath.Join(dir, config), `{"peft_type": "IA4"}`) }, store.ErrCorrupt, "adapter_config.json"},
		"longer file":    {func(t *testing.T, dir string) { write(t, filepath.Join(dir, config), `{"peft_type": "IA3"} `) }, store.ErrInvalid, "20 bytes"},
		"link elsewhere": {func(t *testing.T, dir string) { link(t, filepath.Join(dir, config), one.Files["adapter_config.json"]) }, store.ErrInvalid, "adapter_config.json"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := export(t, from)
			c.damage(t, dir)
			to := storetest.Open(t, store.Options{Dir: t.TempDir()})
			_, err := to.Import(t.Context(), dir, nil)
			expect(t, err, c.kind, dir, c.says)
			if all, sequence, err := to.Adapters(t.Context()); len(all) != 0 || sequence != 0 || err != nil {
				t.Errorf("%v at %d, %v", all, sequence, err)
			}
		})
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// link puts the same content where only a link out of the folder leads to it.
func link(t testing.TB, path string, content []byte) {
	t.Helper()
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, outside, string(content))
	remove(t, path)
	if err := os.Symlink(outside, path); err != nil {
		t.Fatal(err)
	}
}

func TestExportRefuses(t *testing.T) {
	s := storetest.Open(t, store.Options{Dir: t.TempDir()})
	publish(t, s, version("a", "one"))
	dir := t.TempDir()
	expect(t, s.Export(t.Context(), dir, nil), fs.ErrExist, dir)
	sql(t, s, "UPDATE blob_chunks SET data = $1", []byte("damaged"))
	expect(t, s.Export(t.Context(), filepath.Join(dir, "new"), nil), store.ErrCorrupt, "version 1 of a", "adapter_config.json")
	if left := must[[]os.DirEntry](t)(os.ReadDir(dir)); len(left) != 0 {
		t.Errorf("a failed export leaves %v", left)
	}
	publish(t, s, version("a", "one"))
}

// TestExportedFoldersAreAdapters reads what PEFT wrote back out of an export, bit by bit.
func TestExportedFoldersAreAdapters(t *testing.T) {
	const fixtures = "../peft/testdata/mt5"
	model := must[*spec.Config](t)(spec.ParseConfig(must[[]byte](t)(os.ReadFile(filepath.Join(fixtures, "config.json")))))
	each(t, func(t *testing.T, s *store.Store) {
		digests := map[string]string{}
		for _, name := range []string{"default", "labels", "list", "regex"} {
			f := must[*peft.Folder](t)(peft.ReadDir(filepath.Join(fixtures, name), model))
			files := must[map[string][]byte](t)(f.Encode())
			publish(t, s, store.NewVersion{Adapter: "acme/" + name, Digest: f.Digest, Base: base, Source: store.SourceImport, Files: files})
			digests[name] = f.Digest
		}
		dir := export(t, s)
		for name, want := range digests {
			f, err := peft.ReadDir(filepath.Join(dir, "adapters", "acme", name, "v1"), model)
			if err != nil || f.Digest != want {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
