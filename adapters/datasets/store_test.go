package datasets_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"valence/adapters/datasets"
	"valence/adapters/datasets/table"
	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

const file = "text,label\nI love it,1\nawful,0\nfine,1\n"

var stars = datasets.Mapping{Labels: map[string]string{"0": "negative", "1": "positive"}}

// fixture is a store on an empty database.
type fixture struct {
	*datasets.Store
	state *store.Store
	o     store.Options
	temp  string
}

func each(t *testing.T, limits datasets.Limits, test func(t *testing.T, f fixture)) {
	storetest.Each(t, func(t *testing.T, o store.Options) {
		f := fixture{o: o, state: storetest.Open(t, o), temp: t.TempDir()}
		f.Store = must[*datasets.Store](t)(datasets.New(t.Context(), f.state, datasets.Options{Limits: limits, TempDir: f.temp}))
		test(t, f)
		if left := must[[]os.DirEntry](t)(os.ReadDir(f.temp)); len(left) != 0 {
			t.Errorf("%v is left in the temporary folder", left)
		}
	})
}

// must gives the value of a call that is expected to succeed.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (f fixture) count(t testing.TB, table string) (n int) {
	t.Helper()
	if err := f.state.DB().QueryRow("SELECT COUNT(*) FROM " + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// empty checks that nothing of a data set is kept.
func (f fixture) empty(t testing.TB) {
	t.Helper()
	for _, name := range []string{"datasets", "blobs", "blob_chunks", "blob_holds"} {
		if n := f.count(t, name); n != 0 {
			t.Errorf("%d rows of %s are left", n, name)
		}
	}
}

func (f fixture) put(t testing.TB, name string, m datasets.Mapping) datasets.Dataset {
	t.Helper()
	return must[datasets.Dataset](t)(f.Put(t.Context(), name, "", strings.NewReader(file), m))
}

func (f fixture) rows(t testing.TB, id string) (out []string) {
	t.Helper()
	for row, err := range f.Rows(t.Context(), id) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d %s %s", row.Row, row.Label, row.Text))
	}
	return out
}

func TestPut(t *testing.T) {
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		d := f.put(t, "reviews.csv", stars)
		if d.Name != "reviews.csv" || d.Format != table.CSV || d.Bytes != int64(len(file)) || d.Created.IsZero() || d.Mapping.Text != "text" {
			t.Errorf("%+v", d)
		}
		if r := d.Report; r.Rows != 3 || !slices.Equal(r.Labels, []datasets.LabelCount{{Label: "positive", Rows: 2}, {Label: "negative", Rows: 1}}) || r.Lengths.Longest != 9 {
			t.Errorf("%+v", r)
		}
		if got := must[datasets.Dataset](t)(f.Get(t.Context(), d.ID)); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", d) {
			t.Errorf("%+v, not %+v", got, d)
		}
		if got := f.rows(t, d.ID); !slices.Equal(got, []string{"1 positive I love it", "2 negative awful", "3 positive fine"}) {
			t.Errorf("%q", got)
		}
		again := f.put(t, "other name.csv", stars)
		if again.ID != d.ID || again.Name != d.Name || f.count(t, "datasets") != 1 || f.count(t, "blobs") != 1 {
			t.Errorf("the same again is %+v", again)
		}
		// The mapping may name the columns or leave them to be found.
		named := stars
		named.Text, named.Label = "text", "label"
		if again := f.put(t, "reviews.csv", named); again.ID != d.ID {
			t.Errorf("the same mapping in other words is %+v", again)
		}
		other := f.put(t, "raw.csv", datasets.Mapping{})
		if other.ID == d.ID || other.Content != d.Content || f.count(t, "blobs") != 1 || f.count(t, "datasets") != 2 {
			t.Errorf("with another mapping it is %+v", other)
		}
		list := must[[]datasets.Dataset](t)(f.List(t.Context()))
		if len(list) != 2 || list[0].ID != other.ID || list[1].ID != d.ID {
			t.Errorf("%+v", list)
		}
		if got := f.rows(t, d.ID); len(got) != 3 {
			t.Errorf("%q", got)
		}
	})
}

func TestPutParquet(t *testing.T) {
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		data := must[*os.File](t)(os.Open("table/testdata/groups.parquet"))
		defer data.Close()
		m := datasets.Mapping{Labels: map[string]string{"0": "a", "1": "b"}, Unmapped: datasets.Drop}
		d := must[datasets.Dataset](t)(f.Put(t.Context(), "groups", table.Parquet, iotest.HalfReader(data), m))
		if d.Report.Rows != 3334 || d.Report.Dropped.Unmapped != 1666 || d.Report.Duplicates.Exact == 0 {
			t.Errorf("%+v", d)
		}
		if got := f.rows(t, d.ID); len(got) != 3334 || got[3333] != "5000 b text number 99" {
			t.Errorf("%d rows, %q", len(got), got[len(got)-1])
		}
	})
}

func TestPutRefuses(t *testing.T) {
	cut := errors.New("the line was cut")
	limits := datasets.Limits{Bytes: 1 << 20, Rows: 1000}
	each(t, limits, func(t *testing.T, f fixture) {
		for _, c := range []struct {
			name string
			r    io.Reader
			kind error
			says string
		}{
			{"broken.csv", strings.NewReader("text,label\na,x\n\"b,y\n"), datasets.ErrInvalid, "line 3"},
			{"broken.jsonl", strings.NewReader("{\"text\": 1}"), datasets.ErrMapping, "label"},
			{"header.csv", strings.NewReader("text,label\n"), datasets.ErrInvalid, "no rows"},
			{"empty.csv", strings.NewReader(""), datasets.ErrInvalid, "empty"},
			{"cut.parquet", strings.NewReader("PAR1"), datasets.ErrInvalid, "too few"},
			{"reviews.xlsx", strings.NewReader("PK"), datasets.ErrMapping, ".parquet"},
			{"", strings.NewReader(file), datasets.ErrMapping, "name"},
			{"large.csv", endless("text,label\n", strings.Repeat("x", 2000)+",y\n"), datasets.ErrTooLarge, "1048576 bytes"},
			{"long.csv", io.LimitReader(endless("text,label\n", "x,y\n"), 5000), datasets.ErrTooLarge, "1000 rows"},
			{"cut.csv", io.MultiReader(strings.NewReader(file), iotest.ErrReader(cut)), cut, fmt.Sprint(len(file))},
		} {
			_, err := f.Put(t.Context(), c.name, "", c.r, datasets.Mapping{})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q: %v", c.name, err)
			}
			f.empty(t)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.Put(ctx, "a.csv", "", strings.NewReader(file), stars); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		f.empty(t)
	})
}

// endless gives a beginning and then a line for ever.
func endless(beginning, line string) io.Reader {
	return io.MultiReader(strings.NewReader(beginning), &repeated{line: line})
}

type repeated struct {
	line string
	rest string
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.rest == "" {
		r.rest = r.line
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// TestEndlessUpload: a stream without end is refused at the limit, and neither memory
// nor the store grew with it.
func TestEndlessUpload(t *testing.T) {
	const limit = 256 << 20
	state := storetest.Open(t, store.Options{Dir: t.TempDir()})
	f := fixture{state: state}
	f.Store = must[*datasets.Store](t)(datasets.New(t.Context(), state, datasets.Options{Limits: datasets.Limits{Bytes: limit}}))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	_, err := f.Put(t.Context(), "a.csv", "", endless("text,label\n", strings.Repeat("x", 1<<20)+",y\n"), datasets.Mapping{})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, datasets.ErrTooLarge) {
		t.Fatal(err)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > limit/8 {
		t.Errorf("%d bytes more in memory", grown)
	}
	f.empty(t)
}

func TestDelete(t *testing.T) {
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		d, other := f.put(t, "a.csv", stars), f.put(t, "b.csv", datasets.Mapping{})
		if err := f.state.HoldBlob(t.Context(), "job:1", d.Content); err != nil {
			t.Fatal(err)
		}
		if err := f.Delete(t.Context(), d.ID); !errors.Is(err, datasets.ErrInUse) || !strings.Contains(err.Error(), `datasets: in use: job:1 needs data set "a.csv"`) {
			t.Errorf("%v", err)
		}
		if got := f.rows(t, d.ID); len(got) != 3 {
			t.Errorf("%q", got)
		}
		if err := f.state.ReleaseBlobs(t.Context(), "job:1"); err != nil {
			t.Fatal(err)
		}
		if err := f.Delete(t.Context(), d.ID); err != nil {
			t.Fatal(err)
		}
		if got := f.rows(t, other.ID); len(got) != 3 {
			t.Errorf("the file went with another data set: %q", got)
		}
		if err := f.Delete(t.Context(), other.ID); err != nil {
			t.Fatal(err)
		}
		f.empty(t)
		for _, err := range []error{f.Delete(t.Context(), d.ID), second(f.Get(t.Context(), d.ID))} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
		}
		for _, err := range f.Rows(t.Context(), d.ID) {
			if !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestDamage: rows of a file that is no longer what it was end with an error.
func TestDamage(t *testing.T) {
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		d := f.put(t, "a.csv", stars)
		if _, err := f.state.DB().Exec("UPDATE blob_chunks SET data = $1", []byte(strings.Replace(file, "awful", "lawfu", 1))); err != nil {
			t.Fatal(err)
		}
		var last error
		for _, err := range f.Rows(t.Context(), d.ID) {
			last = err
		}
		if !errors.Is(last, store.ErrCorrupt) || errors.Is(last, datasets.ErrInvalid) {
			t.Errorf("%v", last)
		}
		d = f.put(t, "a.csv", stars)
		last = nil
		for _, err := range f.Rows(t.Context(), d.ID) {
			last = err
		}
		if last != nil {
			t.Errorf("sent again, it is still damaged: %v", last)
		}
	})
}

// TestSweep: what a process left that was killed between file and row goes with the next
// start; data sets stay.
func TestSweep(t *testing.T) {
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		d := f.put(t, "a.csv", stars)
		if _, _, err := f.state.PutBlob(t.Context(), "dataset:sha256:lost", strings.NewReader("left behind")); err != nil {
			t.Fatal(err)
		}
		must[*datasets.Store](t)(datasets.New(t.Context(), f.state, datasets.Options{}))
		if n := f.count(t, "blobs"); n != 1 {
			t.Errorf("%d blobs", n)
		}
		if got := f.rows(t, d.ID); len(got) != 3 {
			t.Errorf("%q", got)
		}
	})
}

// TestAtOnce puts, deletes and reads the same few files from several goroutines and two
// stores. Each call does what it says or fails for a reason that it names, and nothing
// is left over.
func TestAtOnce(t *testing.T) {
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		two := must[*datasets.Store](t)(datasets.New(t.Context(), storetest.Open(t, f.o), datasets.Options{}))
		var group sync.WaitGroup
		for worker := range 6 {
			group.Go(func() {
				s := []*datasets.Store{f.Store, two}[worker%2]
				for i := range 10 {
					text := fmt.Sprintf("%sone more %d,0\n", file, i%3)
					d, err := s.Put(t.Context(), "a.csv", "", strings.NewReader(text), stars)
					if err != nil {
						if !errors.Is(err, store.ErrBusy) {
							t.Error(err)
						}
						continue
					}
					for _, err := range s.Rows(t.Context(), d.ID) {
						if err != nil && !errors.Is(err, store.ErrNotFound) {
							t.Error(err)
						}
					}
					if err := s.Delete(t.Context(), d.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		for _, d := range must[[]datasets.Dataset](t)(f.List(t.Context())) {
			if err := f.Delete(t.Context(), d.ID); err != nil {
				t.Error(err)
			}
		}
		f.empty(t)
	})
}
