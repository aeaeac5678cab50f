package tokenizer

import "unicode/utf8"

// longGrapheme is the size in bytes from which on a grapheme cluster is normalised rune by rune without being looked
// up whole, a rule of the oracle's Precompiled normaliser.
const longGrapheme = 6

// normalizer is the file's normaliser: a character map and the steps that follow it.
type normalizer struct {
	charsmap *charsmap
	steps    []normStep
}

// normStep rewrites a normalised text; what spare holds is lost.
type normStep interface{ apply(a, spare *aligned) }

// run sets a to the normalised form of s, which begins at byte off of the caller's text. What spare holds is lost.
func (n *normalizer) run(a, spare *aligned, s string, off int32) {
	a.reset()
	w := runeAligner{out: a, src: s, off: off, prev: Span{off, off}}
	m := n.charsmap
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf && m.keepASCII[c] && aloneBefore(s, i+1) {
			w.push(rune(c), 0)
			i++
			continue
		}
		g := graphemeLen(s[i:])
		w.grapheme(m, s[i:i+g])
		i += g
	}
	w.flush()
	for _, step := range n.steps {
		step.apply(a, spare)
	}
}

// aloneBefore tells that an ASCII character that keeps itself and ends before byte i of s is a grapheme cluster of
// its own: only a non-ASCII character, or LF after CR, can join it.
func aloneBefore(s string, i int) bool {
	return i == len(s) || s[i] < utf8.RuneSelf && s[i] != '\n'
}

// runeAligner writes normalised runes with the oracle's rule for alignment: each rune comes with a change, 0 when it
// replaces one rune of the source, 1 when it is inserted, -n when it replaces one and n more are removed after it. A
// removal is thus booked on the rune before it, and lost where there is none; the alignment of what follows is then
// late by the runes removed. Since a later removal may still change the last rune, that one is held back.
type runeAligner struct {
	out  *aligned
	src  string
	off  int32 // position of src in the caller's text
	read int   // bytes of src that are aligned
	prev Span  // of the last rune of src read

	held   rune
	change int
	holds  bool
}

func (w *runeAligner) push(r rune, change int) {
	w.flush()
	w.held, w.change, w.holds = r, change, true
}

func (w *runeAligner) flush() {
	if !w.holds {
		return
	}
	w.holds = false
	span := w.prev
	if w.change <= 0 {
		w.next()
		span = w.prev
		for ; w.change < 0; w.change++ {
			w.next()
		}
	}
	w.out.appendRune(w.held, span)
}

// next takes one rune of the source; at its end the last one stays.
func (w *runeAligner) next() {
	if w.read >= len(w.src) {
		return
	}
	n := runeWidth(w.src[w.read])
	start := w.off + int32(w.read)
	w.prev = Span{start, start + int32(n)}
	w.read += n
}

// grapheme normalises one grapheme cluster.
func (w *runeAligner) grapheme(m *charsmap, g string) {
	if len(g) < longGrapheme {
		if to, ok := m.lookup(g); ok {
			w.replace(utf8.RuneCountInString(g), to)
			return
		}
	}
	for i, r := range g {
		if to, ok := m.lookup(g[i : i+utf8.RuneLen(r)]); ok {
			w.replace(1, to)
		} else {
			w.push(r, 0)
		}
	}
}

// replace writes to in place of n runes of the source.
func (w *runeAligner) replace(n int, to string) {
	diff := utf8.RuneCountInString(to) - n
	k := 0
	for _, r := range to {
		change := 0
		if diff > 0 && k >= n {
			change = 1
		}
		w.push(r, change)
		k++
	}
	if diff < 0 && w.holds {
		w.change += diff
	}
}
