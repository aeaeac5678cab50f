package tokenizer

import "testing"

// TestDecode has what the case files lack; they check the decoding of every encoding.
func TestDecode(t *testing.T) {
	main, never := loadTokenizer(t, "testdata/tokenizer.json"), layoutNamed(t, "converted")
	id := func(tok *Tokenizer, piece string) int32 {
		n, ok := tok.ID(piece)
		if !ok {
			t.Fatalf("no piece %q", piece)
		}
		return n
	}
	a := id(main, "▁de")
	for _, c := range []struct {
		name string
		tok  *Tokenizer
		ids  []int32
		skip bool
		want string
	}{
		{"nothing", main, nil, true, ""},
		{"first marker vanishes", main, []int32{a, a}, true, "de de"},
		{"first marker is kept", never, []int32{id(never, "▁de"), id(never, "▁de")}, true, " de de"},
		{"special tokens are skipped before the first is told", main, []int32{0, a, 1}, true, "de"},
		{"special tokens are kept", main, []int32{0, a, 1}, false, "<pad> de</s>"},
		{"ids outside the vocabulary", main, []int32{-5, a, 16100, 1 << 30}, false, "de"},
		{"added token that is not special", main, []int32{16099}, true, "<extra_id_0>"},
	} {
		if got := c.tok.Decode(c.ids, c.skip); got != c.want {
			t.Errorf("%s: Decode(%v, %v) = %q, want %q", c.name, c.ids, c.skip, got, c.want)
		}
	}
}
