package train

import (
	"math"
	"math/rand/v2"
)

// part is the rows that one run trains and validates on, in the order of the data.
type part struct{ train, validation []int }

// parts splits n rows as the recipe says: one part, or one for each fold. The shares
// of the labels are kept, and rows with the same text stay together, so that no
// validation text is trained on.
func (r *Recipe) parts(d *Data, labels []int) []part {
	n := len(d.Examples)
	if len(d.Validation) > 0 {
		return []part{divide(len(labels), func(i int) bool { return i >= n })}
	}
	if r.Folds > 0 {
		fold := deal(groups(d, labels), r.Seed, r.Folds)
		parts := make([]part, r.Folds)
		for k := range parts {
			parts[k] = divide(n, func(i int) bool { return fold[i] == k })
		}
		return parts
	}
	held := hold(groups(d, labels), r.Seed, r.Validation)
	return []part{divide(n, func(i int) bool { return held[i] })}
}

func divide(n int, validation func(i int) bool) part {
	p := part{}
	for i := range n {
		if validation(i) {
			p.validation = append(p.validation, i)
		} else {
			p.train = append(p.train, i)
		}
	}
	return p
}

// groups are the rows of each text, by the label of the first of them.
func groups(d *Data, labels []int) [][][]int {
	out := make([][][]int, len(d.Labels))
	type place struct{ label, group int }
	at := map[string]place{}
	for i, e := range d.Examples {
		key := fold(e.Text)
		if p, ok := at[key]; ok {
			out[p.label][p.group] = append(out[p.label][p.group], i)
			continue
		}
		at[key] = place{labels[i], len(out[labels[i]])}
		out[labels[i]] = append(out[labels[i]], []int{i})
	}
	return out
}

// hold chooses the validation rows: of each label its share, at least one where
// there are two texts or more, and never all.
func hold(labels [][][]int, seed uint64, fraction float64) map[int]bool {
	held := map[int]bool{}
	rng := source(seed, streamSplit)
	for _, texts := range labels {
		rows := 0
		for _, g := range texts {
			rows += len(g)
		}
		want := int(math.Round(fraction * float64(rows)))
		if fraction > 0 {
			want = max(want, 1)
		}
		order := rng.Perm(len(texts))
		for taken := 0; len(order) > 1 && taken < want; order = order[1:] {
			for _, i := range texts[order[0]] {
				held[i] = true
				taken++
			}
		}
	}
	return held
}

// deal gives each row the number of its fold.
func deal(labels [][][]int, seed uint64, folds int) map[int]int {
	fold := map[int]int{}
	rng := source(seed, streamSplit)
	next := 0
	for _, texts := range labels {
		for _, g := range rng.Perm(len(texts)) {
			for _, i := range texts[g] {
				fold[i] = next % folds
			}
			next++
		}
	}
	return fold
}

// Streams keep the uses of one seed apart.
const (
	streamSplit = iota
	streamOrder
	streamDropout
	streams // their number
)

func source(seed uint64, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }
