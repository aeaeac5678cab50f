package tokenizer

import (
	"math"
	"slices"
)

// unkPenalty is how far the score of an unknown character lies below the lowest score of a piece (K_UNK_PENALTY of
// the oracle, kUnkPenalty of SentencePiece).
const unkPenalty = 10

// unigram is the Unigram language model: the segmentation of a unit is the one with the highest sum of scores.
// (Kudo, "Subword Regularization", 2018, section 3.2; the search is the oracle's encode_optimized.)
type unigram struct {
	trie     *trie
	scores   []float64 // log-probabilities by id
	unk      int32
	unkScore float64
}

// node is the best way to a byte position.
type node struct {
	score float64
	start int32 // of the last token on that way, or -1 while there is no way
	id    int32
}

// step is one token of the best way; a run of unknown characters is one step.
type step struct{ start, end, id int32 }

// viterbi appends the tokens of one unit to the encoding.
//
// Ties matter: a way replaces another only if it is strictly better, ways of the same end come in the order of their
// starts, and sums are made in float64 as piece score + score so far.
func (enc *encoder) viterbi(text []byte, spans []Span) {
	m := &enc.t.model
	enc.lattice = m.search(enc.lattice, text)
	path := enc.path[:0]
	for end := int32(len(text)); end > 0; {
		n := enc.lattice[end]
		if k := len(path) - 1; n.id == m.unk && k >= 0 && path[k].id == m.unk {
			path[k].start = n.start
		} else {
			path = append(path, step{n.start, end, n.id})
		}
		end = n.start
	}
	enc.path = path
	for k := len(path) - 1; k >= 0; k-- {
		p := path[k]
		if p.id == m.unk {
			// The oracle finds ids by text, and the text of a run of unknown characters may be a piece.
			if id := m.trie.exact(text[p.start:p.end]); id >= 0 {
				p.id = id
			}
		}
		enc.emit(p.id, Span{spans[p.start].Start, spans[p.end-1].End})
	}
}

// search returns the lattice of text, len(text)+1 nodes in the storage of lattice if it fits.
func (m *unigram) search(lattice []node, text []byte) []node {
	n := len(text)
	lattice = slices.Grow(lattice[:0], n+1)[:n+1]
	for i := range lattice {
		lattice[i].start = -1
	}
	lattice[0].score = 0
	units := m.trie.units
	for start := 0; start < n; {
		here := lattice[start].score
		width := runeWidth(text[start])
		known := false // whether a piece is exactly the character at start
		at := uint32(0)
		for end := start; end < n; {
			child := units[at].base ^ uint32(text[end])
			if units[child].parent != at {
				break
			}
			at = child
			end++
			id := units[at].id
			if id < 0 {
				continue
			}
			lattice[end].offer(m.scores[id]+here, int32(start), id)
			known = known || end-start == width
		}
		if !known {
			lattice[start+width].offer(m.unkScore+here, int32(start), m.unk)
		}
		start += width
	}
	return lattice
}

// offer takes a way to the node if it is strictly better than the one so far.
func (n *node) offer(score float64, start, id int32) {
	if n.start < 0 || score > n.score {
		*n = node{score, start, id}
	}
}

func newUnigram(v *vocabulary, unk int32) unigram {
	lowest := math.Inf(1)
	for _, s := range v.scores {
		lowest = min(lowest, s)
	}
	return unigram{trie: buildTrie(v.size(), v.piece), scores: v.scores, unk: unk, unkScore: lowest - unkPenalty}
}
