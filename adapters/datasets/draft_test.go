package datasets_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"valence/adapters/datasets"
	"valence/adapters/datasets/table"
	"valence/adapters/store"
)

// texts are the rows of a data set.
func (f fixture) rowsOf(t *testing.T, id string) (rows []datasets.Row, err error) {
	t.Helper()
	for row, err := range f.Rows(t.Context(), id) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// TestDraft: a draft is read like the data set that it would be, by several at once, and
// leaves nothing.
func TestDraft(t *testing.T) {
	parquet := must[[]byte](t)(os.ReadFile("table/testdata/plain.parquet"))
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		for _, c := range []struct {
			format  table.Format
			content []byte
			mapping datasets.Mapping
		}{{table.CSV, []byte(file), stars}, {table.Parquet, parquet, datasets.Mapping{Empty: datasets.Drop}}} {
			one := must[*datasets.Draft](t)(f.Draft(t.Context(), "d", c.format, bytes.NewReader(c.content), c.mapping))
			two := must[*datasets.Draft](t)(f.Draft(t.Context(), "d", c.format, bytes.NewReader(c.content), c.mapping))
			got := must[[]datasets.Row](t)(f.rowsOf(t, one.ID))
			if err := one.Close(); err != nil {
				t.Error(err)
			}
			again := must[[]datasets.Row](t)(f.rowsOf(t, two.ID))
			if err := two.Close(); err != nil {
				t.Error(err)
			}
			three := must[*datasets.Draft](t)(f.Draft(t.Context(), "d", c.format, bytes.NewReader(c.content), c.mapping))
			if err := errors.Join(three.Keep(t.Context()), three.Close()); err != nil {
				t.Error(err)
			}
			again = append(again, must[[]datasets.Row](t)(f.rowsOf(t, three.ID))...)
			if err := f.Delete(t.Context(), three.ID); err != nil {
				t.Error(err)
			}
			if rows, err := f.rowsOf(t, two.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%d rows, %v", len(rows), err)
			}
			f.empty(t)
			kept := must[datasets.Dataset](t)(f.Put(t.Context(), "d", c.format, bytes.NewReader(c.content), c.mapping))
			want := must[[]datasets.Row](t)(f.rowsOf(t, kept.ID))
			if kept.ID != one.ID || len(want) == 0 || fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(again) != fmt.Sprint(append(want, want...)) {
				t.Errorf("%s %s, %v and %v, not %v", kept.ID, one.ID, got, again, want)
			}
			if err := f.Delete(t.Context(), kept.ID); err != nil {
				t.Error(err)
			}
		}
	})
}

// remap keeps the data set of another one's file with the mapping stars.
func (f fixture) remap(t *testing.T, id string) datasets.Dataset {
	t.Helper()
	draft := must[*datasets.Draft](t)(f.DraftRemap(t.Context(), id, stars))
	if err := errors.Join(draft.Keep(t.Context()), draft.Close()); err != nil {
		t.Fatal(err)
	}
	return must[datasets.Dataset](t)(f.Get(t.Context(), draft.ID))
}

func TestRemap(t *testing.T) {
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		d := f.put(t, "reviews.csv", datasets.Mapping{})
		good := f.remap(t, d.ID)
		if good.ID == d.ID || good.Content != d.Content || good.Name != d.Name || !slices.Equal(f.rows(t, good.ID), []string{"1 positive I love it", "2 negative awful", "3 positive fine"}) {
			t.Errorf("%+v", good)
		}
		if again := f.remap(t, good.ID); again.ID != good.ID {
			t.Errorf("%s, not %s", again.ID, good.ID)
		}
		if _, err := f.DraftRemap(t.Context(), d.ID, datasets.Mapping{Text: "none"}); !errors.Is(err, datasets.ErrMapping) {
			t.Error(err)
		}
		if _, err := f.DraftRemap(t.Context(), "sha256:none", stars); !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
		if n := f.count(t, "blobs"); n != 1 {
			t.Errorf("%d blobs", n)
		}
	})
}

func TestDraftOfAnotherMapping(t *testing.T) {
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		kept := f.put(t, "a.csv", datasets.Mapping{})
		draft := must[*datasets.Draft](t)(f.DraftRemap(t.Context(), kept.ID, stars))
		rows := must[[]datasets.Row](t)(f.rowsOf(t, draft.ID))
		if draft.ID == kept.ID || len(rows) != 3 || rows[0].Label != "positive" {
			t.Errorf("%s, %v", draft.ID, rows)
		}
		if err := draft.Close(); err != nil {
			t.Error(err)
		}
		if all := must[[]datasets.Dataset](t)(f.List(t.Context())); len(all) != 1 {
			t.Errorf("%d data sets", len(all))
		}
	})
}

func TestDraftRefuses(t *testing.T) {
	each(t, datasets.Limits{Bytes: 100}, func(t *testing.T, f fixture) {
		for _, c := range []struct {
			name string
			file io.Reader
			want error
		}{
			{"", strings.NewReader(file), datasets.ErrMapping}, {"a.csv", strings.NewReader("text,label\na,\n"), datasets.ErrInvalid},
			{"a.csv", strings.NewReader(strings.Repeat(file, 9)), datasets.ErrTooLarge}, {"a.doc", strings.NewReader(file), datasets.ErrMapping},
		} {
			if d, err := f.Draft(t.Context(), c.name, "", c.file, datasets.Mapping{}); !errors.Is(err, c.want) {
				t.Errorf("%q: %v, %v", c.name, d, err)
			}
		}
	})
}
