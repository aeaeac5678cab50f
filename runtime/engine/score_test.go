package engine

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestTemperatureDividesTheLabels(t *testing.T) {
	// p = (0.2, 0.8 * 0.25, 0.8 * 0.75) at temperature 1.
	tr := newTrie([]string{"a", "b", "c"}, [][]int32{{5, 1}, {6, 7, 1}, {6, 8, 1}})
	ln := func(p float64) float32 { return float32(math.Log(p)) }
	logits := [][]float32{{ln(0.2), ln(0.8)}, {ln(0.25), ln(0.75)}}
	for _, tt := range []struct {
		temperature float64
		want        []float64
	}{
		{1, []float64{0.2, 0.2, 0.6}},
		{0.5, []float64{0.04 / 0.44, 0.04 / 0.44, 0.36 / 0.44}},
		{1e12, []float64{1. / 3, 1. / 3, 1. / 3}},
		{math.SmallestNonzeroFloat64, []float64{0, 0, 1}},
		{math.MaxFloat64, []float64{1. / 3, 1. / 3, 1. / 3}},
	} {
		got, err := tr.logProbs(logits, tt.temperature)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for i := range got {
			sum += math.Exp(got[i])
			if d := math.Abs(math.Exp(got[i]) - tt.want[i]); !(d < 1e-6) {
				t.Errorf("temperature %g: label %d has %v, want %v", tt.temperature, i, math.Exp(got[i]), tt.want[i])
			}
		}
		if !(math.Abs(sum-1) < 1e-12) {
			t.Errorf("temperature %g: the sum is %v", tt.temperature, sum)
		}
	}
}

func TestLargeLogitsDoNotOverflow(t *testing.T) {
	tr := newTrie([]string{"a", "b"}, [][]int32{{5, 1}, {6, 1}})
	got, err := tr.logProbs([][]float32{{math.MaxFloat32, -math.MaxFloat32}}, 1)
	if err != nil || got[0] != 0 || math.IsNaN(got[1]) || math.IsInf(got[1], 0) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestNonFiniteLogits(t *testing.T) {
	tr := newTrie([]string{"a", "b"}, [][]int32{{5, 1}, {6, 1}})
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, err := tr.logProbs([][]float32{{0, float32(x)}}, 1)
		if !errors.Is(err, ErrNonFinite) || !strings.Contains(err.Error(), "token 6") {
			t.Errorf("%v: %v", x, err)
		}
	}
}
