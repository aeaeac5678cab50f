package table

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// reading is what a file gives: "line 2: a|b" for a record, "line 2! why" for one that is
// wrong, and the error that ended it.
type reading struct {
	columns []string
	records []string
	err     error
}

func read(r io.Reader, o Options, names ...string) (out reading) {
	t, err := Open(r, o)
	if err != nil {
		return reading{err: err}
	}
	out.columns = t.Columns()
	if out.err = t.Select(names...); out.err != nil {
		return out
	}
	for {
		record, err := t.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				out.err = err
			}
			return out
		}
		out.records = append(out.records, describe(record))
	}
}

func describe(r *Record) string {
	if r.Err != nil {
		return r.Place() + "! " + r.Err.Error()
	}
	var cells []string
	for _, c := range r.Cells {
		text := c.Text
		if c.Kind != Text {
			text = fmt.Sprintf("%s(%s)", c.Kind, c.Text)
		}
		cells = append(cells, text)
	}
	return r.Place() + ": " + strings.Join(cells, "|")
}

func TestText(t *testing.T) {
	for name, c := range map[string]struct {
		o     Options
		text  string
		names []string
		want  []string
	}{
		"CSV":             {Options{Format: CSV}, "text,label\na,b\nc,d\n", []string{"label", "text"}, []string{"line 2: b|a", "line 3: d|c"}},
		"line ends":       {Options{Format: CSV}, "\ufefftext,label\r\n\"a\r\nb\",\"say \"\"x\"\"\"\r\n\r\nc,d", []string{"text", "label"}, []string{"line 2: a\nb|say \"x\"", "line 5: c|d"}},
		"delimiter":       {Options{Format: CSV, Delimiter: ';'}, "text;label\n1,5;b\n", []string{"text"}, []string{"line 2: 1,5"}},
		"TSV":             {Options{Format: TSV}, "text\tlabel\na, b\tc\n", []string{"text"}, []string{"line 2: a, b"}},
		"no header":       {Options{Format: CSV, NoHeader: true}, "a,b\nc,d\n", []string{"2", "1"}, []string{"line 1: b|a", "line 2: d|c"}},
		"no quotes":       {Options{Format: TSV, Quotes: QuotesNone}, "text\tlabel\n\n\"open\ta\r\n\"x\" y\tb", []string{"text", "label"}, []string{"line 3: \"open|a", "line 4: \"x\" y|b"}},
		"loose":           {Options{Format: TSV, Quotes: QuotesLoose}, "text\nhe said \"no\"\n\"a\tb\"\n", []string{"text"}, []string{`line 2: he said "no"`, "line 3: a\tb"}},
		"ragged":          {Options{Format: CSV}, "text,label\na\nb,c,d\ne,f\n", []string{"text"}, []string{"line 2! table: wrong number of fields: the row has 1; there are 2 columns", "line 3! table: wrong number of fields: the row has 3; there are 2 columns", "line 4: e"}},
		"ragged, first":   {Options{Format: CSV, NoHeader: true}, "a\nb,c\n", []string{"1"}, []string{"line 1: a", "line 2! table: wrong number of fields: the row has 2; there are 1 columns"}},
		"JSONL":           {Options{Format: JSONL}, "{\"text\": \"a\\n\\u00e4\", \"label\": 1}\n\n{\"label\": null, \"text\": true}\r\n{\"text\": [1]}", []string{"text", "label"}, []string{"line 1: a\nä|number(1)", "line 3: boolean(true)|null()", "line 4: other()|missing()"}},
		"JSONL, BOM":      {Options{Format: JSONL}, "\ufeff\n {\"text\": \"a\"}\n", []string{"text"}, []string{"line 2: a"}},
		"array":           {Options{Format: JSONL}, "\n[\n {\"text\": \"a\"},\n\n {\n\"text\": \"b\"}, 5,\n{\"text\": \"c\", \"text\": \"d\"}\n]\n", []string{"text"}, []string{"line 3: a", "line 5: b", "line 6! not a JSON object: it is a number", "line 7! not a JSON object: jsontext: duplicate object member name"}},
		"lines":           {Options{Format: Lines}, "a\r\n\nb", []string{"text"}, []string{"line 1: a", "line 2: ", "line 3: b"}},
		"no column":       {Options{Format: CSV}, "text\na\nb\n", nil, []string{"line 2: ", "line 3: "}},
		"objects, broken": {Options{Format: JSONL}, "nope\n[1]\n\"x\"\n{\"text\": \"a\"} {}\n{\"text\": \"b\"\n{\"text\": \"c\"}", []string{"text"}, []string{"line 1! not a JSON object", "line 2! not a JSON object: it is a list", "line 3! not a JSON object: it is a text", "line 4! not a JSON object: something follows the object", "line 5! not a JSON object", "line 6: c"}},
		"UTF-8":           {Options{Format: CSV}, "text,label\ncaf\xe9,b\na,\xff\nc,d\n", []string{"text", "label"}, []string{`line 2! column "text": table: unsupported encoding: byte 4 of the text, 0xe9, is not UTF-8; if the file is Windows-1252 or Latin-1, convert it with: iconv -f WINDOWS-1252 -t UTF-8`, `line 3! column "label": table: unsupported encoding: byte 1 of the text, 0xff`, "line 4: c|d"}},
		"UTF-8, JSONL":    {Options{Format: JSONL}, "{\"text\": \"caf\xe9\"}\n{\"text\": \"\\ud800\"}\n{\"text\": \"a\"}\n", []string{"text"}, []string{"line 1! table: unsupported encoding: byte 14", "line 2! not a JSON object", "line 3: a"}},
		"bare quote":      {Options{Format: CSV}, "text,label\nsay \"x\",b\nc,d\n", []string{"text"}, []string{"line 2! table: misplaced quote: at line 2, byte 5, inside a field that does not begin with one", "line 3: c"}},
		"text after end":  {Options{Format: CSV}, "text,label\n\"x\"y,b\nc,d\n", []string{"text"}, []string{"line 2! table: misplaced quote: the field that begins with a quote does not end with one before at line 2", "line 3: c"}},
		"open quote":      {Options{Format: CSV}, "text,label\na,b\n\"c,d\ne,f\n", []string{"text"}, []string{"line 2: a", "line 3! table: misplaced quote: the field that begins with a quote"}},
	} {
		for _, way := range []struct {
			name string
			wrap func(io.Reader) io.Reader
		}{{"whole", func(r io.Reader) io.Reader { return r }}, {"bytes", iotest.OneByteReader}, {"with its end", iotest.DataErrReader}} {
			t.Run(name+", "+way.name, func(t *testing.T) {
				got := read(way.wrap(strings.NewReader(c.text)), c.o, c.names...)
				if got.err != nil || len(got.records) != len(c.want) {
					t.Fatalf("%q, %v", got.records, got.err)
				}
				for i, want := range c.want {
					if whole := !strings.Contains(want, "!"); got.records[i] != want && (whole || !strings.HasPrefix(got.records[i], want)) {
						t.Errorf("%q, want %q", got.records[i], want)
					}
				}
			})
		}
	}
}

func TestTextRefused(t *testing.T) {
	utf16 := "\xff\xfet\x00e\x00x\x00t\x00"
	for name, c := range map[string]struct {
		o    Options
		text string
		kind error
		want string
	}{
		"empty":              {Options{Format: CSV}, "", ErrEmpty, ""},
		"only a mark":        {Options{Format: JSONL}, "\ufeff", ErrEmpty, ""},
		"only space":         {Options{Format: JSONL}, "\n \n", ErrEmpty, ""},
		"empty array":        {Options{Format: JSONL}, "[ ]", ErrEmpty, ""},
		"only line ends":     {Options{Format: CSV}, "\n\n", ErrEmpty, ""},
		"UTF-16":             {Options{Format: CSV}, utf16, ErrEncoding, "iconv -f UTF-16 -t UTF-8"},
		"UTF-16LE, unmarked": {Options{Format: CSV}, "t\x00e\x00x\x00t\x00", ErrEncoding, "iconv -f UTF-16LE -t UTF-8"},
		"UTF-16BE, unmarked": {Options{Format: JSONL}, "\x00t\x00e\x00x\x00t", ErrEncoding, "UTF-16BE"},
		"UTF-32":             {Options{Format: CSV}, "\xff\xfe\x00\x00t\x00\x00\x00", ErrEncoding, "UTF-32"},
		"gzip":               {Options{Format: JSONL}, "\x1f\x8b\x08\x00", ErrEncoding, "gunzip"},
		"workbook":           {Options{Format: CSV}, "PK\x03\x04", ErrEncoding, "save the sheet as CSV UTF-8"},
		"Parquet as CSV":     {Options{Format: CSV}, "PAR1....", ErrEncoding, "give its format as parquet"},
		"header":             {Options{Format: CSV}, "te\xe9,label\na,b\n", ErrFile, "line 1: the name of column 1"},
		"header, quote":      {Options{Format: CSV}, "te\"xt,label\na,b\n", ErrQuote, "line 1: header"},
		"delimiter":          {Options{Format: CSV, Delimiter: '"'}, "a", ErrFormat, "delimiter"},
		"quotes":             {Options{Format: CSV, Quotes: "some"}, "a", ErrFormat, `"none"`},
		"format":             {Options{Format: "xml"}, "a", ErrFormat, "csv, tsv, jsonl and parquet"},
		"twice":              {Options{Format: CSV}, "text,a,text\n1,2,3\n", ErrColumn, "number 1 and 3"},
		"absent":             {Options{Format: CSV}, "a,b\n1,2\n", ErrColumn, `["a" "b"]`},
		"array, broken":      {Options{Format: JSONL}, "[{\"text\": \"a\"},\n{\"text\": }]", ErrFile, "line 2"},
		"array, cut":         {Options{Format: JSONL}, "[{\"text\": \"a\"},\n{\"te", ErrFile, "line 2"},
		"array, open":        {Options{Format: JSONL}, "[{\"text\": \"a\"}", ErrFile, "the array of rows is broken"},
		"array and more":     {Options{Format: JSONL}, "[{\"text\": \"a\"}] {}", ErrFile, "follows"},
		"long line":          {Options{Format: JSONL, MaxRecord: 100}, "{\"text\": \"" + strings.Repeat("x", 100), ErrTooLong, "line 1"},
		"long element":       {Options{Format: JSONL, MaxRecord: 100}, "[{\"text\": \"" + strings.Repeat("x", 10000) + "\"}]", ErrTooLong, "100 bytes"},
		"long row":           {Options{Format: CSV, MaxRecord: 100}, "text\na\n" + strings.Repeat("x", 10000), ErrTooLong, "line 3"},
		"long row, plain":    {Options{Format: CSV, MaxRecord: 100, Quotes: QuotesNone}, "text\na\n" + strings.Repeat("x", 101), ErrTooLong, "line 3"},
		"stream of Parquet":  {Options{Format: Parquet}, "PAR1", ErrFile, "not a stream"},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(iotest.HalfReader(strings.NewReader(c.text)), c.o, "text")
			if !errors.Is(got.err, c.kind) || !strings.Contains(got.err.Error(), c.want) {
				t.Errorf("%v", got.err)
			}
		})
	}
}

// TestReadingFails: what goes wrong with reading is no fault of the file.
func TestReadingFails(t *testing.T) {
	broken := errors.New("the line was cut")
	for _, c := range []struct {
		format Format
		text   string
	}{{CSV, "text\na\n"}, {JSONL, "{\"text\": \"a\"}\n"}, {JSONL, "[{\"text\": \"a\"},"}, {JSONL, "[{\"text\": \"a\"}]"}, {Lines, "a\n"}, {CSV, ""}} {
		got := read(io.MultiReader(strings.NewReader(c.text), iotest.ErrReader(broken)), Options{Format: c.format}, "text")
		if !errors.Is(got.err, broken) || !errors.Is(got.err, ErrRead) {
			t.Errorf("%s %q: %v", c.format, c.text, got.err)
		}
	}
}

// endless repeats a text for ever.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.text[e.at]
		e.at = (e.at + 1) % len(e.text)
	}
	return len(p), nil
}

// TestMemory reads more than it may hold, and rows that never end.
func TestMemory(t *testing.T) {
	const size = 192 << 20
	for name, c := range map[string]struct {
		o    Options
		text io.Reader
		end  error
	}{
		"CSV":            {Options{Format: CSV}, io.LimitReader(io.MultiReader(strings.NewReader("text,label\n"), &endless{text: "some text,b\n"}), size), nil},
		"JSONL":          {Options{Format: JSONL}, io.LimitReader(&endless{text: "{\"text\": \"some text that is not so short\", \"label\": \"b\"}\n"}, size/4), nil},
		"array":          {Options{Format: JSONL}, io.MultiReader(strings.NewReader("[{}"), io.LimitReader(&endless{text: ",\n{\"text\": \"some text that is not so short\"}"}, size/4)), ErrFile},
		"one line":       {Options{Format: JSONL}, io.MultiReader(strings.NewReader("{"), &endless{text: " "}), ErrTooLong},
		"one element":    {Options{Format: JSONL}, io.MultiReader(strings.NewReader("[\""), &endless{text: "x"}), ErrTooLong},
		"space in array": {Options{Format: JSONL}, io.MultiReader(strings.NewReader("["), &endless{text: " "}), ErrTooLong},
		"only space":     {Options{Format: JSONL}, &endless{text: " \n"}, ErrTooLong},
		"one quote":      {Options{Format: CSV}, io.MultiReader(strings.NewReader("text,label\n\""), &endless{text: "a,b\n"}), ErrTooLong},
		"one field":      {Options{Format: CSV}, &endless{text: "x"}, ErrTooLong},
		"one line end":   {Options{Format: TSV, Quotes: QuotesNone}, &endless{text: "x\t"}, ErrTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.MaxRecord = 1 << 20
			peak := heapPeak(t, func() {
				reader, err := Open(c.text, c.o)
				for err == nil {
					_, err = reader.Next()
				}
				if c.end == nil && !errors.Is(err, io.EOF) || c.end != nil && !errors.Is(err, c.end) {
					t.Error(err)
				}
			})
			if peak > 64<<20 {
				t.Errorf("%d MiB were in use at once", peak>>20)
			}
		})
	}
}

// heapPeak tells how many bytes more than before the process had from the system.
func heapPeak(t *testing.T, f func()) uint64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if after.HeapSys < before.HeapSys {
		return 0
	}
	return after.HeapSys - before.HeapSys
}

func TestFormats(t *testing.T) {
	for name, want := range map[string]Format{"a.csv": CSV, "b/A.TSV": TSV, "a.jsonl": JSONL, "a.ndjson": JSONL, "a.json": JSONL, "a.parquet": Parquet, "a.txt": "", "csv": "", "a.lines": ""} {
		got, err := FormatOf(name)
		if got != want || (want == "") != errors.Is(err, ErrFormat) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestRecordsKeepWhatWasRead(t *testing.T) {
	csv, err := Open(strings.NewReader("a,text\n1,x\n2,y\n"), Options{Format: CSV})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := csv.Next()
	_, _ = csv.Next()
	if !slices.Equal(first.Fields, []string{"1", "x"}) || first.Row != 1 {
		t.Errorf("%+v", first)
	}
	object := `{"b": {"x": [1, 2]},  "a": "x"}`
	json, err := Open(strings.NewReader(object+"\n{}\n"), Options{Format: JSONL})
	if err != nil {
		t.Fatal(err)
	}
	if got := json.Columns(); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("%q", got)
	}
	first, _ = json.Next()
	_, _ = json.Next()
	if string(first.Object) != object || !slices.Equal(first.Keys, []string{"b", "a"}) {
		t.Errorf("%s, %q", first.Object, first.Keys)
	}
}

func fixture(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".parquet"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestParquet(t *testing.T) {
	want := []string{"row 1: I love it|positive", "row 2: Ärger mit der Tür|negative", "row 3: null()|neutral", "row 4: |null()", "row 5: fine\nthen|neutral", "row 6: 👍 great|positive"}
	for _, name := range []string{"plain", "dictionary", "pages_v2", "gzip", "large", "binary"} {
		got := read(fixture(t, name), Options{Format: Parquet}, "text", "label")
		if got.err != nil || !slices.Equal(got.records, want) || !slices.Equal(got.columns, []string{"text", "label"}) {
			t.Errorf("%s: %q, %q, %v", name, got.columns, got.records, got.err)
		}
	}
}

func TestParquetGroups(t *testing.T) {
	got := read(fixture(t, "groups"), Options{Format: Parquet}, "label", "text")
	if got.err != nil || len(got.records) != 5000 {
		t.Fatalf("%d rows, %v", len(got.records), got.err)
	}
	for i, record := range got.records {
		if want := fmt.Sprintf("row %d: number(%d)|text number %d", i+1, i%3, i%700); record != want {
			t.Fatalf("%q, want %q", record, want)
		}
	}
}

func TestParquetTypes(t *testing.T) {
	names := []string{"text", "int", "unsigned", "float", "half", "bool", "time", "decimal"}
	want := []string{
		"row 1: a|number(-1)|number(18446744073709551615)|number(0.5)|number(0.1)|boolean(true)|other()|other()",
		"row 2: b|number(2)|null()|number(1)|number(3)|boolean(false)|other()|other()",
	}
	if got := read(fixture(t, "types"), Options{Format: Parquet}, names...); got.err != nil || !slices.Equal(got.records, want) {
		t.Errorf("%q, %v", got.records, got.err)
	}
	for _, nested := range []string{"list", "struct", "element"} {
		if got := read(fixture(t, "types"), Options{Format: Parquet}, nested); !errors.Is(got.err, ErrColumn) || !strings.Contains(got.err.Error(), nested) {
			t.Errorf("%s: %v", nested, got.err)
		}
	}
	if got := read(fixture(t, "empty"), Options{Format: Parquet}, "text"); got.err != nil || len(got.records) != 0 {
		t.Errorf("%q, %v", got.records, got.err)
	}
	got := read(fixture(t, "latin1"), Options{Format: Parquet}, "text")
	if got.err != nil || !slices.Contains(got.records, "row 1: ok") || !strings.Contains(got.records[1], "0xe9, is not UTF-8") {
		t.Errorf("%q, %v", got.records, got.err)
	}
}

// TestParquetDamaged cuts a file at every length, and flips every byte: there is an
// error, or rows, but never a panic.
func TestParquetDamaged(t *testing.T) {
	for _, name := range []string{"plain", "dictionary", "pages_v2"} {
		data, err := os.ReadFile(filepath.Join("testdata", name+".parquet"))
		if err != nil {
			t.Fatal(err)
		}
		for n := range data {
			got := read(strings.NewReader(string(data[:n])), Options{Format: Parquet}, "text", "label")
			if !errors.Is(got.err, ErrFile) && !errors.Is(got.err, ErrEmpty) {
				t.Errorf("%s, %d bytes of it: %v", name, n, got.err)
			}
		}
		for n := range data {
			flipped := slices.Clone(data)
			flipped[n] ^= 0x11
			got := read(strings.NewReader(string(flipped)), Options{Format: Parquet}, "text", "label")
			if got.err == nil && len(got.records) != 6 {
				t.Errorf("%s, byte %d flipped: %q", name, n, got.records)
			}
		}
	}
	for text, want := range map[string]string{
		"text,label\na,b\n": "does not begin", "PAR1" + strings.Repeat("x", 20): "cut", "PARE....PARE": "encrypted",
		"PAR1\xff\xff\xff\xffPAR1": "more than the file", "PAR1": "too few", "PAR1\x00\x00\x00\x00PAR1": "",
	} {
		if got := read(strings.NewReader(text), Options{Format: Parquet}); !errors.Is(got.err, ErrFile) || !strings.Contains(got.err.Error(), want) {
			t.Errorf("%q: %v", text, got.err)
		}
	}
}

// TestParquetPagesAreBounded: pages are unpacked as a whole.
func TestParquetPagesAreBounded(t *testing.T) {
	got := read(fixture(t, "groups"), Options{Format: Parquet, MaxRecord: 256}, "text")
	if !errors.Is(got.err, ErrFile) || !strings.Contains(got.err.Error(), "smaller pages") {
		t.Errorf("%v", got.err)
	}
	got = read(fixture(t, "long"), Options{Format: Parquet, MaxRecord: 999}, "text")
	if got.err != nil || got.records[0] != "row 1: short" || !strings.Contains(got.records[1], "more than 999 bytes") {
		t.Errorf("%q, %v", got.records, got.err)
	}
	got = read(fixture(t, "plain"), Options{Format: Parquet, MaxRecord: math.MaxInt32}, "label")
	if got.err != nil {
		t.Error(got.err)
	}
}
