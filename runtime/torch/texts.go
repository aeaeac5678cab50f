package torch

// #include "grads.h"
import "C"

// Texts are texts that lie end to end, as the operators below know them.
type Texts struct {
	Lengths []int64 // nil where texts are padded
	places  Tensor  // on a GPU
}

// Defined tells whether texts lie end to end.
func (t Texts) Defined() bool { return t.Lengths != nil }

// Texts gives texts of the given lengths, whose tokens are in float32 on a CPU, or in bfloat16
// on a GPU.
func (s *Scope) Texts(lengths []int64, onGPU bool) Texts {
	t := Texts{Lengths: lengths}
	if onGPU && s.ok() {
		t.places = s.own(ctensor(C.vl_places(sizes(lengths), C.int(len(lengths)), C.int(s.thread.device.index()))))
	}
	return t
}

// GiveTexts is Give for what texts have on the device.
func (s *Scope) GiveTexts(to *Scope, t Texts) Texts {
	if t.places.Defined() {
		t.places = s.Give(to, t.places)
	}
	return t
}

// The operators below take the tokens of several texts: x [texts, t, D], padded, where there
// are no lengths; or x [1, tokens, D], texts end to end, which is for float32 on a CPU, and
// bfloat16 with vectors in float32 on a GPU.

// Scale multiplies each text's tokens by its vector: l [texts, 1, D], or one for all.
func (s *Scope) Scale(x, l Tensor, t Texts) Tensor {
	if !s.ok(x, l) {
		return Tensor{}
	}
	return s.own(ctensor(C.vl_scale(handle(x), handle(l), sizes(t.Lengths), C.int(len(t.Lengths)), handle(t.places))))
}

// Gate is f(h) * u, and times each text's vector where l is not none: h and u are tokens, l
// [texts, 1, D] or one for all.
func (s *Scope) Gate(h, u, l Tensor, f Activation, t Texts) Tensor {
	if !s.ok(h, u) {
		return Tensor{}
	}
	return s.own(ctensor(C.vl_gate(handle(h), handle(u), handle(l), C.int(f), sizes(t.Lengths), C.int(len(t.Lengths)), handle(t.places))))
}

// Attend is the attention of sequences of queries to texts, without the usual scaling, as T5
// has it: q [.., H*K] are sequences end to end, k and v [.., H*K] texts likewise, and sequence
// i looks at text of[i], or at text i where of is nil. distances [H, 2m-1], as Distances gives
// them, or none, is the position bias, and m the longest text's length or more. The result has
// the shape of q; a sequence's does not depend on the others.
func (s *Scope) Attend(q, k, v Tensor, heads int, queries, keys Texts, of []int64, distances Tensor) Tensor {
	if !s.ok(q, k, v) {
		return Tensor{}
	}
	return s.own(ctensor(C.vl_attend(handle(q), handle(k), handle(v), C.int(heads), sizes(queries.Lengths), C.int(len(queries.Lengths)),
		sizes(keys.Lengths), C.int(len(keys.Lengths)), sizes(of), handle(distances), handle(queries.places), handle(keys.places))))
}
