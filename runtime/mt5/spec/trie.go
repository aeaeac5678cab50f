package spec

import "slices"

// Trie holds the token paths of some labels. A label's probability is the product
// over its path of a softmax over each node's children. A node with one child
// contributes 1 and is left out, so labels whose first tokens differ make a single
// node.
type Trie struct {
	Nodes []TrieNode
	Steps [][]TrieStep // of each path: the nodes on it, from the root on
}

// TrieNode is a prefix after which paths part.
type TrieNode struct {
	Prefix []int32
	Next   []int32 // at least two tokens
}

// TrieStep is the choice of one child at one node: Nodes[Node].Next[Child].
type TrieStep struct{ Node, Child int }

// NewTrie builds the trie of at least two paths, none of which is a prefix of
// another: as where each ends in the end marker and holds it nowhere else.
func NewTrie(paths [][]int32) *Trie {
	t := &Trie{Steps: make([][]TrieStep, len(paths))}
	all := make([]int, len(paths))
	for i := range all {
		all[i] = i
	}
	t.grow(paths, all, 0)
	return t
}

// grow adds the nodes at which the paths in members part. They agree in their
// first depth tokens.
func (t *Trie) grow(paths [][]int32, members []int, depth int) {
	if len(members) < 2 {
		return
	}
	var next []int32
	var groups [][]int
	for _, m := range members {
		token := paths[m][depth]
		child := slices.Index(next, token)
		if child < 0 {
			child = len(next)
			next, groups = append(next, token), append(groups, nil)
		}
		groups[child] = append(groups[child], m)
	}
	if len(next) > 1 {
		for child, group := range groups {
			for _, m := range group {
				t.Steps[m] = append(t.Steps[m], TrieStep{len(t.Nodes), child})
			}
		}
		t.Nodes = append(t.Nodes, TrieNode{paths[members[0]][:depth], next})
	}
	for _, g := range groups {
		t.grow(paths, g, depth+1)
	}
}

// LogProbs turns the log-probabilities of each node's children into those of the
// paths.
func (t *Trie) LogProbs(children [][]float32) []float64 {
	out := make([]float64, len(t.Steps))
	for i, steps := range t.Steps {
		for _, s := range steps {
			out[i] += float64(children[s.Node][s.Child])
		}
	}
	return out
}
