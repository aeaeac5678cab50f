package mt5

import (
	"math"
	"testing"

	"valence/runtime/builtin"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/torch"
)

// TestLearningInBFloat16 holds a lesson on the builtin base in bfloat16, as a GPU computes it,
// to the same in float32: losses, and the direction of the gradients.
func TestLearningInBFloat16(t *testing.T) {
	base, err := checkpoint.OpenFS("builtin", builtin.Base())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { base.Close() })
	exact, _ := loadModel(t, base.Config, base, torch.Float32)
	rounded, _ := loadModel(t, base.Config, base, torch.BFloat16)
	l := lesson(&fixture{model: exact}, 6)
	want, got := learn(t, exact, l), learn(t, rounded, l)
	for i := range want.Losses {
		for j, x := range want.Losses[i] {
			if d := math.Abs(float64(got.Losses[i][j] - x)); !(d <= 0.05*(1+float64(x))) {
				t.Errorf("row %d, choice %d: loss %v in bfloat16, %v in float32", i, j, got.Losses[i][j], x)
			}
		}
	}
	for run := range want.Runs {
		if c := cosine(got.Runs[run], want.Runs[run]); !(c >= 0.98) {
			t.Errorf("run %d: the cosine of the gradients is %v", run, c)
		}
	}
}

func cosine(a, b []float32) float64 {
	ab, aa, bb := 0.0, 0.0, 0.0
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}
