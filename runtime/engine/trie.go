package engine

import (
	"slices"

	"valence/runtime/mt5/spec"
)

// trie holds the token paths of some labels. A label's probability is the
// product over its path of a softmax over each node's children. A node with one
// child contributes 1 and is left out, so labels whose first tokens differ make
// a single node.
//
// Every path ends in the end marker and holds it nowhere else. So no path is a
// prefix of another, even where one label's text is.
type trie struct {
	names []string // of the labels, in the task's order
	bits  uint64   // which of the task's labels they are; all bits for all of them
	nodes []node
	steps [][]step // of each label: the nodes on its path
}

// node is a prefix after which the labels part.
type node struct {
	prefix []int32
	next   []int32 // at least two tokens
}

// step is the choice of one child at one node.
type step struct{ node, child int }

// newTrie builds the trie of at least two different paths.
func newTrie(names []string, paths [][]int32) *trie {
	t := &trie{names: names, steps: make([][]step, len(paths))}
	all := make([]int, len(paths))
	for i := range all {
		all[i] = i
	}
	t.grow(paths, all, 0)
	return t
}

// grow adds the nodes at which the paths in members part. They agree in their
// first depth tokens.
func (t *trie) grow(paths [][]int32, members []int, depth int) {
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
		t.add(node{paths[members[0]][:depth], next}, groups)
	}
	for _, g := range groups {
		t.grow(paths, g, depth+1)
	}
}

func (t *trie) add(n node, groups [][]int) {
	for child, group := range groups {
		for _, m := range group {
			t.steps[m] = append(t.steps[m], step{len(t.nodes), child})
		}
	}
	t.nodes = append(t.nodes, n)
}

// appendProbes adds what must be asked of the model for one row.
func (t *trie) appendProbes(probes []spec.Probe, row int) []spec.Probe {
	for _, n := range t.nodes {
		probes = append(probes, spec.Probe{Row: row, Prefix: n.prefix, Next: n.next})
	}
	return probes
}
