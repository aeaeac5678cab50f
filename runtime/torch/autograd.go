package torch

import lib "github.com/sugarme/gotch/libtch"

// WithGradients runs f with gradients recorded for what depends on a Leaf. Without
// it they never are.
func (s *Scope) WithGradients(f func()) {
	setGrad(true)
	defer setGrad(false)
	f()
}

// Leaf is x, sharing its memory, as a tensor that Gradients can be taken with
// respect to. What x was made from gets none.
func (s *Scope) Leaf(x Tensor) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	return s.own(leaf(x.c))
}

// Gradients gives, for each leaf, the sum over the tensors of of their gradient along
// the tensors along, each of the shape of its of. All leaves must have been used. What
// was recorded is freed: it serves once.
func (s *Scope) Gradients(of, along, leaves []Tensor) []Tensor {
	if !s.ok(of...) || !s.ok(along...) || !s.ok(leaves...) {
		return make([]Tensor, len(leaves))
	}
	if len(of) == 0 || len(of) != len(along) || len(leaves) == 0 {
		s.Fail("gradients of %d tensors along %d to %d", len(of), len(along), len(leaves))
		return make([]Tensor, len(leaves))
	}
	out := make([]lib.Ctensor, len(leaves))
	if !gradients(bare(of), bare(along), bare(leaves), out) {
		s.err = lastErr()
	}
	grads := make([]Tensor, len(leaves))
	for i, c := range out {
		if s.err == nil {
			grads[i] = s.own(c)
		}
	}
	return grads
}

func bare(ts []Tensor) []lib.Ctensor {
	cs := make([]lib.Ctensor, len(ts))
	for i, t := range ts {
		cs[i] = t.c
	}
	return cs
}
