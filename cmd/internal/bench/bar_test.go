package bench

import (
	"slices"
	"testing"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name          string
		bar           Bar
		worst, median float64
		verdict       string
		why           string
	}{
		{"least, met", Bar{Need: 5, Figures: []float64{4, 6, 5}}, 4, 5, "met", ""},
		{"least, missed", Bar{Need: 5, Figures: []float64{9, 4.9, 4.8}}, 4.8, 4.9, "missed", ""},
		{"most, met", Bar{Need: 1.5, AtMost: true, Figures: []float64{1.5, 1, 7}}, 7, 1.5, "met", ""},
		{"most, missed", Bar{Need: 1.5, AtMost: true, Figures: []float64{1.6, 1, 1.51}}, 1.6, 1.51, "missed", ""},
		{"most, below nothing", Bar{Need: 3, AtMost: true, Figures: []float64{-1}}, -1, -1, "met", ""},
		{"even", Bar{Need: 2.5, Figures: []float64{1, 4, 2, 3}}, 1, 2.5, "met", ""},
		{"none", Bar{Need: 0}, 0, 0, "not measured", "no time"},
		{"none, with a reason", Bar{Need: 0, AtMost: true, Why: "no peers"}, 0, 0, "not measured", "no peers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.bar
			b.judge("no time")
			if b.Worst != c.worst || b.Median != c.median || b.verdict() != c.verdict || b.Why != c.why {
				t.Errorf("worst %v, median %v, %s, %q; want %v, %v, %s, %q", b.Worst, b.Median, b.verdict(), b.Why, c.worst, c.median, c.verdict, c.why)
			}
			if b.Met != (c.verdict == "met") {
				t.Errorf("Met is %v", b.Met)
			}
		})
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		bar  Bar
		want float64
	}{
		{Bar{Need: 4, Figures: []float64{6}}, 1.5},
		{Bar{Need: 4, Figures: []float64{1}}, 0.25},
		{Bar{Need: 0.2, AtMost: true, Figures: []float64{0.4}}, 0.5},
		{Bar{Need: 0.2, AtMost: true, Figures: []float64{0.1}}, 2},
		{Bar{Need: 0.2, AtMost: true, Figures: []float64{0}}, mostShare},
		{Bar{Need: 3, AtMost: true, Figures: []float64{-2}}, mostShare},
		{Bar{Need: 3, AtMost: true, Figures: []float64{1e-9}}, mostShare},
		{Bar{Need: 3}, 0},
	} {
		b := c.bar
		b.judge("")
		if got := b.Share(); got != c.want {
			t.Errorf("%+v: share %v, want %v", c.bar, got, c.want)
		}
	}
}

func TestMedianAndQuantile(t *testing.T) {
	values := []float64{9, 1, 5, 3, 7}
	if got := median(values); got != 5 {
		t.Errorf("median %v", got)
	}
	if !slices.Equal(values, []float64{9, 1, 5, 3, 7}) {
		t.Errorf("the values were put in order: %v", values)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 5, 0.8: 9, 0.99: 9, 1: 9} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if median(nil) != 0 || quantile(nil, 0.5) != 0 {
		t.Error("of no values there is a middle")
	}
}

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 1.6e-5: "1.6e-05", 0.0132: "0.0132", 0.98: "0.98", 1.304: "1.30", 13.04: "13.0", 130.4: "130", 13040: "13040", -2.2: "-2.20",
	} {
		if got := Number(x); got != want {
			t.Errorf("%v is written %q, want %q", x, got, want)
		}
	}
}
