package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// TestManyOpenAtOnce: one makes the schema, the others wait, and what is there stays.
func TestManyOpenAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, o store.Options) {
		for round := range 2 { // from nothing, then on what is there
			var wg sync.WaitGroup
			stores := make([]*store.Store, 6)
			for i := range stores {
				wg.Go(func() {
					s, err := store.Open(t.Context(), o)
					if err != nil {
						t.Errorf("round %d: %v", round, err)
						return
					}
					stores[i] = s
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			publish(t, stores[round], version("a", "one"))
			for _, s := range stores {
				a, err := s.Adapter(t.Context(), "a")
				if err != nil {
					t.Fatal(err)
				}
				state(t, a, 0, 1)
				storetest.Check(t, s)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func TestStateSurvivesClosing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, o store.Options) {
		s := must[*store.Store](t)(store.Open(t.Context(), o))
		want, _ := publish(t, s, activated("acme/reviews", "one"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		got := must[store.Adapter](t)(storetest.Open(t, o).Adapter(t.Context(), "acme/reviews"))
		if state(t, got, 1, 1); got.Sequence != want.Sequence || !got.Versions[0].Created.Equal(want.Versions[0].Created) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	})
}

func TestNewerSchemaIsRefused(t *testing.T) {
	storetest.Each(t, func(t *testing.T, o store.Options) {
		s := storetest.Open(t, o)
		sql(t, s, "INSERT INTO store_schema (version_id, is_applied) VALUES (99999, TRUE)")
		_, err := store.Open(t.Context(), o)
		expect(t, err, store.ErrSchema, "99999", "newer program")
	})
}

func TestOpenRefuses(t *testing.T) {
	notAFolder := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notAFolder, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	notADatabase := t.TempDir()
	if err := os.WriteFile(filepath.Join(notADatabase, "valence.db"), []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    store.Options
		kind error
		says string
	}{
		"no folder":      {store.Options{}, store.ErrInvalid, "Options.Dir"},
		"other database": {store.Options{URL: "mysql://localhost/a"}, store.ErrInvalid, "postgres://"},
		"broken URL":     {store.Options{URL: "postgres://user:secret@localhost:port/a"}, store.ErrInvalid, "Options.URL"},
		"a file":         {store.Options{Dir: notAFolder}, syscall.ENOTDIR, "data folder"},
		"no database":    {store.Options{Dir: notADatabase}, store.ErrCorrupt, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := store.Open(t.Context(), c.o)
			expect(t, err, c.kind, c.says)
			if s != nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, %v", s, err)
			}
		})
	}
}

func TestFilesAreTheirOwnersOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder?of#100%", "data")
	s := storetest.Open(t, store.Options{Dir: dir})
	publish(t, s, version("a", "one"))
	for path, want := range map[string]os.FileMode{
		dir: 0o700, "valence.db": 0o600, "valence.db-wal": 0o600, "valence.db-shm": 0o600, "valence.lock": 0o600,
	} {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

// TestSettings: what durability stands on.
func TestSettings(t *testing.T) {
	s := storetest.Open(t, store.Options{Dir: t.TempDir()})
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		var got string
		if err := s.DB().QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v", pragma, got, err)
		}
	}
}

func TestNamesOfDialects(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		if !strings.HasSuffix(t.Name(), s.Dialect().String()) {
			t.Errorf("the dialect is %s", s.Dialect())
		}
	})
}
