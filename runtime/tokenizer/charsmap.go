package tokenizer

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxReplacement is the longest replacement, in bytes, that a character map may have: a map from elsewhere must not
// turn a short text into gigabytes. The longest of NFKC has 33.
const maxReplacement = 256

// charsmap is SentencePiece's precompiled character map: a Darts-clone double array from UTF-8 keys to positions in a
// text of NUL-ended replacements. A key may have an empty replacement.
type charsmap struct {
	units        []uint32
	replacements string
	keepASCII    [utf8.RuneSelf]bool // characters that have no replacement of their own
}

// Layout of a Darts-clone unit (s-yata/darts-clone, darts.h): bits 0-7 and 31 hold the label, or bits 0-30 the value
// when bit 31 is set; bit 8 tells that a key ends here; bits 10-30 hold the offset of the children, in steps of 256
// when bit 9 is set.
const (
	unitIsValue  = 1 << 31
	unitLabel    = 1<<31 | 0xff
	unitHasValue = 1 << 8
)

func unitOffset(u uint32) uint32 { return (u >> 10) << ((u & (1 << 9)) >> 6) }

// parseCharsmap reads the base64 form that tokenizer.json has: the double array's size in bytes (little endian, 32
// bits), the double array and the replacements.
func parseCharsmap(encoded string) (*charsmap, error) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: precompiled_charsmap: %w", ErrFormat, err)
	}
	if len(raw) < 8 {
		return nil, fmt.Errorf("%w: precompiled_charsmap has %d bytes, too few for a trie", ErrFormat, len(raw))
	}
	size := int64(binary.LittleEndian.Uint32(raw))
	if size == 0 || size%4 != 0 || size > int64(len(raw)-4) {
		return nil, fmt.Errorf("%w: precompiled_charsmap: trie size %d in %d bytes", ErrFormat, size, len(raw))
	}
	m := &charsmap{units: make([]uint32, size/4), replacements: string(raw[4+size:])}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(raw[4+4*i:])
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%w: precompiled_charsmap: %w", ErrFormat, err)
	}
	for c := range m.keepASCII {
		_, mapped := m.lookup(string(rune(c)))
		m.keepASCII[c] = !mapped
	}
	return m, nil
}

// check makes sure that lookup stays inside the map: every value that a unit leads to must exist and point into the
// replacements.
func (m *charsmap) check() error {
	if !utf8.ValidString(m.replacements) {
		return fmt.Errorf("replacements are not UTF-8")
	}
	for text := range strings.SplitSeq(m.replacements, "\x00") {
		if len(text) > maxReplacement {
			return fmt.Errorf("a replacement has %d bytes, at most %d are supported", len(text), maxReplacement)
		}
	}
	for i, u := range m.units {
		if u&unitIsValue != 0 || u&unitHasValue == 0 {
			continue
		}
		at := uint32(i) ^ unitOffset(u)
		if int64(at) >= int64(len(m.units)) || m.units[at]&unitIsValue == 0 {
			return fmt.Errorf("unit %d leads to no value", i)
		}
		start := m.units[at] &^ unitIsValue
		if int64(start) > int64(len(m.replacements)) || int(start) < len(m.replacements) && !utf8.RuneStart(m.replacements[start]) {
			return fmt.Errorf("unit %d points outside the replacements", at)
		}
	}
	return nil
}

// lookup returns the replacement of the shortest key that is a prefix of s. That is what the oracle does: it takes
// the first result of a common-prefix search, where SentencePiece takes the longest.
func (m *charsmap) lookup(s string) (replacement string, ok bool) {
	pos := unitOffset(m.units[0])
	for i := 0; i < len(s); i++ {
		c := uint32(s[i])
		pos ^= c
		if c == 0 || int64(pos) >= int64(len(m.units)) {
			return "", false
		}
		u := m.units[pos]
		if u&unitLabel != c {
			return "", false
		}
		pos ^= unitOffset(u)
		if u&unitHasValue != 0 {
			text := m.replacements[m.units[pos]&^unitIsValue:]
			if end := strings.IndexByte(text, 0); end >= 0 {
				text = text[:end]
			}
			return text, true
		}
	}
	return "", false
}
