package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// wordMarker is the character (U+2581) that SentencePiece vocabularies have in place of the space before a word.
const wordMarker = "▁"

// aligned is a text under way through the stages: spans[i] is the part of the caller's text that text[i] stands for.
// All bytes of one character have the same span.
type aligned struct {
	text  []byte
	spans []Span
}

func (a *aligned) reset() { a.text, a.spans = a.text[:0], a.spans[:0] }

func (a *aligned) appendRune(r rune, s Span) {
	a.text = utf8.AppendRune(a.text, r)
	a.align(s)
}

func (a *aligned) appendString(text string, s Span) {
	a.text = append(a.text, text...)
	a.align(s)
}

func (a *aligned) append(text []byte, spans []Span) {
	a.text = append(a.text, text...)
	a.spans = append(a.spans, spans...)
}

// align gives s to every byte of text that has no span yet.
func (a *aligned) align(s Span) {
	for len(a.spans) < len(a.text) {
		a.spans = append(a.spans, s)
	}
}

// spaceWidth returns the width of the white-space character (Unicode property White_Space) at the start of b, or 0.
func spaceWidth(b []byte) int {
	if b[0] < utf8.RuneSelf {
		if b[0] == ' ' || b[0] >= '\t' && b[0] <= '\r' {
			return 1
		}
		return 0
	}
	r, w := utf8.DecodeRune(b)
	if unicode.Is(unicode.White_Space, r) {
		return w
	}
	return 0
}

// runeWidth returns the width that the first byte of a character in valid UTF-8 announces.
func runeWidth(first byte) int {
	switch {
	case first < 0x80:
		return 1
	case first < 0xE0:
		return 2
	case first < 0xF0:
		return 3
	default:
		return 4
	}
}
