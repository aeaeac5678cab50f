package engine

import (
	"cmp"
	"slices"
)

// maxPadding is the most padding that a batch may hold for each real token: no
// batch costs more than twice what its texts do.
const maxPadding = 1

// picker chooses the rows of the next batch from those that wait.
type picker struct {
	rows   int // Options.BatchRows
	tokens int // Options.BatchTokens
}

// pick takes the oldest row always, so that each row runs after at most as many
// batches as rows were before it. The rest of the batch are rows of the same
// mode whose lengths are nearest to the oldest's, older ones first.
func (p picker) pick(waiting []*row) []*row {
	oldest := waiting[0]
	mates := make([]*row, 0, len(waiting)-1)
	for _, r := range waiting[1:] {
		if r.mode == oldest.mode {
			mates = append(mates, r)
		}
	}
	distance := func(r *row) int { return max(len(r.ids)-len(oldest.ids), len(oldest.ids)-len(r.ids)) }
	slices.SortStableFunc(mates, func(a, b *row) int { return cmp.Compare(distance(a), distance(b)) })

	batch := []*row{oldest}
	size := shape{}.with(oldest)
	taken := map[answerKey]bool{oldest.key: true}
	delete(taken, answerKey{})
	for _, r := range mates {
		if taken[r.key] { // runs with its twin, and costs nothing
			batch = append(batch, r)
			continue
		}
		if next := size.with(r); p.fits(next) {
			batch, size = append(batch, r), next
			if r.key != (answerKey{}) {
				taken[r.key] = true
			}
		}
	}
	return batch
}

func (p picker) fits(s shape) bool {
	return s.width <= p.rows && s.padded() <= p.tokens && s.padded()-s.real <= maxPadding*s.real
}

// shape is the size of a batch.
type shape struct {
	rows    int
	longest int // tokens of the longest row
	real    int // tokens of all rows
	width   int // decoder rows
}

func (s shape) with(r *row) shape {
	n := len(r.ids)
	return shape{s.rows + 1, max(s.longest, n), s.real + n, s.width + r.width()}
}

func (s shape) padded() int { return s.rows * s.longest }
