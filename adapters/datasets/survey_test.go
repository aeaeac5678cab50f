package datasets

import (
	"errors"
	"iter"
	"math"
	"slices"
	"testing"
)

func TestFold(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"Great phone!", "great   phone", true}, {"well-known", "Well known.", true}, {"Ärger\tÖl", "ärger öl", true},
		{" “Fine”, she said… ", "fine she said", true}, {"¡Qué bien!", "qué bien", true}, {"非常好。", "非常好", true},
		{"great", "greats", false}, {"good 👍", "good 👎", false}, {":)", ":(", false}, {"!!!", "!!", false}, {"5", "6", false}, {"a b", "ab", false}, {"café", "cafe", false},
	} {
		if (Fold(c.a) == Fold(c.b)) != c.same {
			t.Errorf("%q is %q, %q is %q", c.a, Fold(c.a), c.b, Fold(c.b))
		}
	}
}

func survey(rows ...Row) Report {
	s := NewSurvey()
	for i, r := range rows {
		r.Row = i + 1
		s.Add(r)
	}
	return s.Report()
}

func TestSurvey(t *testing.T) {
	r := survey(
		Row{Text: "Great!", Label: "positive"},
		Row{Text: "bad", Label: "negative"},
		Row{Text: "Great!", Label: "positive"}, // exact
		Row{Text: "great", Label: "Positive"},  // near, and a conflict by the letter
		Row{Text: "great", Label: "positive"},  // exact: of the row before
		Row{Text: "BAD.", Label: "positive"},   // near, and a conflict
		Row{Text: "ok", Label: "negative"},
	)
	if want := []LabelCount{{"positive", 4}, {"negative", 2}, {"Positive", 1}}; r.Rows != 7 || !slices.Equal(r.Labels, want) {
		t.Errorf("%d rows, %v", r.Rows, r.Labels)
	}
	if d := r.Duplicates; d.Exact != 2 || d.Near != 2 || !slices.Equal(d.First, []Pair{{3, 1}, {4, 1}, {5, 1}, {6, 2}}) {
		t.Errorf("%+v", d)
	}
	if c := r.Conflicts; c.Rows != 2 || !slices.Equal(c.First, []Pair{{4, 1}, {6, 2}}) {
		t.Errorf("%+v", c)
	}
	if len(r.Alike) != 1 || !slices.Equal(r.Alike[0], []string{"Positive", "positive"}) {
		t.Errorf("%q", r.Alike)
	}
	if want := []Length{{1, 6}, {3, 6}, {4, 5}, {5, 5}, {6, 4}}; !slices.Equal(r.Longest, want) {
		t.Errorf("%v", r.Longest)
	}
}

func TestSurveyListsSome(t *testing.T) {
	rows := make([]Row, 101)
	for i := range rows {
		rows[i] = Row{Text: "the same", Label: []string{"a", "b"}[i%2]}
	}
	r := survey(rows...)
	if r.Duplicates.Exact != 100 || r.Conflicts.Rows != 50 || len(r.Duplicates.First) != maxPairs || len(r.Conflicts.First) != maxPairs {
		t.Errorf("%+v, %+v", r.Duplicates, r.Conflicts)
	}
}

func TestLengths(t *testing.T) {
	s := NewSurvey()
	for i := range 100 { // 1 to 100 characters, of two bytes each
		text := make([]rune, i+1)
		for j := range text {
			text[j] = 'ä'
		}
		s.Add(Row{i + 1, string(text), "a"})
	}
	l := s.Report().Lengths
	if l.Shortest != 1 || l.Median != 50 || l.P90 != 90 || l.P99 != 99 || l.Longest != 100 || math.Abs(l.Mean-50.5) > 1e-9 {
		t.Errorf("%+v", l)
	}
	if want := []Bin{{0, 1, 1}, {2, 2, 1}, {3, 4, 2}, {5, 8, 4}, {9, 16, 8}, {17, 32, 16}, {33, 64, 32}, {65, 128, 36}}; !slices.Equal(l.Histogram, want) {
		t.Errorf("%v", l.Histogram)
	}
	if one := survey(Row{Text: "abc", Label: "a"}).Lengths; one.Median != 3 || one.P99 != 3 || one.Shortest != 3 {
		t.Errorf("%+v", one)
	}
	if none := NewSurvey().Report(); none.Rows != 0 || none.Lengths.Longest != 0 {
		t.Errorf("%+v", none)
	}
}

func sequence(rows ...Row) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for i, r := range rows {
			r.Row = i + 1
			if !yield(r, nil) {
				return
			}
		}
	}
}

func TestLeakage(t *testing.T) {
	training := sequence(Row{Text: "Fine.", Label: "a"}, Row{Text: "bad", Label: "b"}, Row{Text: "fine", Label: "b"})
	validation := sequence(Row{Text: "new", Label: "a"}, Row{Text: "FINE", Label: "a"}, Row{Text: "bad!", Label: "a"}, Row{Text: "bad", Label: "c"})
	got, err := FindLeakage(training, validation)
	if want := []Leak{{2, 1, true}, {3, 2, false}, {4, 2, false}}; err != nil || got.Rows != 3 || !slices.Equal(got.First, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := FindLeakage(generated(1000), generated(1000)); err != nil || got.Rows != 1000 || len(got.First) != maxPairs {
		t.Errorf("%d, %v", got.Rows, err)
	}
	broken := errors.New("broken")
	failing := func(yield func(Row, error) bool) { yield(Row{}, broken) }
	for _, pair := range [][2]iter.Seq2[Row, error]{{failing, validation}, {training, failing}} {
		if _, err := FindLeakage(pair[0], pair[1]); !errors.Is(err, broken) {
			t.Error(err)
		}
	}
}
