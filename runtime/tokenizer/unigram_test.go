package tokenizer

import (
	"slices"
	"testing"
)

// TestUnigram has what real vocabularies hardly show. The wanted ids and spans are what tokenizers gives.
func TestUnigram(t *testing.T) {
	type piece struct {
		text  string
		score float64
	}
	for _, c := range []struct {
		name   string
		pieces []piece // the first is unknown
		text   string
		ids    []int32
		spans  []Span
	}{
		{"unknown characters that begin a piece", []piece{{"<unk>", 0}, {"ab", -1}, {"bc", -.5}}, "abc", []int32{0, 2}, []Span{{0, 1}, {1, 3}}},
		{"a run of unknown characters that is a piece", []piece{{"<unk>", 40}, {"xy", 30}, {"z", 35}}, "xyz", []int32{1, 2}, []Span{{0, 2}, {2, 3}}},
		{"a run of unknown characters", []piece{{"<unk>", 0}, {"a", -1}}, "aXÉa", []int32{1, 0, 1}, []Span{{0, 1}, {1, 4}, {4, 5}}},
		{"a run with the unknown piece in it", []piece{{"<unk>", 0}, {"a", -1}}, "X<unk>Y", []int32{0}, []Span{{0, 7}}},
		{"ties", []piece{{"<unk>", 0}, {"ab", -1}, {"a", -.5}, {"b", -.5}}, "abab", []int32{1, 1}, []Span{{0, 2}, {2, 4}}},
		{"a piece that comes twice", []piece{{"<unk>", 0}, {"a", -1}, {"a", -3}}, "a", []int32{2}, []Span{{0, 1}}},
		{"nothing", []piece{{"<unk>", 0}}, "", nil, nil},
	} {
		var v vocabulary
		for _, p := range c.pieces {
			v.add([]string{p.text})
			v.scores = append(v.scores, p.score)
		}
		tok := &Tokenizer{vocab: v, model: newUnigram(&v, 0)}
		e, err := tok.Tokenize(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(e.IDs, c.ids) || !slices.Equal(e.Offsets, c.spans) {
			t.Errorf("%s: Tokenize(%q) = %v %v, want %v %v", c.name, c.text, e.IDs, e.Offsets, c.ids, c.spans)
		}
	}
}
