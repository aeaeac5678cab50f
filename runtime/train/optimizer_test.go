package train

import (
	"math"
	"testing"
)

// TestAdamWStep compares two steps with torch.optim.AdamW(lr=0.1, weight_decay=0.01):
// numbers of torch 2.11.0 in float64.
func TestAdamWStep(t *testing.T) {
	r := DefaultRecipe()
	a := newAdamW(3)
	v := []float32{1, -2, 0.5}
	for step, want := range [][]float64{{0.899000002, -1.898000000, 0.490409091}, {0.871467299, -1.796102001, 0.485494592}} {
		v = a.step(&r, v, [][]float64{{0.5, -3, 1e-9}, {-0.25, -3, 0}}[step], 0.1, step+1)
		for i := range want {
			if math.Abs(float64(v[i])-want[i]) > 1e-6 {
				t.Errorf("step %d: element %d is %v, want %v", step+1, i, v[i], want[i])
			}
		}
	}
}

func TestRateDecaysLinearly(t *testing.T) {
	for step, want := range []float64{8e-3, 6e-3, 4e-3, 2e-3} {
		if got := rateAt(8e-3, step, 4); math.Abs(got-want) > 1e-12 {
			t.Errorf("step %d: %v, want %v", step, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, tc := range []struct{ largest, want float64 }{{0, 3}, {10, 3}, {2.5, 1.5}} {
		g := []float64{3, 4}
		clip(g, tc.largest)
		if math.Abs(g[0]-tc.want) > 1e-5 || math.Abs(g[1]-tc.want*4/3) > 1e-5 {
			t.Errorf("to %v: %v", tc.largest, g)
		}
	}
}
