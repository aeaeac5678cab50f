package datasets_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"valence/adapters"
	"valence/adapters/datasets"
	"valence/adapters/store"
)

func add(t testing.TB, f fixture, adapter, text, label string) datasets.Feedback {
	t.Helper()
	return must[datasets.Feedback](t)(f.AddFeedback(t.Context(), datasets.Feedback{Adapter: adapter, Text: text, Label: label}))
}

func TestFeedback(t *testing.T) {
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		before := time.Now().UTC().Truncate(time.Microsecond)
		first := must[datasets.Feedback](t)(f.AddFeedback(t.Context(), datasets.Feedback{
			Adapter: "acme/reviews", Version: "v3", Text: "  not bad ", Label: " positive ", Predicted: "negative", Source: "web",
		}))
		if first.Label != "positive" || first.Text != "  not bad " || first.Predicted != "negative" || first.Source != "web" || first.Version != "v3" || first.Created.Before(before) {
			t.Errorf("%+v", first)
		}
		again := must[datasets.Feedback](t)(f.AddFeedback(t.Context(), datasets.Feedback{Adapter: "acme/reviews", Version: "v4", Text: "  not bad ", Label: "positive"}))
		if again != first {
			t.Errorf("the same again is %+v", again)
		}
		changed := add(t, f, "acme/reviews", "  not bad ", "neutral")
		other := add(t, f, "finance", "  not bad ", "positive")
		if changed.ID == first.ID || other.ID == first.ID || changed.Number <= first.Number || other.Number <= changed.Number {
			t.Errorf("%+v, %+v, %+v", first, changed, other)
		}
		for _, c := range []struct {
			adapter string
			after   int64
			limit   int
			want    []datasets.Feedback
		}{
			{"acme/reviews", 0, 10, []datasets.Feedback{first, changed}},
			{"", 0, 10, []datasets.Feedback{first, changed, other}},
			{"", first.Number, 1, []datasets.Feedback{changed}},
			{"finance", other.Number, 10, nil},
			{"nobody", 0, 10, nil},
		} {
			if got := must[[]datasets.Feedback](t)(f.ListFeedback(t.Context(), c.adapter, c.after, c.limit)); !slices.Equal(got, c.want) {
				t.Errorf("%q after %d: %+v", c.adapter, c.after, got)
			}
		}
		if err := f.DeleteFeedback(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		if err := f.DeleteFeedback(t.Context(), first.ID); !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
		if got := feedbackRows(t, f, "acme/reviews"); !slices.Equal(got, []string{"1 neutral   not bad "}) {
			t.Errorf("%q", got)
		}
	})
}

func feedbackRows(t testing.TB, f fixture, adapter string) (out []string) {
	t.Helper()
	for row, err := range f.FeedbackRows(t.Context(), adapter) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d %s %s", row.Row, row.Label, row.Text))
	}
	return out
}

func TestFeedbackRefused(t *testing.T) {
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		for _, c := range []struct {
			feedback datasets.Feedback
			kind     error
			says     string
		}{
			{datasets.Feedback{Adapter: "a..b", Text: "a", Label: "x"}, adapters.ErrID, "a..b"},
			{datasets.Feedback{Adapter: "a@v1", Text: "a", Label: "x"}, datasets.ErrInvalid, "without a revision"},
			{datasets.Feedback{Adapter: "a", Text: " \n", Label: "x"}, datasets.ErrInvalid, "text: it is empty"},
			{datasets.Feedback{Adapter: "a", Text: "a", Label: " "}, datasets.ErrInvalid, "label: the label is empty"},
			{datasets.Feedback{Adapter: "a", Text: "a\x00", Label: "x"}, datasets.ErrInvalid, "text: byte 2 is NUL"},
			{datasets.Feedback{Adapter: "a", Text: "a\xff", Label: "x"}, datasets.ErrInvalid, "text: it is not UTF-8"},
			{datasets.Feedback{Adapter: "a", Text: strings.Repeat("x", 1<<20+1), Label: "x"}, datasets.ErrInvalid, "text: it has 1048577 bytes"},
			{datasets.Feedback{Adapter: "a", Text: "a", Label: strings.Repeat("x", 257)}, datasets.ErrInvalid, "label: the label has 257 bytes"},
			{datasets.Feedback{Adapter: "a", Text: "a", Label: "x", Source: strings.Repeat("x", 257)}, datasets.ErrInvalid, "source: it has 257 bytes"},
		} {
			if _, err := f.AddFeedback(t.Context(), c.feedback); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		}
		if n := f.count(t, "feedback"); n != 0 {
			t.Errorf("%d kept", n)
		}
	})
}

// TestFeedbackAtOnce: whoever reads on from the last number misses nothing, however many
// write.
func TestFeedbackAtOnce(t *testing.T) {
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		const writers, texts = 4, 25
		var group sync.WaitGroup
		for writer := range writers {
			group.Go(func() {
				for i := range texts {
					add(t, f, "a", fmt.Sprintf("text %d", i), []string{"x", "y"}[writer%2]) // two writers say the same
				}
			})
		}
		read, after := map[string]bool{}, int64(0)
		until := time.Now().Add(time.Minute)
		for len(read) < 2*texts && time.Now().Before(until) {
			page := must[[]datasets.Feedback](t)(f.ListFeedback(t.Context(), "a", after, 7))
			for _, x := range page {
				if read[x.ID] || x.Number <= after {
					t.Errorf("%+v again, after %d", x, after)
				}
				read[x.ID], after = true, x.Number
			}
		}
		group.Wait()
		if len(read) != 2*texts || f.count(t, "feedback") != 2*texts {
			t.Errorf("%d read, %d kept", len(read), f.count(t, "feedback"))
		}
		if got := feedbackRows(t, f, "a"); len(got) != 2*texts {
			t.Errorf("%d rows", len(got))
		}
	})
}

// TestFeedbackPages reads more than one page.
func TestFeedbackPages(t *testing.T) {
	each(t, datasets.Limits{}, func(t *testing.T, f fixture) {
		const texts = 1003
		tx := must[*sql.Tx](t)(f.state.DB().Begin())
		for i := range texts {
			if _, err := tx.Exec("INSERT INTO feedback (id, number, adapter, version, text, label, predicted, source) VALUES ($1, $2, 'a', '', $3, 'x', '', '')",
				fmt.Sprint(i), i+1, fmt.Sprintf("text %d", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		got := feedbackRows(t, f, "a")
		if len(got) != texts || got[0] != "1 x text 0" || got[texts-1] != "1003 x text 1002" {
			t.Errorf("%d rows", len(got))
		}
	})
}
