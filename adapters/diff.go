package adapters

import (
	"math"

	"valence/runtime/mt5/spec"
)

// Difference tells how far apart two adapters lie. A site that one of them lacks is
// unchanged there: ones.
type Difference struct {
	Distance float64          `json:"distance"` // root mean square of l_to - l_from over all elements
	Largest  float64          `json:"largest"`  // greatest |l_to - l_from|
	Cosine   *float64         `json:"cosine"`   // of the two l - 1, from -1 to 1; nil where one of them changes nothing
	Sites    []SiteDifference `json:"sites"`    // those of the first in its order, then those that only the second has
}

// SiteDifference is one vector's part.
type SiteDifference struct {
	Module   string   `json:"module"`
	Input    bool     `json:"input"` // scales the projection's input
	Size     int      `json:"size"`
	Distance float64  `json:"distance"`
	Largest  float64  `json:"largest"`
	Cosine   *float64 `json:"cosine"`
}

// DiffOf compares two adapters' vectors; nil is the base, which changes nothing.
func DiffOf(from, to *spec.Vectors) Difference {
	d := Difference{Sites: []SiteDifference{}}
	var total gap
	for _, pair := range pairsOf(from, to) {
		g := pair.gap()
		d.Sites = append(d.Sites, SiteDifference{
			Module: pair.site.Module, Input: pair.site.Input, Size: pair.site.Size,
			Distance: g.distance(), Largest: g.largest, Cosine: g.cosine(),
		})
		total.add(g)
	}
	d.Distance, d.Largest, d.Cosine = total.distance(), total.largest, total.cosine()
	return d
}

// pair is what two adapters have at one site: nil stands for ones.
type pair struct {
	site     spec.Site
	from, to []float32
}

func pairsOf(from, to *spec.Vectors) []pair {
	var pairs []pair
	place := map[spec.Site]int{}
	at := 0
	for _, site := range sitesOf(from) {
		place[site] = len(pairs)
		pairs = append(pairs, pair{site: site, from: from.Data[at : at+site.Size]})
		at += site.Size
	}
	at = 0
	for _, site := range sitesOf(to) {
		i, ok := place[site]
		if !ok {
			i = len(pairs)
			pairs = append(pairs, pair{site: site})
		}
		pairs[i].to = to.Data[at : at+site.Size]
		at += site.Size
	}
	return pairs
}

func (p pair) gap() gap {
	g := gap{elements: p.site.Size}
	for i := range p.site.Size {
		a, b := effectAt(p.from, i), effectAt(p.to, i)
		g.squares += (b - a) * (b - a)
		g.largest = max(g.largest, math.Abs(b-a))
		g.dot += a * b
		g.from += a * a
		g.to += b * b
	}
	return g
}

// effectAt is l - 1 of an element.
func effectAt(l []float32, i int) float64 {
	if l == nil {
		return 0
	}
	return float64(l[i]) - 1
}

// gap gathers what lies between two adapters, over any number of elements.
type gap struct {
	elements      int
	squares       float64 // of l_to - l_from
	largest       float64
	dot, from, to float64 // products of the effects l - 1: with each other, and with themselves
}

func (g *gap) add(o gap) {
	g.elements += o.elements
	g.squares += o.squares
	g.largest = max(g.largest, o.largest)
	g.dot, g.from, g.to = g.dot+o.dot, g.from+o.from, g.to+o.to
}

func (g *gap) distance() float64 { return math.Sqrt(g.squares / float64(max(g.elements, 1))) }

func (g *gap) cosine() *float64 {
	norm := math.Sqrt(g.from) * math.Sqrt(g.to)
	if norm == 0 {
		return nil
	}
	c := g.dot / norm
	return &c
}
