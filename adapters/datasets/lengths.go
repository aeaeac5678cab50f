package datasets

import (
	"maps"
	"math"
	"math/bits"
	"slices"
)

// Lengths tells how long texts are, in characters.
type Lengths struct {
	Shortest  int     `json:"shortest"`
	Mean      float64 `json:"mean"`
	Median    int     `json:"median"`
	P90       int     `json:"p90"` // nine of ten texts are not longer
	P99       int     `json:"p99"`
	Longest   int     `json:"longest"`
	Histogram []Bin   `json:"histogram"` // without empty bins
}

// Bin counts the texts that are from Low to High characters long.
type Bin struct {
	Low  int `json:"low"`
	High int `json:"high"`
	Rows int `json:"rows"`
}

// lengths counts texts by their length. There are few different ones: n of them need a
// file of n²/2 characters.
type lengths map[int]int

func (l lengths) report() Lengths {
	var out Lengths
	if len(l) == 0 {
		return out
	}
	sorted := slices.Sorted(maps.Keys(l))
	rows, characters := 0, 0.0
	for _, n := range sorted {
		rows += l[n]
		characters += float64(n) * float64(l[n])
	}
	out.Shortest, out.Longest, out.Mean = sorted[0], sorted[len(sorted)-1], characters/float64(rows)
	out.Median, out.P90, out.P99 = l.quantile(sorted, rows, 0.5), l.quantile(sorted, rows, 0.9), l.quantile(sorted, rows, 0.99)
	for _, n := range sorted {
		out.Histogram = count(out.Histogram, n, l[n])
	}
	return out
}

// quantile gives the length that this part of the texts does not exceed.
func (l lengths) quantile(sorted []int, rows int, part float64) int {
	need := int(math.Ceil(part * float64(rows)))
	for _, n := range sorted {
		if need -= l[n]; need <= 0 {
			return n
		}
	}
	return sorted[len(sorted)-1]
}

// count adds texts of a length, which rises from call to call. Bins end at powers of
// two.
func count(bins []Bin, length, rows int) []Bin {
	power := bits.Len(uint(max(length-1, 0)))
	high, low := 1<<power, 1<<power/2+1
	if power == 0 {
		low = 0
	}
	if last := len(bins) - 1; last >= 0 && bins[last].High == high {
		bins[last].Rows += rows
		return bins
	}
	return append(bins, Bin{low, high, rows})
}
