package store_test

import (
	"slices"
	"testing"

	"valence/adapters"
	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

func TestActivateAndRollBack(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for _, name := range []string{"one", "two", "three"} {
			publish(t, s, activated("a", name))
		}
		change := must[store.Adapter](t)
		state(t, change(s.Activate(t.Context(), "a", 1)), 1, 1, 2, 3)
		if a := change(s.Activate(t.Context(), "a", 1)); a.Sequence != 7 {
			t.Errorf("sequence %d: to activate what is active is no change", a.Sequence)
		}
		for _, active := range []int{3, 2, 1} { // back through what was active, not to and fro
			state(t, change(s.Rollback(t.Context(), "a")), active, 1, 2, 3)
		}
		_, err := s.Rollback(t.Context(), "a")
		expect(t, err, store.ErrNoEarlier, "roll back a")
		state(t, change(s.Activate(t.Context(), "a", 3)), 3, 1, 2, 3)
		state(t, change(s.Rollback(t.Context(), "a")), 1, 1, 2, 3)

		events := must[[]store.Event](t)(s.Events(t.Context(), 6, 100))
		last := events[len(events)-1]
		want := []string{"activated", "rolled_back", "rolled_back", "rolled_back", "activated", "rolled_back"}
		if !slices.Equal(kinds(events), want) || last.Number != 1 || last.Adapter != "a" || last.Sequence != 12 {
			t.Errorf("%+v", events)
		}
	})
}

func TestRollBackSkipsWhatIsDeleted(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		change := must[store.Adapter](t)
		for _, name := range []string{"one", "two", "one", "three", "one"} {
			publish(t, s, activated("a", name))
		}
		change(s.DeleteVersion(t.Context(), "a", 3)) // between two activations of 1
		state(t, change(s.Rollback(t.Context(), "a")), 2, 1, 2)
		change(s.DeleteVersion(t.Context(), "a", 1))
		_, err := s.Rollback(t.Context(), "a")
		expect(t, err, store.ErrNoEarlier)
	})
}

func TestRollBackWithoutActive(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		publish(t, s, version("a", "one"))
		_, err := s.Rollback(t.Context(), "a")
		expect(t, err, store.ErrNoEarlier)
	})
}

func TestPin(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		publish(t, s, version("a", "one"))
		for _, pinned := range []bool{true, true, false, false} {
			if a := must[store.Adapter](t)(s.SetPinned(t.Context(), "a", pinned)); a.Pinned != pinned {
				t.Errorf("pinned: %v", a.Pinned)
			}
		}
		events := must[[]store.Event](t)(s.Events(t.Context(), 0, 100))
		if !slices.Equal(kinds(events), []string{"published", "pinned", "unpinned"}) {
			t.Errorf("%+v", events)
		}
	})
}

func TestDelete(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for _, name := range []string{"one", "two"} {
			publish(t, s, activated("a", name))
		}
		publish(t, s, version("b", "two"))
		_, err := s.DeleteVersion(t.Context(), "a", 2)
		expect(t, err, store.ErrActive, "version 2 of a")
		state(t, must[store.Adapter](t)(s.DeleteVersion(t.Context(), "a", 1)), 2, 2)
		if n := count(t, s, "blobs"); n != 3 {
			t.Errorf("%d blobs for the files of one version", n)
		}
		if err := s.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Files(t.Context(), "b", 1); err != nil {
			t.Errorf("the other adapter's files: %v", err)
		}
		expect(t, s.Delete(t.Context(), "a"), store.ErrNotFound)
		if err := s.Delete(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"adapters", "versions", "version_files", "blobs", "blob_chunks", "activations"} {
			if n := count(t, s, table); n != 0 {
				t.Errorf("%d rows of %s are left", n, table)
			}
		}
		// Numbers are never used again, not even for the same content.
		a, v := publish(t, s, version("a", "two"))
		if state(t, a, 0, 3); v.Number != 3 {
			t.Errorf("version %d", v.Number)
		}
	})
}

func TestAdapterWithoutVersionsStays(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		publish(t, s, version("a", "one"))
		must[store.Adapter](t)(s.SetPinned(t.Context(), "a", true))
		a := must[store.Adapter](t)(s.DeleteVersion(t.Context(), "a", 1))
		if state(t, a, 0); !a.Pinned {
			t.Error("its pin is gone")
		}
		a, _ = publish(t, s, activated("a", "two"))
		state(t, a, 2, 2)
	})
}

func TestWhatIsNotThere(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		publish(t, s, version("a", "one"))
		calls := map[string]func(id string, number int) error{
			"activate":       func(id string, n int) error { _, err := s.Activate(t.Context(), id, n); return err },
			"delete version": func(id string, n int) error { _, err := s.DeleteVersion(t.Context(), id, n); return err },
			"files":          func(id string, n int) error { _, err := s.Files(t.Context(), id, n); return err },
		}
		for name, call := range calls {
			expect(t, call("a", 2), store.ErrNotFound, "version 2 of a")
			expect(t, call("A", 1), store.ErrNotFound) // ids tell upper from lower case
			if err := call("a@v1", 1); err == nil {
				t.Errorf("%s takes an id with a revision", name)
			}
		}
		_, err := s.SetPinned(t.Context(), "b", true)
		expect(t, err, store.ErrNotFound, "pin b")
		_, err = s.Rollback(t.Context(), "b")
		expect(t, err, store.ErrNotFound)
		_, err = s.Adapter(t.Context(), "b")
		expect(t, err, store.ErrNotFound)
		_, err = s.Adapter(t.Context(), "b'; DROP TABLE versions; --")
		expect(t, err, adapters.ErrID)
	})
}

func TestAdaptersAreSorted(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ids := []string{"B", "Z.z", "_a", "a", "a/b", "ab", "b"} // not in the order of most languages
		for _, i := range []int{3, 1, 6, 0, 5, 2, 4} {
			publish(t, s, version(ids[i], "one"))
		}
		all, _, err := s.Adapters(t.Context())
		var got []string
		for _, a := range all {
			got = append(got, a.ID)
		}
		if err != nil || !slices.Equal(got, ids) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestClosed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, o store.Options) {
		s := must[*store.Store](t)(store.Open(t.Context(), o))
		watched := make(chan error, 1)
		go func() { watched <- s.Watch(t.Context(), 0, func([]store.Event) {}) }()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		expect(t, <-watched, store.ErrClosed)
		_, _, err := s.Publish(t.Context(), version("a", "one"))
		expect(t, err, store.ErrClosed)
		_, _, err = s.Adapters(t.Context())
		expect(t, err, store.ErrClosed)
	})
}
