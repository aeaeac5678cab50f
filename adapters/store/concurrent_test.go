package store_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// TestManyChangeAtOnce: what the answers said, what the events tell and what is stored
// agree, whoever changed what.
func TestManyChangeAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, o store.Options) {
		stores := []*store.Store{storetest.Open(t, o), storetest.Open(t, o)}
		w := watch(t, stores[0], 0)
		given := &givenNumbers{digests: map[string]string{}}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() { changeAtRandom(t, stores[g%2], rand.New(rand.NewPCG(uint64(g), 7)), given) })
		}
		wg.Wait()
		all, sequence, err := stores[1].Adapters(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.await(t, sequence)
		w.gapless(t, 0)
		if replayed := replay(t, w.events); !reflect.DeepEqual(replayed, summary(all)) {
			t.Errorf("the events lead to %v\nbut there is %v", replayed, summary(all))
		}
		for _, a := range all {
			for _, v := range a.Versions {
				if _, err := stores[0].Files(t.Context(), a.ID, v.Number); err != nil {
					t.Error(err)
				}
			}
		}
		t.Logf("%d changes", sequence)
	})
}

// givenNumbers checks that no number stands for two versions.
type givenNumbers struct {
	mu      sync.Mutex
	digests map[string]string // by id and number
}

func (g *givenNumbers) note(t testing.TB, v store.Version) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := fmt.Sprint(v.Adapter, " ", v.Number)
	if old := g.digests[key]; old != "" && old != v.Digest {
		t.Errorf("%s is %s and was %s", key, v.Digest, old)
	}
	g.digests[key] = v.Digest
}

func changeAtRandom(t testing.TB, s *store.Store, r *rand.Rand, given *givenNumbers) {
	for range 40 {
		id := []string{"a", "b", "c/d"}[r.IntN(3)]
		var err error
		switch r.IntN(8) {
		case 0, 1, 2:
			v := version(id, fmt.Sprint(r.IntN(20)))
			v.Activate = r.IntN(2) == 0
			var published store.Version
			if _, published, err = s.Publish(t.Context(), v); err == nil {
				given.note(t, published)
			}
		case 3:
			_, err = s.Activate(t.Context(), id, 1+r.IntN(10))
		case 4:
			_, err = s.Rollback(t.Context(), id)
		case 5:
			_, err = s.SetPinned(t.Context(), id, r.IntN(2) == 0)
		case 6:
			_, err = s.DeleteVersion(t.Context(), id, 1+r.IntN(10))
		case 7:
			if r.IntN(4) == 0 {
				err = s.Delete(t.Context(), id)
			}
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrActive) && !errors.Is(err, store.ErrNoEarlier) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// shape is what events tell of an adapter.
type shape struct {
	active   int
	pinned   bool
	versions []int
}

func summary(all []store.Adapter) map[string]shape {
	out := map[string]shape{}
	for _, a := range all {
		out[a.ID] = shape{a.Active, a.Pinned, numbers(a)}
	}
	return out
}

func replay(t testing.TB, events []store.Event) map[string]shape {
	out := map[string]shape{}
	for _, e := range events {
		a := out[e.Adapter]
		switch e.Kind {
		case store.Published:
			a.versions = append(slices.Clone(a.versions), e.Number)
		case store.Activated, store.RolledBack:
			a.active = e.Number
		case store.Pinned, store.Unpinned:
			a.pinned = e.Kind == store.Pinned
		case store.VersionDeleted:
			a.versions = slices.DeleteFunc(slices.Clone(a.versions), func(n int) bool { return n == e.Number })
			if len(a.versions) == 0 {
				a.versions = nil
			}
		case store.Deleted:
			delete(out, e.Adapter)
			continue
		default:
			t.Errorf("unknown kind %q", e.Kind)
		}
		out[e.Adapter] = a
	}
	return out
}

// TestBusy: who waits for another's change too long is told so, and nothing happens.
func TestBusy(t *testing.T) {
	t.Parallel() // with PostgreSQL it waits for ten seconds
	storetest.Each(t, func(t *testing.T, o store.Options) {
		one, two := storetest.Open(t, o), storetest.Open(t, o)
		if two.Dialect() == store.SQLite {
			sql(t, two, "PRAGMA busy_timeout = 50")
		}
		err := one.Change(t.Context(), func(*store.Tx) error {
			if _, _, err := two.Adapters(t.Context()); err != nil { // reading goes on
				return err
			}
			start := time.Now()
			_, _, err := two.Publish(t.Context(), version("a", "one"))
			t.Logf("gave up after %v", time.Since(start))
			expect(t, err, store.ErrBusy, "publish a")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		a, _ := publish(t, two, version("a", "one"))
		if a.Sequence != 1 {
			t.Errorf("sequence %d", a.Sequence)
		}
	})
}

// TestFull: what does not fit is not there at all, and what fits later is stored.
func TestFull(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		publish(t, s, activated("a", "one"))
		fit := limit(t, s)
		large := activated("a", "two")
		for i := range 8 {
			large.Files[fmt.Sprintf("part%d.bin", i)] = must[[]byte](t)(io.ReadAll(noise(fmt.Sprint(i), 1<<20)))
		}
		_, _, err := s.Publish(t.Context(), large)
		expect(t, err, store.ErrFull, "publish a")
		_, _, err = s.PutBlob(t.Context(), "job:1", noise("data", 8*chunk))
		expect(t, err, store.ErrFull)
		a := must[store.Adapter](t)(s.Adapter(t.Context(), "a"))
		if state(t, a, 1, 1); count(t, s, "blobs") != 3 || a.Sequence != 2 {
			t.Errorf("%d blobs, sequence %d", count(t, s, "blobs"), a.Sequence)
		}
		storetest.Check(t, s)
		fit()
		a, _ = publish(t, s, large)
		state(t, a, 2, 1, 2)
	})
}

// limit lets a database hold about one megabyte more, until fit is called. PostgreSQL
// has no such setting: there a trigger gives the error of a full disk.
func limit(t testing.TB, s *store.Store) (fit func()) {
	if s.Dialect() == store.PostgreSQL {
		sql(t, s, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN IF NEW.number > 2 OR (SELECT COUNT(*) FROM blob_chunks) > 5 THEN
				RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END IF; RETURN NEW; END $$`)
		sql(t, s, "CREATE TRIGGER full_disk BEFORE INSERT ON blob_chunks FOR EACH ROW EXECUTE FUNCTION full_disk()")
		return func() { sql(t, s, "DROP TRIGGER full_disk ON blob_chunks") }
	}
	var pages int
	if err := s.DB().QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	set := func(n int) { sql(t, s, fmt.Sprintf("PRAGMA max_page_count = %d", n)) }
	set(pages + 300)
	return func() { set(1 << 30) }
}
