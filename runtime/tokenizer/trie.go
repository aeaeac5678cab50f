package tokenizer

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// trie is a static double-array trie over bytes (Aoe, "An efficient digital search algorithm by using a double-array
// structure", 1989): the child of unit s for byte c is base[s]^c, if the parent of that unit is s. Every base lies in
// a whole block of 256 units, so that no child is out of range. Unit 0 is the root.
type trie struct{ units []trieUnit }

type trieUnit struct {
	base   uint32
	parent uint32 // or freeUnit, or rootParent
	id     int32  // of the key that ends here, or -1
}

const (
	freeUnit   = ^uint32(0)
	rootParent = freeUnit - 1
)

// exact returns the id of the key s, or -1.
func (t *trie) exact(s []byte) int32 {
	at := uint32(0)
	for _, c := range s {
		child := t.units[at].base ^ uint32(c)
		if t.units[child].parent != at {
			return -1
		}
		at = child
	}
	return t.units[at].id
}

// longestPrefix returns the id of the longest key that s begins with and the key's length, or -1 and 0.
func (t *trie) longestPrefix(s string) (id int32, length int) {
	id = -1
	at := uint32(0)
	for i := 0; i < len(s); i++ {
		child := t.units[at].base ^ uint32(s[i])
		if t.units[child].parent != at {
			break
		}
		at = child
		if t.units[at].id >= 0 {
			id, length = t.units[at].id, i+1
		}
	}
	return id, length
}

// sortKey orders keys by their first bytes, which settles most comparisons without reading the key.
type sortKey struct {
	head uint64 // first eight bytes, big endian, padded with zeros
	id   int32
}

// buildTrie builds the trie of the keys 0 to n-1. Of a key that comes twice the higher id is kept, as in the oracle;
// empty keys are left out.
func buildTrie(n int, key func(id int32) string) *trie {
	b := &trieBuilder{key: key, order: make([]sortKey, 0, n), firstFree: noUnit}
	for id := range int32(n) {
		if k := key(id); k != "" {
			var head [8]byte
			copy(head[:], k)
			b.order = append(b.order, sortKey{binary.BigEndian.Uint64(head[:]), id})
		}
	}
	slices.SortFunc(b.order, func(x, y sortKey) int {
		if x.head != y.head {
			return cmp.Compare(x.head, y.head)
		}
		if c := cmp.Compare(key(x.id), key(y.id)); c != 0 {
			return c
		}
		return cmp.Compare(x.id, y.id)
	})
	return b.build()
}
