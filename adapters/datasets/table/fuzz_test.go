package table

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// drain reads a file to its end and checks what holds of every record.
func drain(t *testing.T, data []byte, o Options) (records []*Record, err error) {
	t.Helper()
	o.MaxRecord = 1 << 16
	r, err := Open(bytes.NewReader(data), o)
	if err != nil {
		return nil, err
	}
	names := slices.Compact(slices.Sorted(slices.Values(r.Columns())))
	if err := r.Select(names...); err != nil {
		return nil, err
	}
	line := 0
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return records, err
		}
		if record.Row != len(records)+1 || record.Line < line || record.Line > bytes.Count(data, []byte("\n"))+1 {
			t.Fatalf("record %d says row %d, line %d after line %d", len(records)+1, record.Row, record.Line, line)
		}
		line = record.Line
		if record.Err == nil && len(record.Cells) != len(names) {
			t.Fatalf("%d cells of %d columns", len(record.Cells), len(names))
		}
		for _, c := range record.Cells {
			if record.Err == nil && !utf8.ValidString(c.Text) {
				t.Fatalf("%q is not UTF-8", c.Text)
			}
		}
		records = append(records, record)
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"text,label\na,b\n", "\ufefft\r\n\"a\r\nb\",\"\"\"\"", "a,\"b\nc", "a\"b,c", "\"a\"b,c\nd,e", "a\xff,b\n\x00", "\n\n,\n"} {
		f.Add([]byte(s), false, byte(0))
		f.Add([]byte(s), true, byte(2))
	}
	f.Fuzz(func(t *testing.T, data []byte, noHeader bool, quotes byte) {
		o := Options{Format: CSV, NoHeader: noHeader, Quotes: []Quotes{QuotesRFC, QuotesLoose, QuotesNone}[quotes%3]}
		records, err := drain(t, data, o)
		if err != nil || o.Quotes != QuotesRFC {
			return
		}
		for _, r := range records { // what was read as fields comes back from them
			if r.Err != nil {
				continue
			}
			var b bytes.Buffer
			w := csv.NewWriter(&b)
			if err := w.Write(r.Fields); err != nil {
				t.Fatal(err)
			}
			w.Flush()
			again := csv.NewReader(&b)
			got, err := again.Read()
			want := slices.Clone(r.Fields)
			for i := range want {
				want[i] = strings.ReplaceAll(want[i], "\r\n", "\n")
			}
			if len(want) == 1 && want[0] == "" {
				continue // an empty line is no row
			}
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("%q came back as %q, %v", want, got, err)
			}
		}
	})
}

func FuzzJSONL(f *testing.F) {
	for _, s := range []string{"{\"text\": \"a\"}\n{}", "[{\"a\": 1},\n{\"a\": null}]", "[", "[]x", "{\"a\": 1, \"a\": 2}", "\"\xff\"", "{\"a\": \"\\ud800\"}", "[{}\n,\n{\"b\": [{}]}\n]\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		records, _ := drain(t, data, Options{Format: JSONL})
		for _, r := range records {
			if r.Err != nil {
				continue
			}
			var object map[string]any
			if err := json.Unmarshal(r.Object, &object); err != nil && !strings.Contains(err.Error(), "exceeded max depth") {
				t.Fatalf("%s: %v", r.Object, err)
			}
			if len(object) != len(r.Keys) && object != nil {
				t.Fatalf("%s has the keys %q", r.Object, r.Keys)
			}
		}
	})
}

func FuzzParquet(f *testing.F) {
	for _, name := range []string{"plain", "dictionary", "pages_v2", "types", "empty"} {
		data, err := io.ReadAll(fixture(f, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = drain(t, data, Options{Format: Parquet})
	})
}
