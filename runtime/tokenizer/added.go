package tokenizer

import (
	"fmt"
	"unicode/utf8"
)

// addedToken is an entry of added_tokens: a string that is cut out of the text before anything else.
type addedToken struct {
	ID         int32
	Content    string
	SingleWord bool `json:"single_word"`
	LStrip     bool // takes the white space before it along
	RStrip     bool // takes the white space after it along
	Normalized bool
	Special    bool
}

// check refuses what splitAdded does not do.
func (a *addedToken) check() error {
	switch {
	case a.Content == "":
		return fmt.Errorf("%w: token %d is empty", ErrFormat, a.ID)
	case a.SingleWord:
		return fmt.Errorf("%w: single_word of %q", ErrUnsupported, a.Content)
	case a.Normalized:
		return fmt.Errorf("%w: normalized of %q", ErrUnsupported, a.Content)
	case startsWithSpace(a.Content) || trimRightSpace(a.Content) < len(a.Content):
		return fmt.Errorf("%w: white space at the ends of %q", ErrUnsupported, a.Content)
	}
	return nil
}

// addedTokens finds added tokens; its trie's ids are indices of list.
type addedTokens struct {
	list []addedToken
	trie *trie
}

func newAddedTokens(list []addedToken) addedTokens {
	return addedTokens{list, buildTrie(len(list), func(i int32) string { return list[i].Content })}
}

// splitAdded encodes text, which is valid UTF-8: at each position the longest added token wins, and what lies between
// them goes through the other stages.
func (enc *encoder) splitAdded(text string) {
	added := &enc.t.added
	done := 0
	for i := 0; i < len(text) && !enc.full(); {
		k, n := added.trie.longestPrefix(text[i:])
		if k < 0 {
			i++
			continue
		}
		tok := &added.list[k]
		start, end := i, i+n
		if tok.LStrip {
			start = done + trimRightSpace(text[done:start])
		}
		if tok.RStrip {
			end += leadingSpace(text[end:])
		}
		if done < start {
			enc.segment(text[done:start], done)
		}
		enc.emit(tok.ID, Span{int32(start), int32(end)})
		done, i = end, end
	}
	if done < len(text) && !enc.full() {
		enc.segment(text[done:], done)
	}
}

// trimRightSpace returns the length of s without the white space at its end.
func trimRightSpace(s string) int {
	for len(s) > 0 {
		_, w := utf8.DecodeLastRuneInString(s)
		if !startsWithSpace(s[len(s)-w:]) {
			break
		}
		s = s[:len(s)-w]
	}
	return len(s)
}

// leadingSpace returns the length of the white space that s begins with.
func leadingSpace(s string) int {
	n := 0
	for n < len(s) && startsWithSpace(s[n:]) {
		n += runeWidth(s[n])
	}
	return n
}
