package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// Word is a white-space word of a text with the tokens that begin in it.
type Word struct {
	// Span holds the word's bytes in the text.
	Span
	// FirstToken and EndToken are the half-open range of indices, in the encoding, of the word's tokens.
	FirstToken, EndToken int
}

// Words merges the tokens of text, the very text that e encodes, into its white-space words, in the order of the text
// and without words that have no token (because the normaliser removed them, or MaxTokens cut them off). A token
// belongs to the word that its span begins in, or to the next one where it begins with white space, as a word's first
// token may; white space after the last word counts for that word. The template's special tokens belong to none.
func (e *Encoding) Words(text string) []Word {
	var words []Word
	word := nextWord(text, 0)
	taken := false // whether word is the last of words
	for i := e.bodyStart; i < e.bodyEnd; i++ {
		for word.End <= e.Offsets[i].Start {
			next := nextWord(text, int(word.End))
			if next.Start == next.End {
				break
			}
			word, taken = next, false
		}
		switch {
		case taken:
			words[len(words)-1].EndToken = i + 1
		case word.Start < word.End:
			words = append(words, Word{Span: word, FirstToken: i, EndToken: i + 1})
			taken = true
		}
	}
	return words
}

// nextWord returns the first white-space word of text from byte from on, or an empty span at the end.
func nextWord(text string, from int) Span {
	start := from + leadingSpace(text[from:])
	end := start
	for end < len(text) && !startsWithSpace(text[end:]) {
		_, w := utf8.DecodeRuneInString(text[end:])
		end += w
	}
	return Span{int32(start), int32(end)}
}

func startsWithSpace(s string) bool {
	if s[0] < utf8.RuneSelf {
		return s[0] == ' ' || s[0] >= '\t' && s[0] <= '\r'
	}
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.Is(unicode.White_Space, r)
}
