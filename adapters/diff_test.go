package adapters

import (
	"math"
	"testing"

	"valence/runtime/mt5/spec"
)

func TestDiffOf(t *testing.T) {
	k, v := spec.Site{Module: "a.k", Size: 2}, spec.Site{Module: "a.v", Size: 1}
	input := spec.Site{Module: "a.k", Input: true, Size: 2} // another place than k
	one := func(c float64) *float64 { return &c }
	tests := []struct {
		name     string
		from, to *spec.Vectors
		want     Difference
	}{
		{"the base and itself", nil, nil, Difference{}},
		{"the same", vectors(t, []spec.Site{k}, 2, 0), vectors(t, []spec.Site{k}, 2, 0),
			Difference{Cosine: one(1), Sites: []SiteDifference{{Module: "a.k", Size: 2, Cosine: one(1)}}}},
		{"turned round", vectors(t, []spec.Site{k}, 2, 0), vectors(t, []spec.Site{k}, 0, 2),
			Difference{Distance: 2, Largest: 2, Cosine: one(-1), Sites: []SiteDifference{{Module: "a.k", Size: 2, Distance: 2, Largest: 2, Cosine: one(-1)}}}},
		{"against the base", nil, vectors(t, []spec.Site{k}, 1, 4),
			Difference{Distance: 3 / math.Sqrt2, Largest: 3, Sites: []SiteDifference{{Module: "a.k", Size: 2, Distance: 3 / math.Sqrt2, Largest: 3}}}},
		{"other orders and sites", vectors(t, []spec.Site{k, v}, 1, 2, 3), vectors(t, []spec.Site{v, k}, 3, 2, 1),
			Difference{Distance: math.Sqrt(2. / 3), Largest: 1, Cosine: one(0.8), Sites: []SiteDifference{
				{Module: "a.k", Size: 2, Distance: 1, Largest: 1, Cosine: one(0)}, {Module: "a.v", Size: 1, Cosine: one(1)}}}},
		{"nothing in common", vectors(t, []spec.Site{k}, 2, 2), vectors(t, []spec.Site{input}, 2, 2),
			Difference{Distance: 1, Largest: 1, Cosine: one(0), Sites: []SiteDifference{
				{Module: "a.k", Size: 2, Distance: 1, Largest: 1}, {Module: "a.k", Input: true, Size: 2, Distance: 1, Largest: 1}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := DiffOf(tt.from, tt.to)
			if !alike(got.Distance, tt.want.Distance) || !alike(got.Largest, tt.want.Largest) || !alikeCosine(got.Cosine, tt.want.Cosine) || len(got.Sites) != len(tt.want.Sites) {
				t.Fatalf("got %+v, want %+v", got, tt.want)
			}
			for i, g := range got.Sites {
				w := tt.want.Sites[i]
				if g.Module != w.Module || g.Input != w.Input || g.Size != w.Size || !alike(g.Distance, w.Distance) || !alike(g.Largest, w.Largest) || !alikeCosine(g.Cosine, w.Cosine) {
					t.Errorf("site %d: got %+v, want %+v", i, g, w)
				}
			}
			back := DiffOf(tt.to, tt.from)
			if !alike(back.Distance, got.Distance) || !alikeCosine(back.Cosine, got.Cosine) {
				t.Errorf("from the other side: %+v", back)
			}
		})
	}
}

func alikeCosine(a, b *float64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return alike(*a, *b)
}

func alike(a, b float64) bool { return math.Abs(a-b) < 1e-12 }
