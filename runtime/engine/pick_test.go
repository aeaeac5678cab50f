package engine

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
)

func lengths(rows []*row) []int {
	var out []int
	for _, r := range rows {
		out = append(out, len(r.ids))
	}
	return out
}

func TestPick(t *testing.T) {
	p := picker{rows: 4, tokens: 100}
	for _, tt := range []struct {
		name    string
		waiting []int
		want    []int
	}{
		{"one", []int{10}, []int{10}},
		{"longer than the budget runs alone", []int{500, 500}, []int{500}},
		{"in order", []int{10, 11, 9, 10, 10}, []int{10, 10, 10, 11}},
		{"nearest lengths", []int{20, 90, 19, 2, 22, 60}, []int{20, 19, 22, 2}},
		{"rows are bounded", []int{5, 5, 5, 5, 5}, []int{5, 5, 5, 5}},
		{"tokens are bounded", []int{40, 40, 40}, []int{40, 40}},
		{"padding is bounded", []int{30, 2, 2, 29}, []int{30, 29, 2}},
		{"a row that does not fit lets others pass", []int{30, 45, 14}, []int{30, 45}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := p.pick(waiting(context.Background(), tt.waiting...))
			if !slices.Equal(lengths(got), tt.want) {
				t.Errorf("got %v, want %v", lengths(got), tt.want)
			}
		})
	}
}

func TestPickKeepsModesApart(t *testing.T) {
	rows := waiting(context.Background(), 5, 5, 5, 5)
	tr := newTrie(make([]string, 2), [][]int32{{5, 1}, {6, 1}})
	rows[0].mode, rows[0].trie = ModeLabels, tr
	rows[2].mode, rows[2].trie = ModeLabels, tr
	p := picker{rows: 8, tokens: 100}
	if got := p.pick(rows); !slices.Equal(got, []*row{rows[0], rows[2]}) {
		t.Errorf("labels: %v", got)
	}
	if got := p.pick(rows[1:]); !slices.Equal(got, []*row{rows[1], rows[3]}) {
		t.Errorf("generate: %v", got)
	}
}

func TestPickCountsDecoderRows(t *testing.T) {
	rows := waiting(context.Background(), 5, 5, 5, 5)
	for _, r := range rows { // each asks after two prefixes
		r.mode, r.trie = ModeLabels, newTrie(make([]string, 3), [][]int32{{5, 1}, {6, 7, 1}, {6, 8, 1}})
	}
	if got := (picker{rows: 5, tokens: 100}).pick(rows); len(got) != 2 {
		t.Errorf("%d rows", len(got))
	}
}

// TestNoRowStarves lets rows keep coming whose lengths suit each other better
// than the ones that wait. A row must run within as many batches as rows were
// before it, and the bounds must hold for every batch.
func TestNoRowStarves(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	p := picker{rows: 8, tokens: 512}
	var queue []*row
	deadline := map[*row]int{}
	for round := range 2000 {
		for range rng.IntN(12) {
			n := 10
			if rng.IntN(10) == 0 {
				n = 1 + rng.IntN(700)
			}
			if len(queue) < 64 {
				r := waiting(context.Background(), n)[0]
				deadline[r] = round + len(queue)
				queue = append(queue, r)
			}
		}
		if len(queue) == 0 {
			continue
		}
		batch := p.pick(queue)
		var s shape
		for _, r := range batch {
			s = s.with(r)
			if round > deadline[r] {
				t.Fatalf("a row runs %d batches late", round-deadline[r])
			}
		}
		if len(batch) > 1 && !p.fits(s) {
			t.Fatalf("batch %v is too large", lengths(batch))
		}
		queue = slices.DeleteFunc(queue, func(r *row) bool { return slices.Contains(batch, r) })
	}
}
