package datasets

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"valence/adapters/datasets/table"
)

func no() *bool { return new(bool) }

func yes() *bool { b := true; return &b }

// collect gives rows as "1 label text", and the error at their end.
func collect(t testing.TB, name, text string, m Mapping, l Limits) (rows []string, r *Reader, err error) {
	t.Helper()
	if r, err = Open(Input{Name: name, Reader: strings.NewReader(text)}, m, l); err != nil {
		return nil, nil, err
	}
	for row, err := range r.Rows(t.Context()) {
		if err != nil {
			return rows, r, err
		}
		rows = append(rows, fmt.Sprintf("%d %s %s", row.Row, row.Label, row.Text))
	}
	return rows, r, nil
}

func TestRows(t *testing.T) {
	stars := map[string]string{"1": "negative", "2": "negative", "3": "neutral", "4": "positive", "5": "positive"}
	for name, c := range map[string]struct {
		file, text string
		m          Mapping
		want       []string
	}{
		"usual names":     {"a.csv", "id,Review,Sentiment\n7,fine, good \n8,bad,poor\n", Mapping{}, []string{"1 good fine", "2 poor bad"}},
		"names":           {"a.csv", "x,y\nfine,good\n", Mapping{Text: "x", Label: "y"}, []string{"1 good fine"}},
		"numbers":         {"a.tsv", "fine\tgood\n", Mapping{Text: "1", Label: "2", Header: no()}, []string{"1 good fine"}},
		"numbers, header": {"a.csv", "x,y\nfine,good\n", Mapping{Text: "1", Label: "2", Header: yes()}, []string{"1 good fine"}},
		"number as name":  {"a.csv", "2,1\nfine,good\n", Mapping{Text: "2", Label: "1"}, []string{"1 good fine"}},
		"stars":           {"a.jsonl", `{"text": "a", "stars": 5}` + "\n" + `{"text": "b", "stars": "1.0"}` + "\n" + `{"text": "c", "stars": 3.00}`, Mapping{Labels: stars}, []string{"1 positive a", "2 negative b", "3 neutral c"}},
		"booleans":        {"a.jsonl", `[{"text": "a", "label": true}, {"text": "b", "label": false}]`, Mapping{Labels: map[string]string{"true": "spam", "false": "ham"}}, []string{"1 spam a", "2 ham b"}},
		"signs":           {"a.csv", "text,label\na,-1\nb,+1\nc,00\n", Mapping{Labels: map[string]string{"-1": "negative", "0": "neutral", "1": "positive"}}, []string{"1 negative a", "2 positive b", "3 neutral c"}},
		"words":           {"a.csv", "text,label\na,neg\nb,4.5\n", Mapping{Labels: map[string]string{"neg": "negative", "4.5": "positive"}}, []string{"1 negative a", "2 positive b"}},
		"dropped":         {"a.csv", "text,label\na,0\n,0\n \u00a0,1\nb,\nc,9\nd,1\n", Mapping{Labels: map[string]string{"0": "x", "1": "y"}, Empty: Drop, Unmapped: Drop}, []string{"1 x a", "6 y d"}},
		"keys elsewhere":  {"a.jsonl", `{"text": "a", "label": "x", "more": 1}` + "\n" + `{"label": "y", "text": "b"}`, Mapping{Text: "text", Label: "label"}, []string{"1 x a", "2 y b"}},
		"text untouched":  {"a.csv", "text,label\n\" a\nb \",x\n", Mapping{}, []string{"1 x  a\nb "}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := collect(t, c.file, c.text, c.m, Limits{})
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	_, r, err := collect(t, "a.csv", "text,label\na,0\n,0\nb,\nc,9\n", Mapping{Labels: map[string]string{"0": "x"}, Empty: Drop, Unmapped: Drop}, Limits{})
	if err != nil || r.Dropped() != (Dropped{2, 1}) || r.Mapping().Text != "text" || r.Mapping().Label != "label" {
		t.Errorf("%+v, %+v, %v", r.Dropped(), r.Mapping(), err)
	}
}

func TestMappingRefused(t *testing.T) {
	const file = "a,b,text,body,label\n1,2,3,4,5\n"
	for name, c := range map[string]struct {
		file, text string
		m          Mapping
		want       string
	}{
		"ambiguous":           {"a.csv", file, Mapping{}, `text: it could be each of the columns "text", "body"`},
		"no usual name":       {"a.csv", "I love it,good\nfine,good\n", Mapping{}, `no column has a usual name for it; say which of "I love it", "good" it is; if that is the first row of data`},
		"no usual name, JSON": {"a.jsonl", `{"a": 1}`, Mapping{Text: "a"}, `label: no column has a usual name for it; say which of "a" it is`},
		"no such column":      {"a.csv", file, Mapping{Text: "c"}, `text: there is no column "c"; the columns are "a", "b", "text", "body", "label"`},
		"number too high":     {"a.csv", file, Mapping{Text: "6"}, `no column "6"`},
		"number, no header":   {"a.csv", file, Mapping{Text: "1"}, `say whether the first row names the columns`},
		"the same":            {"a.csv", file, Mapping{Text: "label"}, `both column "label"`},
		"twice":               {"a.csv", "text,text,label\n1,2,3\n", Mapping{Text: "text"}, "number 1 and 2"},
		"one column":          {"a.csv", "text\na\n", Mapping{}, `label: no column has a usual name`},
		"extension":           {"a.txt", file, Mapping{}, ".csv, .tsv, .jsonl or .parquet"},
		"policy":              {"a.csv", file, Mapping{Empty: "keep"}, `empty is "keep"; "refuse" and "drop"`},
		"unmapped, no labels": {"a.csv", file, Mapping{Unmapped: Drop}, "no labels to map"},
		"no labels":           {"a.csv", file, Mapping{Labels: map[string]string{}}, "labels is empty"},
		"empty label":         {"a.csv", file, Mapping{Labels: map[string]string{"0": " "}}, `labels: "0": the label is empty`},
		"label twice":         {"a.csv", file, Mapping{Labels: map[string]string{"1": "a", "1.0": "b"}}, `"1" and "1.0" are the same value`},
		"header of JSONL":     {"a.jsonl", "{}", Mapping{Header: no()}, "for CSV and TSV"},
		"delimiter":           {"a.csv", file, Mapping{Delimiter: "||"}, "more than one character"},
		"label's NUL":         {"a.csv", file, Mapping{Labels: map[string]string{"0": "a\x00"}}, "NUL"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := collect(t, c.file, c.text, c.m, Limits{})
			if !errors.Is(err, ErrMapping) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		m          Mapping
		want       []string
		kind       error
	}{
		"empty text":   {"a.csv", "text,label\na,x\n ,y\n", Mapping{}, []string{`line 3: column "text": it is empty; say "empty": "drop"`}, nil},
		"empty label":  {"a.jsonl", `{"text": "a", "label": null}`, Mapping{}, []string{`line 1: column "label": it is empty`}, nil},
		"unmapped":     {"a.csv", "text,label\na,0\nb,2\nc,x\n", Mapping{Labels: map[string]string{"0": "n", "1": "p"}}, []string{`line 3: column "label": the value has no label: "2" is none of "0", "1"; map it, or say "unmapped": "drop"`, `"x" is none of`}, errUnmapped},
		"ragged":       {"a.csv", "text,label\na,x\nb\nc,d,e\n", Mapping{}, []string{"line 3: table: wrong number of fields: the row has 1; there are 2", "line 4: "}, table.ErrFieldCount},
		"NUL":          {"a.csv", "text,label\na\x00b,x\n", Mapping{}, []string{`line 2: column "text": byte 2 is NUL`}, nil},
		"NUL in JSON":  {"a.jsonl", `{"text": "a\u0000", "label": "x"}`, Mapping{}, []string{`line 1: column "text": byte 2 is NUL`}, nil},
		"Latin-1":      {"a.csv", "text,label\na,x\ncaf\xe9,x\n", Mapping{}, []string{`line 3: column "text": table: unsupported encoding: byte 4 of the text, 0xe9, is not UTF-8; if the file is Windows-1252 or Latin-1, convert it with: iconv`}, table.ErrEncoding},
		"quote":        {"a.csv", "text,label\na,x\n\"b,x\nc,x\n", Mapping{}, []string{"line 3: table: misplaced quote"}, table.ErrQuote},
		"number":       {"a.jsonl", `{"text": 5, "label": "x"}`, Mapping{}, []string{`line 1: column "text": it holds a number where a text is needed`}, nil},
		"list":         {"a.jsonl", `{"text": "a", "label": ["x"]}`, Mapping{}, []string{`column "label": it holds a list`}, nil},
		"key":          {"a.jsonl", `{"text": "a", "label": "x"}` + "\n" + `{"text": "b"}`, Mapping{}, []string{`line 2: column "label": the object has no such key`}, nil},
		"not JSON":     {"a.jsonl", `{"text": "a", "label": "x"}` + "\nnope\n", Mapping{}, []string{`line 2: not a JSON object`}, nil},
		"label's size": {"a.csv", "text,label\na," + strings.Repeat("x", 257) + "\n", Mapping{}, []string{`column "label": the label has 257 bytes; at most 256 are allowed. Is it the right column?`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := collect(t, c.file, c.text, c.m, Limits{})
			var faults *Faults
			if !errors.As(err, &faults) || !errors.Is(err, ErrInvalid) || faults.Total != len(c.want) || c.kind != nil && !errors.Is(err, c.kind) {
				t.Fatalf("%v", err)
			}
			for i, want := range c.want {
				if got := faults.First[i].Error(); !strings.Contains(got, want) || !strings.Contains(err.Error(), want) {
					t.Errorf("%q, want %q", got, want)
				}
			}
		})
	}
}

func TestFaultsAreCounted(t *testing.T) {
	var b strings.Builder
	b.WriteString("text,label\n")
	for i := range 100 {
		fmt.Fprintf(&b, "text %d,x\nbroken\n", i)
	}
	rows, _, err := collect(t, "a.csv", b.String(), Mapping{}, Limits{})
	var faults *Faults
	if !errors.As(err, &faults) || faults.Total != 100 || faults.Rows != 200 || len(faults.First) != DefaultFaults || len(rows) != 100 {
		t.Fatalf("%v", err)
	}
	if last := faults.First[DefaultFaults-1]; last.Row != 40 || last.Line != 41 || faults.File != "a.csv" {
		t.Errorf("%+v", last)
	}
	if !strings.Contains(err.Error(), "a.csv: 100 of 200 rows cannot be used") || !strings.HasSuffix(err.Error(), "and 80 more") {
		t.Error(err)
	}
	if _, _, err := collect(t, "a.csv", b.String(), Mapping{}, Limits{Faults: 3}); !errors.As(err, &faults) || len(faults.First) != 3 || faults.Total != 100 {
		t.Error(err)
	}
	// The file breaks off after a fault: both are told.
	_, _, err = collect(t, "a.jsonl", "[{\"text\": \"a\", \"label\": \"x\"}, 5,", Mapping{}, Limits{})
	if !errors.As(err, &faults) || faults.Total != 1 || !errors.Is(err, table.ErrFile) {
		t.Error(err)
	}
}

func TestFilesWithoutRows(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		m          Mapping
		want       string
	}{
		"empty":       {"a.csv", "", Mapping{}, "a.csv: table: the file is empty"},
		"header only": {"a.csv", "text,label\n", Mapping{}, "a.csv: it holds no rows"},
		"empty array": {"a.json", "[]", Mapping{}, "empty"},
		"all dropped": {"a.csv", "text,label\n,x\na,9\n", Mapping{Labels: map[string]string{"0": "x"}, Empty: Drop, Unmapped: Drop}, "of 2 rows none is left: 1 are empty and 1"},
		"gzip":        {"a.csv", "\x1f\x8b\x08", Mapping{}, "gunzip"},
		"UTF-16":      {"a.csv", "\xff\xfea\x00", Mapping{}, "iconv -f UTF-16"},
		"Parquet":     {"a.parquet", "PAR1 and no more PAR", Mapping{}, "does not end as Parquet does"},
	} {
		_, _, err := collect(t, c.file, c.text, c.m, Limits{})
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLimits(t *testing.T) {
	const file = "text,label\na,x\nb,y\nc,x\n"
	if rows, _, err := collect(t, "a.csv", file, Mapping{}, Limits{Rows: 3}); err != nil || len(rows) != 3 {
		t.Errorf("%q, %v", rows, err)
	}
	if _, _, err := collect(t, "a.csv", file, Mapping{}, Limits{Rows: 2}); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "more than 2 rows") {
		t.Error(err)
	}
	var b strings.Builder
	b.WriteString("text,label\n")
	for i := range 200 {
		fmt.Fprintf(&b, "a,%d\n", i)
	}
	rows, _, err := collect(t, "a.csv", b.String(), Mapping{}, Limits{})
	if !errors.Is(err, ErrInvalid) || len(rows) != maxLabels || !strings.Contains(err.Error(), `line 66: column "label": "64" is label number 65; at most 64`) {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := Open(Input{Name: "a.csv", Reader: strings.NewReader(file)}, Mapping{}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range r.Rows(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestParquetRows(t *testing.T) {
	open := func(name string, m Mapping) (n int, err error) {
		f, err := os.Open("table/testdata/" + name + ".parquet")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := Open(Input{Name: f.Name(), Reader: f}, m, Limits{})
		if err != nil {
			return 0, err
		}
		for _, err := range r.Rows(t.Context()) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	if n, err := open("groups", Mapping{Labels: map[string]string{"0": "a", "1": "b", "2": "c"}}); n != 5000 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	for _, c := range []struct {
		name string
		m    Mapping
		kind error
		want string
	}{
		{"plain", Mapping{}, ErrInvalid, `row 3: column "text": it is empty`},
		{"types", Mapping{Text: "list", Label: "text"}, ErrMapping, `"list" holds lists or structures`},
		{"types", Mapping{Text: "int", Label: "text"}, ErrInvalid, `row 1: column "int": it holds a number where a text is needed`},
		{"types", Mapping{Text: "text", Label: "time"}, ErrInvalid, `row 1: column "time": it holds a list, object, time or other value`},
		{"types", Mapping{Label: "1"}, ErrMapping, "text and label are both"},
		{"latin1", Mapping{}, ErrInvalid, `row 2: column "text"`},
		{"empty", Mapping{}, ErrInvalid, "holds no rows"},
	} {
		if _, err := open(c.name, c.m); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if n, err := open("plain", Mapping{Empty: Drop}); n != 4 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
}

// generated is n rows of seeded texts.
func generated(n int) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		random := rand.New(rand.NewPCG(1, 2))
		for i := range n {
			if !yield(Row{i + 1, fmt.Sprintf("text %d", random.Uint64()), []string{"a", "b"}[i%2]}, nil) {
				return
			}
		}
	}
}

// TestSurveyIsBounded: the memory of a survey does not depend on how long the texts are.
func TestSurveyIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := NewSurvey()
	const rows = 20_000
	filler := strings.Repeat(" more words", 100)
	for row := range generated(rows) {
		row.Text += filler
		s.Add(row)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / rows; each > 120 {
		t.Errorf("%d bytes for each row", each)
	}
	if r := s.Report(); r.Rows != rows || r.Duplicates.Exact+r.Duplicates.Near != 0 || r.Lengths.Longest < 1100 {
		t.Errorf("%+v", r)
	}
}
