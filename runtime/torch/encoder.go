package torch

// #include "encoder.h"
import "C"

import (
	"unsafe"
)

// Activation is the function within a feed-forward.
type Activation int32

// The activations of the T5 family.
const (
	ActivationReLU    Activation = C.vl_relu
	ActivationGELUNew Activation = C.vl_gelu_new
	ActivationSiLU    Activation = C.vl_silu
)

// Projection is W (x * In) * Out. In and Out are vectors [texts or 1, 1, size] float32, or
// none.
type Projection struct {
	W       Packed
	In, Out Tensor
}

// EncoderLayer is one layer of an encoder: both norms [D] float32, and the projections.
// WI1.W is none where the feed-forward is not gated.
type EncoderLayer struct {
	SelfNorm, FFNorm         Tensor
	Q, K, V, O, WI0, WI1, WO Projection
	Activation               Activation
	Epsilon                  float64
}

// InPanels tells whether Encode can multiply by p: the processor has what its kernels need.
func (p Packed) InPanels() bool { return p.Defined() && C.vl_panels(p.c) != 0 }

// Distances is a position bias [1, H, n, n] that depends on the distance alone, by
// distance: [H, 2n-1] float32, keys before the query first.
func (s *Scope) Distances(bias Tensor) Tensor {
	if !s.ok(bias) {
		return Tensor{}
	}
	return s.own(ctensor(C.vl_distances(handle(bias))))
}

// Encode changes x [tokens, D] float32, which are texts of the given lengths end to end
// without padding, to the layer's result. distances [H, 2n-1] are those of the longest
// text's length n or of a greater one. A text's result does not depend on the others, to
// the last bit.
func (s *Scope) Encode(x Tensor, lengths []int64, l *EncoderLayer, distances Tensor) {
	if !s.ok(x, l.SelfNorm, l.FFNorm, distances) {
		return
	}
	c := C.vl_layer{
		self_norm: handle(l.SelfNorm), ff_norm: handle(l.FFNorm),
		q: l.Q.c(), k: l.K.c(), v: l.V.c(), o: l.O.c(), wi0: l.WI0.c(), wi1: l.WI1.c(), wo: l.WO.c(),
	}
	s.done("encode", C.vl_encode(handle(x), sizes(lengths), C.int(len(lengths)), &c, handle(distances), C.int(l.Activation), C.double(l.Epsilon)) != 0)
}

// Lay puts x [tokens, D] of texts end to end into [texts, longest, D], with zeros after
// the shorter ones.
func (s *Scope) Lay(x Tensor, lengths []int64) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	return s.own(ctensor(C.vl_lay(handle(x), sizes(lengths), C.int(len(lengths)))))
}

func (p Projection) c() C.vl_projection {
	return C.vl_projection{w: p.W.c, in: handle(p.In), out: handle(p.Out)}
}

func sizes(n []int64) *C.int64_t { return (*C.int64_t)(unsafe.SliceData(n)) }
