package train

import (
	"math"
	"sync"
)

// adamW is one run's optimiser.
//
// Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"; the
// order of operations is that of torch.optim.AdamW.
type adamW struct {
	m, v []float32 // moments
}

func newAdamW(n int) adamW { return adamW{make([]float32, n), make([]float32, n)} }

// step gives new vectors from those before, for a gradient and the 1-based number of
// the step. The moments change in place, the vectors do not: others may be reading
// them.
func (a *adamW) step(r *Recipe, vectors []float32, gradient []float64, rate float64, step int) []float32 {
	out := make([]float32, len(vectors))
	correct1 := 1 - math.Pow(r.Beta1, float64(step))
	correct2 := math.Sqrt(1 - math.Pow(r.Beta2, float64(step)))
	var parts sync.WaitGroup
	for from := 0; from < len(gradient); from += adamPart {
		parts.Go(func() {
			for i := from; i < min(from+adamPart, len(gradient)); i++ {
				g := gradient[i]
				m := float64(a.m[i]) + (g-float64(a.m[i]))*(1-r.Beta1)
				v := float64(a.v[i])*r.Beta2 + g*g*(1-r.Beta2)
				a.m[i], a.v[i] = float32(m), float32(v)
				decayed := float64(vectors[i]) * (1 - rate*r.WeightDecay)
				out[i] = float32(decayed - rate/correct1*m/(math.Sqrt(v)/correct2+r.Epsilon))
			}
		})
	}
	parts.Wait()
	return out
}

// adamPart is how many elements one goroutine steps: 0.1 ms, which those of mt0-large take
// seventeen times while a GPU has nothing to do.
const adamPart = 1 << 14

// rateAt decays the learning rate linearly from the first of steps to 0 after the
// last: get_linear_schedule_with_warmup of transformers without a warm-up.
func rateAt(rate float64, step, steps int) float64 {
	return rate * float64(steps-step) / float64(steps)
}

// clip scales a gradient to the largest norm allowed, as torch's clip_grad_norm_
// does; 0 allows any.
func clip(gradient []float64, largest float64) {
	if largest == 0 {
		return
	}
	sum := 0.0
	for _, g := range gradient {
		sum += g * g
	}
	if scale := largest / (math.Sqrt(sum) + 1e-6); scale < 1 {
		for i := range gradient {
			gradient[i] *= scale
		}
	}
}
