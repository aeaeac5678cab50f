package adapters

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"valence/runtime/mt5/spec"
)

// UnchangedBelow is the distance from 1 under which an element counts as unchanged.
const UnchangedBelow = 1e-3

// Anatomy tells where and how strongly an adapter changes the base.
type Anatomy struct {
	Distance float64       `json:"distance"` // root mean square of l - 1 over all elements
	Sparsity float64       `json:"sparsity"` // share of elements that are unchanged
	Sites    []SiteAnatomy `json:"sites"`    // in the order of the model
}

// SiteAnatomy is one vector's part.
type SiteAnatomy struct {
	Module   string  `json:"module"`
	Input    bool    `json:"input"` // scales the projection's input
	Size     int     `json:"size"`
	Distance float64 `json:"distance"`
	Largest  float64 `json:"largest"` // greatest |l - 1|
	Sparsity float64 `json:"sparsity"`
	// Outlier is how far the distance lies from the median of the sites of the same
	// projection (all k, say), in robust standard deviations: 1.4826 times the median
	// absolute deviation. Above 3.5 is unusual (Iglewicz and Hoaglin 1993).
	Outlier float64 `json:"outlier"`
}

// AnatomyOf looks at an adapter's vectors; nil is the base, which changes nothing.
func AnatomyOf(v *spec.Vectors) Anatomy {
	a := Anatomy{Sites: []SiteAnatomy{}}
	if v == nil {
		return a
	}
	var squares, unchanged float64
	at := 0
	for _, site := range v.Sites {
		s, sq, same := siteAnatomy(site, v.Data[at:at+site.Size])
		a.Sites = append(a.Sites, s)
		squares, unchanged = squares+sq, unchanged+same
		at += site.Size
	}
	n := float64(max(len(v.Data), 1))
	a.Distance, a.Sparsity = math.Sqrt(squares/n), unchanged/n
	markOutliers(a.Sites)
	return a
}

func siteAnatomy(site spec.Site, data []float32) (s SiteAnatomy, squares, unchanged float64) {
	s = SiteAnatomy{Module: site.Module, Input: site.Input, Size: site.Size}
	for _, l := range data {
		d := math.Abs(float64(l) - 1)
		squares += d * d
		s.Largest = max(s.Largest, d)
		if d < UnchangedBelow {
			unchanged++
		}
	}
	n := float64(max(site.Size, 1))
	s.Distance, s.Sparsity = math.Sqrt(squares/n), unchanged/n
	return s, squares, unchanged
}

// markOutliers compares each site with those of the same projection.
func markOutliers(sites []SiteAnatomy) {
	groups := map[string][]int{}
	for i, s := range sites {
		kind := s.Module[strings.LastIndex(s.Module, ".")+1:]
		groups[kind] = append(groups[kind], i)
	}
	for _, group := range groups {
		distances := make([]float64, len(group))
		for k, i := range group {
			distances[k] = sites[i].Distance
		}
		middle := median(distances)
		for k := range distances {
			distances[k] = math.Abs(distances[k] - middle)
		}
		deviation := 1.4826 * median(distances)
		for _, i := range group {
			if deviation > 0 {
				sites[i].Outlier = (sites[i].Distance - middle) / deviation
			}
		}
	}
}

func median(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Similarity is how alike two adapters change the base.
type Similarity struct {
	ID      string  `json:"id"`
	Version string  `json:"version"`
	Cosine  float64 `json:"cosine"` // of their l - 1, from -1 to 1
}

// Similar compares an entry with others, most alike first. Those that change nothing,
// the base among them, have no direction and are left out.
func Similar(e *Entry, others []*Entry) []Similarity {
	out := []Similarity{}
	for _, o := range others {
		if o == e {
			continue
		}
		if c, ok := cosine(e.Vectors, o.Vectors); ok {
			out = append(out, Similarity{o.ID, o.Version, c})
		}
	}
	slices.SortStableFunc(out, func(a, b Similarity) int { return cmp.Compare(b.Cosine, a.Cosine) })
	return out
}

// cosine of two adapters' effects; a site that one of them lacks is unchanged there.
func cosine(a, b *spec.Vectors) (float64, bool) {
	if a == nil || b == nil {
		return 0, false
	}
	place := map[spec.Site]int{}
	at := 0
	for _, site := range b.Sites {
		place[site] = at
		at += site.Size
	}
	var dot float64
	at = 0
	for _, site := range a.Sites {
		if k, ok := place[site]; ok {
			for i := range site.Size {
				dot += (float64(a.Data[at+i]) - 1) * (float64(b.Data[k+i]) - 1)
			}
		}
		at += site.Size
	}
	norm := effectNorm(a) * effectNorm(b)
	return dot / norm, norm > 0
}

func effectNorm(v *spec.Vectors) float64 {
	sum := 0.0
	for _, l := range v.Data {
		sum += (float64(l) - 1) * (float64(l) - 1)
	}
	return math.Sqrt(sum)
}
