package tokenizer

import "bytes"

// prependScheme says which words get the word marker put before them.
type prependScheme string

const (
	prependAlways prependScheme = "always"
	prependFirst  prependScheme = "first" // only what begins at byte 0 of the text
	prependNever  prependScheme = "never"
)

// preTokenizer cuts a normalised text into the units that the model segments one by one: first, if wanted, at white
// space (WhitespaceSplit); then each U+0020 left becomes the word marker, one is put before the first character, and
// the text is cut before every marker (Metaspace).
type preTokenizer struct {
	whitespaceSplit bool
	prepend         prependScheme
}

// split calls yield with each unit and its spans, until yield returns false. It uses buf, and units are valid only
// until yield returns.
func (p preTokenizer) split(a, buf *aligned, yield func(text []byte, spans []Span) bool) {
	if !p.whitespaceSplit {
		p.metaspace(a.text, a.spans, buf)
		cutBeforeMarkers(buf, yield)
		return
	}
	for i := 0; i < len(a.text); {
		if w := spaceWidth(a.text[i:]); w > 0 {
			i += w
			continue
		}
		end := wordEnd(a.text, i)
		p.metaspace(a.text[i:end], a.spans[i:end], buf)
		if !cutBeforeMarkers(buf, yield) {
			return
		}
		i = end
	}
}

// wordEnd returns where the white-space word that contains byte i of text ends.
func wordEnd(text []byte, i int) int {
	for i < len(text) && spaceWidth(text[i:]) == 0 {
		i += runeWidth(text[i])
	}
	return i
}

// metaspace sets out to text with every U+0020 replaced by the word marker, and one before it where it has none.
func (p preTokenizer) metaspace(text []byte, spans []Span, out *aligned) {
	out.reset()
	if len(text) == 0 {
		return
	}
	if text[0] != ' ' && !hasMarker(text) && (p.prepend == prependAlways || p.prepend == prependFirst && spans[0].Start == 0) {
		out.appendString(wordMarker, spans[0])
	}
	for i := bytes.IndexByte(text, ' '); i >= 0; i = bytes.IndexByte(text, ' ') {
		out.append(text[:i], spans[:i])
		out.appendString(wordMarker, spans[i])
		text, spans = text[i+1:], spans[i+1:]
	}
	out.append(text, spans)
}

func cutBeforeMarkers(a *aligned, yield func(text []byte, spans []Span) bool) bool {
	for i := 0; i < len(a.text); {
		end := len(a.text)
		first := runeWidth(a.text[i])
		if k := bytes.Index(a.text[i+first:], []byte(wordMarker)); k >= 0 {
			end = i + first + k
		}
		if !yield(a.text[i:end], a.spans[i:end]) {
			return false
		}
		i = end
	}
	return true
}

func hasMarker(b []byte) bool { return len(b) >= 3 && string(b[:3]) == wordMarker }
