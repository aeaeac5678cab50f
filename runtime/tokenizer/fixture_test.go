package tokenizer

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unicode/utf8"
)

// fixtureCase is one text with what the oracle gives for it; see testdata/README.md.
type fixtureCase struct {
	Cat     string
	Text    string
	IDs     []int32
	Offsets []int // code points: start, end, start, end ...
	Dec     string
}

func loadTokenizer(tb testing.TB, path string) *Tokenizer {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	tok, err := Parse(data)
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

// readLines decodes a file of one JSON value a line.
func readLines[T any](tb testing.TB, path string) []T {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	var all []T
	for line := range bytes.Lines(data) {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			tb.Fatalf("%s: line %d: %v", path, len(all)+1, err)
		}
		all = append(all, v)
	}
	return all
}

// codePoints converts byte spans of text to the form of the fixtures.
func codePoints(text string, spans []Span) []int {
	out := make([]int, 0, 2*len(spans))
	for _, s := range spans {
		out = append(out, utf8.RuneCountInString(text[:s.Start]), utf8.RuneCountInString(text[:s.End]))
	}
	return out
}

func checkCases(t *testing.T, tok *Tokenizer, cases []fixtureCase) {
	t.Helper()
	var e Encoding
	for _, c := range cases {
		if err := tok.EncodeInto(&e, c.Text, Options{AddSpecial: true}); err != nil {
			t.Errorf("%s: Encode(%q): %v", c.Cat, c.Text, err)
			continue
		}
		if !slices.Equal(e.IDs, c.IDs) {
			t.Errorf("%s: Encode(%q).IDs = %v, want %v", c.Cat, c.Text, e.IDs, c.IDs)
		} else if got := codePoints(c.Text, e.Offsets); !slices.Equal(got, c.Offsets) {
			t.Errorf("%s: Encode(%q).Offsets = %v, want %v", c.Cat, c.Text, got, c.Offsets)
		}
		if got := tok.Decode(c.IDs, true); got != c.Dec {
			t.Errorf("%s: Decode(%v) = %q, want %q", c.Cat, c.IDs, got, c.Dec)
		}
	}
}

func TestFixture(t *testing.T) {
	cases := readLines[fixtureCase](t, "testdata/cases.jsonl")
	if len(cases) < 5000 {
		t.Fatalf("only %d cases", len(cases))
	}
	checkCases(t, loadTokenizer(t, "testdata/tokenizer.json"), cases)
}

// TestRealVocabulary runs the same texts on mT5's own vocabulary, which is too large to be committed: see the README
// of testdata for the two files that VALENCE_MT5_TOKENIZER names, a folder.
func TestRealVocabulary(t *testing.T) {
	dir := os.Getenv("VALENCE_MT5_TOKENIZER")
	if dir == "" {
		return
	}
	tok := loadTokenizer(t, filepath.Join(dir, "tokenizer.json"))
	checkCases(t, tok, readLines[fixtureCase](t, filepath.Join(dir, "cases.jsonl")))
	for text, want := range map[string][]int32{"negative": {259, 32588, 1}, "neutral": {59006, 1}, "positive": {18205, 1}} {
		if e, err := tok.Encode(text, Options{AddSpecial: true}); err != nil || !slices.Equal(e.IDs, want) {
			t.Errorf("Encode(%q) = %v, %v, want %v", text, e, err, want)
		}
	}
}
