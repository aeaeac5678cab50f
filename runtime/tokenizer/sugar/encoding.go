package sugar

import (
	sugarme "github.com/sugarme/tokenizer"

	"valence/runtime/tokenizer"
)

// Encoding converts e, which t made from text. Offsets are bytes; Words holds for each token the index of its
// white-space word, as e.Words counts them, or -1; SpecialTokenMask marks what the template added.
func Encoding(t *tokenizer.Tokenizer, e *tokenizer.Encoding, text string) *sugarme.Encoding {
	n := len(e.IDs)
	ids, typeIDs, mask := make([]int, n), make([]int, n), make([]int, n)
	tokens, offsets := make([]string, n), make([][]int, n)
	special, words := make([]int, n), make([]int, n)
	bodyStart, bodyEnd := e.Body()
	for i, id := range e.IDs {
		ids[i], mask[i], words[i] = int(id), 1, -1
		tokens[i], _ = t.Piece(id)
		offsets[i] = []int{int(e.Offsets[i].Start), int(e.Offsets[i].End)}
		if i < bodyStart || i >= bodyEnd {
			special[i] = 1
		}
	}
	for k, w := range e.Words(text) {
		for i := w.FirstToken; i < w.EndToken; i++ {
			words[i] = k
		}
	}
	return sugarme.NewEncoding(ids, typeIDs, tokens, offsets, special, mask, nil, sugarme.WithWordsEncodingOpt(words))
}
