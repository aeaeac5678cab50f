package tokenizer

import (
	"sort"
	"unicode/utf8"
)

// repairer rewrites invalid UTF-8 and maps offsets in the result back to the original bytes.
type repairer struct {
	text  []byte
	fixes []fix
}

// fix is one replacement: the end of the U+FFFD in the repaired text and the end of the invalid part in the original.
type fix struct{ repaired, original int32 }

// run returns s with every maximal invalid part replaced by U+FFFD, as Python's errors="replace" and the WHATWG
// decoder have it. (strings.ToValidUTF8 merges neighbouring parts; ranging over a string gives one for each byte.)
func (r *repairer) run(s string) string {
	r.text, r.fixes = r.text[:0], r.fixes[:0]
	for i := 0; i < len(s); {
		c, w := utf8.DecodeRuneInString(s[i:])
		if c == utf8.RuneError && w == 1 {
			i += invalidPrefix(s[i:])
			r.text = utf8.AppendRune(r.text, utf8.RuneError)
			r.fixes = append(r.fixes, fix{int32(len(r.text)), int32(i)})
			continue
		}
		r.text = append(r.text, s[i:i+w]...)
		i += w
	}
	return string(r.text)
}

// restore turns spans of the repaired text, which lie on its character boundaries, into spans of the original.
func (r *repairer) restore(spans []Span) {
	for i, s := range spans {
		spans[i] = Span{r.original(s.Start), r.original(s.End)}
	}
}

func (r *repairer) original(pos int32) int32 {
	k := sort.Search(len(r.fixes), func(k int) bool { return r.fixes[k].repaired > pos })
	if k == 0 {
		return pos
	}
	return r.fixes[k-1].original + pos - r.fixes[k-1].repaired
}

// invalidPrefix returns the length of the maximal subpart of an ill-formed sequence at the start of s, as defined in
// the Unicode standard, section 3.9, table 3-7: the longest prefix that could begin a well-formed sequence, at least 1.
func invalidPrefix(s string) int {
	lo, hi := byte(0x80), byte(0xBF) // what may follow the first byte
	width := 1
	switch c := s[0]; {
	case c >= 0xC2 && c <= 0xDF:
		width = 2
	case c >= 0xE0 && c <= 0xEF:
		width = 3
	case c >= 0xF0 && c <= 0xF4:
		width = 4
	}
	switch s[0] {
	case 0xE0:
		lo = 0xA0
	case 0xED:
		hi = 0x9F
	case 0xF0:
		lo = 0x90
	case 0xF4:
		hi = 0x8F
	}
	n := 1
	for ; n < width && n < len(s) && s[n] >= lo && s[n] <= hi; n++ {
		lo, hi = 0x80, 0xBF
	}
	return n
}
