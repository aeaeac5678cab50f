package torch

// #include "grads.h"
import "C"

// Texts are the lengths of texts that lie end to end; none where texts are padded.
type Texts []int64

// Defined tells whether texts lie end to end.
func (t Texts) Defined() bool { return len(t) > 0 }

// lengths is NULL where texts are padded.
func (t Texts) lengths() *C.int64_t {
	if !t.Defined() {
		return nil
	}
	return sizes(t)
}

// The operators below take the tokens of several texts: x [texts, t, D], padded, where there
// are no lengths; or x [1, tokens, D], texts end to end, which is for float32 on a CPU.

// Scale multiplies each text's tokens by its vector: l [texts, 1, D], or one for all.
func (s *Scope) Scale(x, l Tensor, t Texts) Tensor {
	if !s.ok(x, l) {
		return Tensor{}
	}
	return s.own(ctensor(C.vl_scale(handle(x), handle(l), t.lengths(), C.int(len(t)))))
}

// Gate is f(h) * u, and times each text's vector where l is not none: h and u are tokens, l
// [texts, 1, D] or one for all.
func (s *Scope) Gate(h, u, l Tensor, f Activation, t Texts) Tensor {
	if !s.ok(h, u) {
		return Tensor{}
	}
	return s.own(ctensor(C.vl_gate(handle(h), handle(u), handle(l), C.int(f), t.lengths(), C.int(len(t)))))
}

// Noise is dropout, or none where there are no keys: see Scope.Dropout.
type Noise struct {
	Keys Tensor // [texts or sequences] int64
	Salt int64
	Rate float64
}

func (n Noise) c() C.vl_noise {
	return C.vl_noise{keys: handle(n.Keys), salt: C.int64_t(n.Salt), rate: C.double(n.Rate)}
}

// DropoutTexts is Dropout of x [1, tokens, D], of texts end to end, as of each text in a row of its own.
func (s *Scope) DropoutTexts(x Tensor, n Noise, t Texts) Tensor {
	if !s.ok(x, n.Keys) {
		return Tensor{}
	}
	return s.own(ctensor(C.vl_drop(handle(x), n.c(), t.lengths(), C.int(len(t)))))
}

// Attend is the attention of sequences of queries to texts, without the usual scaling, as T5
// has it: q [.., H*K] are sequences end to end, k and v [.., H*K] texts likewise, and sequence
// i looks at text of[i], or at text i where of is nil. distances [H, 2m-1], as Distances gives
// them, or none, is the position bias, and m the longest text's length or more. The result has
// the shape of q; a sequence's does not depend on the others. n is the noise of each sequence's
// weights, [H, queries, keys] in its row.
func (s *Scope) Attend(q, k, v Tensor, heads int, queries, keys Texts, of []int64, distances Tensor, n Noise) Tensor {
	if !s.ok(q, k, v) {
		return Tensor{}
	}
	return s.own(ctensor(C.vl_attend(handle(q), handle(k), handle(v), C.int(heads), sizes(queries), C.int(len(queries)),
		sizes(keys), C.int(len(keys)), sizes(of), handle(distances), n.c())))
}
