package bench

import (
	"cmp"
	"fmt"
	"slices"
)

// Bar is a bound that a figure must keep.
type Bar struct {
	Name   string  `json:"name"`
	Need   float64 `json:"need"`
	AtMost bool    `json:"at_most,omitempty"` // the figure must not be above Need; otherwise not below it
	Unit   string  `json:"unit"`              // "times", "ms" and so on
	Peers  bool    `json:"peers,omitempty"`   // it takes the peers to measure it
	// Figures are one a round, or a single one where there is no chance in it.
	Figures []float64 `json:"figures"`
	Worst   float64   `json:"worst"`
	Median  float64   `json:"median"`
	Met     bool      `json:"met"`
	Why     string    `json:"why,omitempty"` // it was not measured, or what else is to be known
}

// judge sums the figures up. Without figures the bar is missed; why is told unless there
// is a better reason already.
func (b *Bar) judge(why string) {
	if !b.measured() {
		b.Met, b.Why = false, cmp.Or(b.Why, why)
		return
	}
	b.Median, b.Worst = median(b.Figures), slices.Min(b.Figures)
	b.Met = b.Median >= b.Need
	if b.AtMost {
		b.Worst = slices.Max(b.Figures)
		b.Met = b.Median <= b.Need
	}
}

// measured tells whether there are figures.
func (b *Bar) measured() bool { return len(b.Figures) > 0 }

// verdict is a word for the table.
func (b *Bar) verdict() string {
	switch {
	case !b.measured():
		return "not measured"
	case b.Met:
		return "met"
	default:
		return "missed"
	}
}

// asked writes the bound.
func (b *Bar) asked() string {
	if b.AtMost {
		return "at most " + Number(b.Need)
	}
	return "at least " + Number(b.Need)
}

// Share is how much of the bar is kept: 1 is just enough, more is better. It is 0 without
// figures.
func (b *Bar) Share() float64 {
	switch {
	case !b.measured():
		return 0
	case !b.AtMost:
		return b.Median / b.Need
	case b.Median <= 0:
		return mostShare // nothing, or less than nothing, of what must not be much
	default:
		return min(b.Need/b.Median, mostShare)
	}
}

// mostShare bounds Share, so that one figure does not flatten a picture.
const mostShare = 4

// Series is something that was measured, with its unit: once a round, as a rule.
type Series struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
	Min    float64   `json:"min"`
	Median float64   `json:"median"`
}

func (s *Series) sum() {
	if len(s.Values) > 0 {
		s.Min, s.Median = slices.Min(s.Values), median(s.Values)
	}
}

// median is the middle value, or the mean of the two in the middle; 0 of none.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// quantile is the value that a share q of all do not exceed; 0 of none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// Number writes a figure with three digits that count, or all that stand before the
// point.
func Number(x float64) string {
	switch a := max(x, -x); {
	case a == 0:
		return "0"
	case a < 1e-3:
		return fmt.Sprintf("%.1e", x)
	case a < 1:
		return fmt.Sprintf("%.3g", x)
	case a < 10:
		return fmt.Sprintf("%.2f", x)
	case a < 100:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.0f", x)
	}
}
