package tokenizer

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
)

// cutTokens is CUT of testdata/make_layouts.py.
const cutTokens = 6

type layout struct {
	Name  string
	Patch map[string]json.RawMessage
	Cases []struct {
		fixtureCase
		Cut []int32
	}
}

// patched returns testdata/t5/tokenizer.json with some members replaced.
func patched(tb testing.TB, patch map[string]json.RawMessage) []byte {
	tb.Helper()
	data, err := os.ReadFile("testdata/t5/tokenizer.json")
	if err != nil {
		tb.Fatal(err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		tb.Fatal(err)
	}
	maps.Copy(members, patch)
	if data, err = json.Marshal(members); err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestLayouts(t *testing.T) {
	for _, l := range readLines[layout](t, "testdata/t5/layouts.jsonl") {
		t.Run(l.Name, func(t *testing.T) {
			tok, err := Parse(patched(t, l.Patch))
			if err != nil {
				t.Fatal(err)
			}
			var cases []fixtureCase
			for _, c := range l.Cases {
				cases = append(cases, c.fixtureCase)
				checkCut(t, tok, c.fixtureCase, c.Cut)
			}
			checkCases(t, tok, cases)
		})
	}
}

// checkCut checks truncation, and that it cuts ids and offsets only.
func checkCut(t *testing.T, tok *Tokenizer, c fixtureCase, want []int32) {
	t.Helper()
	e, err := tok.Encode(c.Text, Options{AddSpecial: true, MaxTokens: cutTokens})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(e.IDs, want) {
		t.Errorf("Encode(%q) cut to %d = %v, want %v", c.Text, cutTokens, e.IDs, want)
	}
	if truncated := len(c.IDs) > cutTokens; e.Truncated != truncated {
		t.Errorf("Encode(%q) cut to %d: Truncated = %v", c.Text, cutTokens, e.Truncated)
	}
	_, end := e.Body()
	if got := codePoints(c.Text, e.Offsets[:end]); !slices.Equal(got, c.Offsets[:2*end]) {
		t.Errorf("Encode(%q) cut to %d: offsets %v, want %v", c.Text, cutTokens, got, c.Offsets[:2*end])
	}
}

func TestScores(t *testing.T) {
	type score struct{ Number, Value string }
	inexact := 0
	for _, s := range readLines[score](t, "testdata/scores.jsonl") {
		want, err := strconv.ParseFloat(s.Value, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseScore([]byte(s.Number)); err != nil || got != want {
			t.Errorf("parseScore(%s) = %x, %v, want %s", s.Number, got, err, s.Value)
		}
		if nearest, _ := strconv.ParseFloat(s.Number, 64); nearest != want {
			inexact++
		}
	}
	if inexact == 0 {
		t.Error("no number that the oracle reads inexactly")
	}
}
