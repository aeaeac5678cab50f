package datasets

import (
	"crypto/sha256"
	"hash/maphash"
	"unicode"
	"unicode/utf8"
)

// fingerprint is what is remembered of a text: the beginning of a SHA-256.
type fingerprint [16]byte

// folder makes prints of texts that are equal but for case, space and punctuation. It is
// not safe for concurrent use.
type folder struct{ buffer []byte }

func (f *folder) fingerprint(text string) fingerprint {
	f.buffer = appendFolded(f.buffer[:0], text)
	sum := sha256.Sum256(f.buffer)
	return fingerprint(sum[:])
}

// Fold gives a text in lower case, with each run of space and punctuation as one space
// and none at its ends: two texts are near duplicates if this is the same. A text of
// nothing else keeps its punctuation, for ":)" is not ":(".
func Fold(text string) string { return string(appendFolded(nil, text)) }

func appendFolded(out []byte, text string) []byte {
	start := len(out)
	out = appendWords(out, text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsPunct(r) })
	if len(out) == start {
		out = appendWords(out, text, unicode.IsSpace)
	}
	return out
}

func appendWords(out []byte, text string, gap func(rune) bool) []byte {
	start, apart := len(out), false
	for _, r := range text {
		if gap(r) {
			apart = true
			continue
		}
		if apart && len(out) > start {
			out = append(out, ' ')
		}
		apart = false
		out = utf8.AppendRune(out, unicode.ToLower(r))
	}
	return out
}

// exact is a fingerprint of a text letter by letter, to tell apart texts that fold alike. It
// needs no more bits: it is compared only among those.
type exact struct{ seed maphash.Seed }

func (e exact) fingerprint(text string) uint64 { return maphash.String(e.seed, text) }
