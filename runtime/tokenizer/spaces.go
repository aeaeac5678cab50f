package tokenizer

import (
	"bytes"
	"unicode/utf8"
)

// stripSpaces is the normaliser step Strip: it removes white space from the ends.
type stripSpaces struct{ left, right bool }

func (s stripSpaces) apply(a, _ *aligned) {
	start, end := 0, len(a.text)
	for s.right && end > 0 {
		_, w := utf8.DecodeLastRune(a.text[:end])
		if spaceWidth(a.text[end-w:end]) == 0 {
			break
		}
		end -= w
	}
	for s.left && start < end {
		w := spaceWidth(a.text[start:end])
		if w == 0 {
			break
		}
		start += w
	}
	a.text = a.text[:copy(a.text, a.text[start:end])]
	a.spans = a.spans[:copy(a.spans, a.spans[start:end])]
}

// collapseSpaces is the normaliser step Replace with the pattern " {2,}": each run of two or more U+0020 becomes one
// string, which stands for the run's last space.
type collapseSpaces struct{ to string }

func (c collapseSpaces) apply(a, spare *aligned) {
	i := bytes.Index(a.text, []byte("  "))
	if i < 0 {
		return
	}
	spare.reset()
	done := 0
	for i >= 0 {
		end := done + i + 2
		for end < len(a.text) && a.text[end] == ' ' {
			end++
		}
		spare.append(a.text[done:done+i], a.spans[done:done+i])
		spare.appendString(c.to, a.spans[end-1])
		done = end
		i = bytes.Index(a.text[done:], []byte("  "))
	}
	spare.append(a.text[done:], a.spans[done:])
	*a, *spare = *spare, *a
}
