//go:build !race

package tokenizer

import "testing"

// The race detector makes sync.Pool drop entries at random, hence the build tag.
func TestEncodeIntoAllocatesNothing(t *testing.T) {
	tok := loadTokenizer(t, "testdata/tokenizer.json")
	var e Encoding
	for _, c := range readLines[fixtureCase](t, "testdata/cases.jsonl")[:2000] {
		encode := func() {
			if err := tok.EncodeInto(&e, c.Text, Options{AddSpecial: true, ForbidSpecial: true, MaxTokens: 128}); err != nil {
				t.Fatal(err)
			}
		}
		if n := testing.AllocsPerRun(5, encode); n > 0 {
			t.Errorf("%v allocations for %q", n, c.Text)
		}
	}
}
