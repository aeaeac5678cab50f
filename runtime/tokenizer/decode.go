package tokenizer

import "strings"

// metaspaceDecoder is the Metaspace decoder: word markers become spaces, but those of the first token vanish unless
// the file puts none before a text.
type metaspaceDecoder struct{ keepFirst bool }

// Decode returns the text of ids, as the oracle does. Ids outside the vocabulary are left out, and so are special
// tokens if skipSpecial is set. Normalisation is not undone: decoding an encoding need not give its text.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	var sb strings.Builder
	first := true
	for _, id := range ids {
		piece, ok := t.Piece(id)
		if !ok || skipSpecial && t.skipped[id] {
			continue
		}
		space := " "
		if first && !t.decoder.keepFirst {
			space = ""
		}
		first = false
		for i := strings.Index(piece, wordMarker); i >= 0; i = strings.Index(piece, wordMarker) {
			sb.WriteString(piece[:i])
			sb.WriteString(space)
			piece = piece[i+len(wordMarker):]
		}
		sb.WriteString(piece)
	}
	return sb.String()
}
