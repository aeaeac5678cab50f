package engine

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func TestTrieNodes(t *testing.T) {
	tests := []struct {
		name  string
		paths [][]int32
		want  []node
	}{
		{"distinct first tokens", [][]int32{{259, 32588, 1}, {59006, 1}, {18205, 1}},
			[]node{{[]int32{}, []int32{259, 59006, 18205}}}},
		{"shared first token", [][]int32{{5, 6, 1}, {5, 7, 1}},
			[]node{{[]int32{5}, []int32{6, 7}}}},
		{"one is a prefix of the other", [][]int32{{5, 1}, {5, 7, 1}},
			[]node{{[]int32{5}, []int32{1, 7}}}},
		{"two levels", [][]int32{{5, 6, 1}, {9, 1}, {5, 7, 1}},
			[]node{{[]int32{}, []int32{5, 9}}, {[]int32{5}, []int32{6, 7}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := newTrie(make([]string, len(tt.paths)), tt.paths)
			if !reflect.DeepEqual(got.nodes, tt.want) {
				t.Errorf("got %v, want %v", got.nodes, tt.want)
			}
		})
	}
}

// prob is a label's probability by the definition, one node after another and
// those with one child too.
func prob(paths [][]int32, label int, logit func(prefix []int32, token int32) float32) float64 {
	p := 1.0
	for depth, token := range paths[label] {
		prefix := paths[label][:depth]
		children := map[int32]bool{}
		for _, path := range paths {
			if len(path) > depth && slices.Equal(path[:depth], prefix) {
				children[path[depth]] = true
			}
		}
		sum := 0.0
		for child := range children {
			sum += math.Exp(float64(logit(prefix, child)))
		}
		p *= math.Exp(float64(logit(prefix, token))) / sum
	}
	return p
}

func randomPaths(rng *rand.Rand) [][]int32 {
	var paths [][]int32
	for n := 2 + rng.IntN(MaxLabels-1); len(paths) < n; {
		var path []int32
		for range 1 + rng.IntN(6) {
			path = append(path, 10+rng.Int32N(4))
		}
		path = append(path, eos)
		if !slices.ContainsFunc(paths, func(p []int32) bool { return slices.Equal(p, path) }) {
			paths = append(paths, path)
		}
	}
	return paths
}

func TestTrieGivesTheProductOfSoftmaxes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		paths := randomPaths(rng)
		says := func(prefix []int32, token int32) float32 { return logit(nil, nil, prefix, token) }
		tr := newTrie(make([]string, len(paths)), paths)
		var logits [][]float32
		for _, p := range tr.appendProbes(nil, 3) {
			if p.Row != 3 || len(p.Next) < 2 {
				t.Fatalf("probe %+v", p)
			}
			var row []float32
			for _, token := range p.Next {
				row = append(row, says(p.Prefix, token))
			}
			logits = append(logits, row)
		}
		got, err := tr.logProbs(logits, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i := range paths {
			if want := math.Log(prob(paths, i, says)); math.Abs(got[i]-want) > 1e-9 {
				t.Fatalf("label %d of %v: %v, want %v", i, paths, got[i], want)
			}
		}
	}
}
