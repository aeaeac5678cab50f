// Package storetest runs tests on stores of both dialects and checks what a store keeps.
package storetest

import (
	"testing"

	"valence/adapters/store"
	"valence/adapters/store/pgtest"
)

// Each runs a test on an empty SQLite and an empty PostgreSQL. With the options it opens
// as many stores of the one database as it needs.
func Each(t *testing.T, test func(t *testing.T, o store.Options)) {
	t.Run("SQLite", func(t *testing.T) { test(t, store.Options{Dir: t.TempDir()}) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, store.Options{URL: pgtest.Database(t)}) })
}

// Open opens a store until the test ends. What it keeps is checked then.
func Open(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		Check(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// rules hold in every store at rest. Each query gives what breaks one.
var rules = []struct{ name, query string }{
	{"a version without files", `
		SELECT v.adapter || ' v' || CAST(v.number AS TEXT) FROM versions v
		WHERE NOT EXISTS (SELECT 1 FROM version_files f WHERE f.adapter = v.adapter AND f.number = v.number)`},
	{"a blob that nothing refers to", `
		SELECT b.digest FROM blobs b WHERE b.digest IS NOT NULL
			AND NOT EXISTS (SELECT 1 FROM version_files f WHERE f.blob = b.id)
			AND NOT EXISTS (SELECT 1 FROM blob_holds h WHERE h.blob = b.id)`},
	{"a reference to a blob that is not whole", `
		SELECT b.id FROM blobs b WHERE b.digest IS NULL AND (
			EXISTS (SELECT 1 FROM version_files f WHERE f.blob = b.id) OR EXISTS (SELECT 1 FROM blob_holds h WHERE h.blob = b.id))`},
	{"a blob of another size than its chunks", `
		SELECT b.id FROM blobs b WHERE b.bytes <> (SELECT COALESCE(SUM(LENGTH(c.data)), 0) FROM blob_chunks c WHERE c.blob = b.id)`},
	{"a gap in the events", `
		SELECT CAST(e.sequence AS TEXT) FROM events e
		WHERE e.sequence > 1 AND NOT EXISTS (SELECT 1 FROM events p WHERE p.sequence = e.sequence - 1)`},
	{"a clock that is not the last event", `
		SELECT CAST(sequence AS TEXT) FROM clock WHERE sequence <> (SELECT COALESCE(MAX(sequence), 0) FROM events)`},
	{"an adapter's sequence that is not its last event", `
		SELECT a.id FROM adapters a WHERE a.sequence <> (SELECT COALESCE(MAX(e.sequence), 0) FROM events e WHERE e.adapter = a.id)`},
	{"a version without its number", `
		SELECT v.adapter FROM versions v
		WHERE NOT EXISTS (SELECT 1 FROM numbers n WHERE n.adapter = v.adapter AND n.number = v.number AND n.digest = v.digest)`},
}

// Check looks for what must never be in a store that nobody changes at the moment.
func Check(t testing.TB, s *store.Store) {
	t.Helper()
	for _, rule := range rules {
		for _, found := range column(t, s, rule.query) {
			t.Errorf("%s: %s: %s", s.Dialect(), rule.name, found)
		}
	}
	if s.Dialect() != store.SQLite {
		return
	}
	if found := column(t, s, "PRAGMA integrity_check"); len(found) != 1 || found[0] != "ok" {
		t.Errorf("integrity_check: %q", found)
	}
	if found := column(t, s, `SELECT "table" FROM pragma_foreign_key_check`); len(found) != 0 {
		t.Errorf("foreign_key_check: %q", found)
	}
}

// column gives the first column of a result.
func column(t testing.TB, s *store.Store, query string) (out []string) {
	t.Helper()
	rows, err := s.DB().Query(query) // not in the test's context, which has ended at its cleanup
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var found string
		if err := rows.Scan(&found); err != nil {
			t.Fatal(err)
		}
		out = append(out, found)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
