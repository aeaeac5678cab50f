package tokenizer

import "unicode/utf8"

// graphemeClass is what the rules for extended grapheme clusters tell characters apart by: Grapheme_Cluster_Break,
// with Extended_Pictographic and Indic_Conjunct_Break folded in. The classes never overlap, which the generator of
// the table checks.
type graphemeClass uint8

const (
	classOther graphemeClass = iota
	classCR
	classLF
	classControl
	classExtend      // with Indic_Conjunct_Break=Extend
	classExtendPlain // without, such as U+200C
	classLinker      // Extend with Indic_Conjunct_Break=Linker: viramas
	classZWJ         // U+200D
	classPrepend
	classSpacingMark
	classRegional // regional indicators, of which two make a flag
	classL        // Hangul leading consonants
	classV        // Hangul vowels
	classT        // Hangul trailing consonants
	classLV       // Hangul syllables without a trailing consonant
	classLVT      // and with one
	classPictographic
	classConsonant // Indic_Conjunct_Break=Consonant
)

func classOf(r rune) graphemeClass {
	if r >= ' ' && r < 0x7f {
		return classOther
	}
	return graphemeClass(graphemeBlocks[int(graphemeIndex[r>>graphemeShift])<<graphemeShift|int(r&(1<<graphemeShift-1))])
}

// graphemeLen returns the length in bytes of the extended grapheme cluster at the start of s, which is valid UTF-8 and
// not empty, by the rules GB3 to GB999 of Unicode Standard Annex 29, section 3.1.1, for Unicode 16.
func graphemeLen(s string) int {
	r, n := utf8.DecodeRuneInString(s)
	c := clusterState{class: classOf(r)}
	c.begin()
	for n < len(s) {
		r, w := utf8.DecodeRuneInString(s[n:])
		next := classOf(r)
		if c.breaks(next) {
			break
		}
		c.take(next)
		n += w
	}
	return n
}

// clusterState is what the rules look back at.
type clusterState struct {
	class     graphemeClass // of the last character
	regionals int           // regional indicators at the end
	pictured  bool          // GB11: the end is Extended_Pictographic Extend*, perhaps with a ZWJ
	conjunct  bool          // GB9c: the end is Consonant [Extend Linker]*
	linked    bool          // and has a Linker
}

func (c *clusterState) begin() {
	c.regionals = 0
	if c.class == classRegional {
		c.regionals = 1
	}
	c.pictured = c.class == classPictographic
	c.conjunct, c.linked = c.class == classConsonant, false
}

// take moves past a character that does not begin a new cluster.
func (c *clusterState) take(next graphemeClass) {
	was := *c
	c.class = next
	c.begin()
	switch next {
	case classRegional:
		c.regionals = was.regionals + 1
	case classExtend, classExtendPlain, classLinker, classZWJ:
		c.pictured = was.pictured && was.class != classZWJ
		c.conjunct = was.conjunct && next != classExtendPlain
		c.linked = was.linked || next == classLinker
	}
}

// breaks tells whether there is a cluster boundary before a character of class next.
func (c *clusterState) breaks(next graphemeClass) bool {
	switch {
	case c.class == classCR && next == classLF: // GB3
		return false
	case c.class.control() || next.control(): // GB4, GB5
		return true
	case c.class.hangulJoins(next): // GB6, GB7, GB8
		return false
	}
	switch next {
	case classExtend, classExtendPlain, classLinker, classZWJ, classSpacingMark: // GB9, GB9a
		return false
	}
	switch {
	case c.class == classPrepend: // GB9b
		return false
	case next == classConsonant: // GB9c
		return !c.conjunct || !c.linked
	case next == classPictographic: // GB11
		return c.class != classZWJ || !c.pictured
	case next == classRegional: // GB12, GB13
		return c.regionals%2 == 0
	}
	return true // GB999
}

func (g graphemeClass) control() bool {
	return g == classControl || g == classCR || g == classLF
}

func (g graphemeClass) hangulJoins(next graphemeClass) bool {
	switch g {
	case classL:
		return next == classL || next == classV || next == classLV || next == classLVT
	case classLV, classV:
		return next == classV || next == classT
	case classLVT, classT:
		return next == classT
	}
	return false
}
