package store_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"valence/adapters"
	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

func TestPublish(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		before := time.Now().UTC().Truncate(time.Microsecond)
		n := version("acme/reviews", "one")
		n.Private, n.Source = true, store.SourceHub
		a, v := publish(t, s, n)
		if v.Created.Before(before) || v.Created.After(time.Now()) || v.Created.Location() != time.UTC {
			t.Errorf("created %v", v.Created)
		}
		want := store.Version{
			Adapter: "acme/reviews", Number: 1, Digest: n.Digest, Base: base, Source: store.SourceHub, Origin: "one", Private: true,
			Created: v.Created, Bytes: 3020 + int64(len(n.Files["valence.json"])), Sites: 3, Parameters: 750, Sidecar: n.Files["valence.json"],
		}
		if !reflect.DeepEqual(v, want) {
			t.Errorf("%+v\nwant %+v", v, want)
		}
		if want := (store.Adapter{ID: "acme/reviews", Versions: []store.Version{want}, Sequence: 1}); !reflect.DeepEqual(a, want) {
			t.Errorf("%+v\nwant %+v", a, want)
		}
		files := must[map[string][]byte](t)(s.Files(t.Context(), "acme/reviews", 1))
		if !maps.EqualFunc(files, n.Files, bytes.Equal) {
			t.Errorf("files %v", slices.Sorted(maps.Keys(files)))
		}
		all, sequence, err := s.Adapters(t.Context())
		if err != nil || sequence != 1 || !reflect.DeepEqual(all, []store.Adapter{a}) {
			t.Errorf("%+v at %d, %v", all, sequence, err)
		}
	})
}

func TestFilesOfAnySize(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		n := version("a", "one")
		delete(n.Files, "valence.json")
		n.Files["README.md"] = []byte{}
		n.Files["exact.bin"] = bytes.Repeat([]byte("x"), 1<<20)
		n.Files["more.bin"] = bytes.Repeat([]byte("y"), 2<<20+1)
		_, v := publish(t, s, n)
		if v.Sidecar != nil || v.Bytes != 3020+3<<20+1 {
			t.Errorf("sidecar %q, %d bytes", v.Sidecar, v.Bytes)
		}
		files := must[map[string][]byte](t)(s.Files(t.Context(), "a", 1))
		if !maps.EqualFunc(files, n.Files, bytes.Equal) {
			t.Error("the files are not those that were published")
		}
	})
}

func TestPublishAgainGivesTheSameVersion(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		_, first := publish(t, s, version("a", "one"))
		again := version("a", "one")
		again.Origin, again.Private = "elsewhere", true
		a, v := publish(t, s, again)
		state(t, a, 0, 1)
		if !reflect.DeepEqual(v, first) || a.Sequence != 1 {
			t.Errorf("%+v\nwant %+v", v, first)
		}
		a, _ = publish(t, s, activated("a", "one"))
		state(t, a, 1, 1)
		a, _ = publish(t, s, activated("a", "one"))
		if state(t, a, 1, 1); a.Sequence != 2 {
			t.Errorf("sequence %d: to activate what is active is no change", a.Sequence)
		}
		a, v = publish(t, s, version("b", "one")) // the same files under another id
		if state(t, a, 0, 1); v.Number != 1 || count(t, s, "blobs") != 3 {
			t.Errorf("version %d, %d blobs", v.Number, count(t, s, "blobs"))
		}
	})
}

func TestPublishOnlyIfActive(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		none, one := 0, 1
		n := activated("a", "one")
		n.IfActive = &one
		_, _, err := s.Publish(t.Context(), n)
		expect(t, err, store.ErrConflict, "publish a", "version 0 is active, not 1")
		if got := count(t, s, "blobs"); got != 0 {
			t.Errorf("%d blobs of a refused version", got)
		}
		n.IfActive = &none
		publish(t, s, n)
		n = activated("a", "two")
		n.IfActive = &one
		a, _ := publish(t, s, n)
		state(t, a, 2, 1, 2)
		n = activated("a", "one")
		n.IfActive = &one
		_, _, err = s.Publish(t.Context(), n)
		expect(t, err, store.ErrConflict)
	})
}

func TestPublishRefuses(t *testing.T) {
	cases := map[string]struct {
		change func(*store.NewVersion)
		kind   error
		says   string
	}{
		"id":               {func(v *store.NewVersion) { v.Adapter = "../a" }, adapters.ErrID, ".."},
		"revision":         {func(v *store.NewVersion) { v.Adapter = "a@v1" }, adapters.ErrID, "number"},
		"base id":          {func(v *store.NewVersion) { v.Adapter = "base" }, adapters.ErrID, "base model"},
		"digest":           {func(v *store.NewVersion) { v.Digest = "sha256:12" }, store.ErrInvalid, "digest"},
		"upper digest":     {func(v *store.NewVersion) { v.Digest = "sha256:" + strings.Repeat("AB", 32) }, store.ErrInvalid, "lower case"},
		"base":             {func(v *store.NewVersion) { v.Base = "" }, store.ErrInvalid, "base"},
		"source":           {func(v *store.NewVersion) { v.Source = "mail" }, store.ErrInvalid, "upload"},
		"NUL in origin":    {func(v *store.NewVersion) { v.Origin = "a\x00" }, store.ErrInvalid, "origin"},
		"origin not UTF-8": {func(v *store.NewVersion) { v.Origin = "\xff" }, store.ErrInvalid, "origin"},
		"long origin":      {func(v *store.NewVersion) { v.Origin = strings.Repeat("o", 1025) }, store.ErrInvalid, "1025"},
		"sites":            {func(v *store.NewVersion) { v.Sites = -1 }, store.ErrInvalid, "sites"},
		"no files":         {func(v *store.NewVersion) { v.Files = nil }, store.ErrInvalid, "0 files"},
		"file in a folder": {func(v *store.NewVersion) { v.Files["a/b.c"] = nil }, store.ErrInvalid, "a/b.c"},
		"hidden file":      {func(v *store.NewVersion) { v.Files[".profile"] = nil }, store.ErrInvalid, ".profile"},
		"folder's name":    {func(v *store.NewVersion) { v.Files["v1"] = nil }, store.ErrInvalid, "v1"},
		"empty sidecar":    {func(v *store.NewVersion) { v.Files["valence.json"] = nil }, store.ErrInvalid, "valence.json is empty"},
		"long sidecar":     {func(v *store.NewVersion) { v.Files["valence.json"] = make([]byte, 1<<20+1) }, store.ErrInvalid, "1048576"},
	}
	s := storetest.Open(t, store.Options{Dir: t.TempDir()})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := version("a", "one")
			c.change(&v)
			_, _, err := s.Publish(t.Context(), v)
			expect(t, err, c.kind, c.says)
		})
	}
	if n := count(t, s, "versions") + count(t, s, "events") + count(t, s, "blobs"); n != 0 {
		t.Errorf("%d rows of refused versions", n)
	}
}

func TestDamagedFileIsFoundAndRepaired(t *testing.T) {
	damages := map[string]string{
		"other bytes": "UPDATE blob_chunks SET data = $2 WHERE blob = (SELECT id FROM blobs WHERE digest = $1)",
		"lost chunk":  "DELETE FROM blob_chunks WHERE $2 IS NOT NULL AND blob = (SELECT id FROM blobs WHERE digest = $1)",
	}
	each(t, func(t *testing.T, s *store.Store) {
		n := version("a", "one")
		publish(t, s, n)
		publish(t, s, version("b", "two"))
		for name, damage := range damages {
			if name == "lost chunk" && s.Dialect() == store.PostgreSQL {
				damage = strings.ReplaceAll(damage, "$2", "CAST($2 AS BYTEA)")
			}
			sql(t, s, damage, digest(string(n.Files["adapter_config.json"])), []byte(`{"peft_type": "IA4"}`))
			for _, id := range []string{"a", "b"} { // both have this file
				_, err := s.Files(t.Context(), id, 1)
				expect(t, err, store.ErrCorrupt, "version 1 of "+id, "adapter_config.json")
			}
			if a, _ := publish(t, s, n); a.Sequence != 1 {
				t.Errorf("%s: a repair is no change", name)
			}
			for _, id := range []string{"a", "b"} {
				if _, err := s.Files(t.Context(), id, 1); err != nil {
					t.Errorf("%s: not repaired: %v", name, err)
				}
			}
		}
	})
}

func TestChangeTogetherWithTablesOfOthers(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		sql(t, s, "CREATE TABLE others (id BIGINT, state TEXT)")
		work := func(fail error) error {
			return s.Change(t.Context(), func(tx *store.Tx) error {
				if _, err := tx.SQL().ExecContext(t.Context(), "INSERT INTO others (id, state) VALUES ($1, $2)", 7, "succeeded"); err != nil {
					return err
				}
				if _, _, err := tx.Publish(t.Context(), version("a", "one")); err != nil {
					return err
				}
				return fail
			})
		}
		failed := errors.New("the job failed")
		expect(t, work(failed), failed)
		if n := count(t, s, "others") + count(t, s, "versions") + count(t, s, "blobs"); n != 0 {
			t.Errorf("%d rows of what has not happened", n)
		}
		if err := work(nil); err != nil {
			t.Fatal(err)
		}
		if count(t, s, "others") != 1 || count(t, s, "versions") != 1 {
			t.Error("the change is not there")
		}
	})
}

func TestEndedContext(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		err := s.Change(ctx, func(tx *store.Tx) error {
			if _, _, err := tx.Publish(ctx, version("a", "one")); err != nil {
				return err
			}
			cancel()
			return nil
		})
		expect(t, err, context.Canceled)
		_, err = s.Adapter(t.Context(), "a")
		expect(t, err, store.ErrNotFound)
		publish(t, s, version("a", "one")) // the connection is sound
	})
}
