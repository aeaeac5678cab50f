package datasets_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
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
			if rows, err := f.rowsOf(t, two.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%d rows, %v", len(rows), err)
			}
			f.empty(t)
			kept := must[datasets.Dataset](t)(f.Put(t.Context(), "d", c.format, bytes.NewReader(c.content), c.mapping))
			want := must[[]datasets.Row](t)(f.rowsOf(t, kept.ID))
			if kept.ID != one.ID || len(want) == 0 || fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(again) != fmt.Sprint(want) {
				t.Errorf("%s %s, %v and %v, not %v", kept.ID, one.ID, got, again, want)
			}
			if err := f.Delete(t.Context(), kept.ID); err != nil {
				t.Error(err)
			}
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
