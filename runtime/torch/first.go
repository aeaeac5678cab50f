package torch

// #include "first.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Heads is how an attention parts its inner numbers: Count heads of Width each, over states
// of D numbers.
type Heads struct{ Count, Width, D int64 }

// KeysSize is the size that PackKeys makes of a matrix [Count*Width, D], which is what
// PackedAt needs, and ValuesSize that of PackValues.
func (h Heads) KeysSize() (out, in int64) {
	var o, i C.int64_t
	C.vl_keys_size(C.int64_t(h.D), C.int64_t(h.Width), C.int64_t(h.Count), &o, &i)
	return int64(o), int64(i)
}

// ValuesSize is as KeysSize.
func (h Heads) ValuesSize() (out, in int64) {
	var o, i C.int64_t
	C.vl_values_size(C.int64_t(h.D), C.int64_t(h.Width), C.int64_t(h.Count), &o, &i)
	return int64(o), int64(i)
}

// PackKeys lays out a matrix of keys [Count*Width, D] for Absorbed: little-endian elements
// of type from, which may be a mapped file. The format must have rows that are not rounded.
func (s *Scope) PackKeys(data []byte, from DType, h Heads, f Format) Packed {
	return s.packHeads(data, from, h, func(at unsafe.Pointer) C.vl_packed {
		return C.vl_pack_keys(at, C.int(from), C.int64_t(h.D), C.int64_t(h.Width), C.int64_t(h.Count), C.int(f))
	})
}

// PackValues is PackKeys for a matrix of values.
func (s *Scope) PackValues(data []byte, from DType, h Heads, f Format) Packed {
	return s.packHeads(data, from, h, func(at unsafe.Pointer) C.vl_packed {
		return C.vl_pack_values(at, C.int(from), C.int64_t(h.D), C.int64_t(h.Width), C.int64_t(h.Count), C.int(f))
	})
}

func (s *Scope) packHeads(data []byte, from DType, h Heads, pack func(unsafe.Pointer) C.vl_packed) Packed {
	if s.err != nil || !s.fits(data, from, h.Count*h.Width, h.D) {
		return Packed{}
	}
	return s.ownPacked(pack(unsafe.Pointer(unsafe.SliceData(data))))
}

// Sight is what sequences see in the decoder's first step: sequence i the states of text
// Of[i], or of text i where Of is nil.
type Sight struct {
	seen    Tensor
	lengths []int64
	Of      []int64
	heads   int
}

// See lays out states [texts, longest, D] of texts of the given lengths to be looked at by
// so many heads.
func (s *Scope) See(states Tensor, lengths, of []int64, heads int) Sight {
	if !s.ok(states) {
		return Sight{}
	}
	return Sight{s.own(ctensor(C.vl_seen(handle(states), sizes(lengths), C.int(len(lengths))))), lengths, of, heads}
}

// c is what C sees; what it points to is pinned.
func (v Sight) c(pin *runtime.Pinner) C.vl_look {
	pin.Pin(unsafe.SliceData(v.lengths))
	if v.Of != nil {
		pin.Pin(unsafe.SliceData(v.Of))
	}
	return C.vl_look{seen: handle(v.seen), lengths: sizes(v.lengths), texts: C.int(len(v.lengths)), of: sizes(v.Of), heads: C.int(v.heads)}
}

// Absorbed is the attention of one query for each sequence, q [n, 1, H*K], without the keys
// and values of what it sees: k and v have the matrices that would make those, of PackKeys and
// PackValues, and vectors for each sequence. The result is [n, 1, H*K]; a sequence's does not
// depend on the others, to the last bit.
func (s *Scope) Absorbed(q Tensor, sight Sight, k, v Projection) Tensor {
	if !s.ok(q, sight.seen) {
		return Tensor{}
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	look := sight.c(&pin)
	return s.own(ctensor(C.vl_absorbed(handle(q), &look, k.c(), v.c())))
}

// FirstLayer is one layer of a decoder for a start token alone: norms [D] float32, of the
// self-attention values and output, and of the attention to the encoder's states Q and O, and
// K and V as Absorbed has them. WI1.W is none where the feed-forward is not gated.
type FirstLayer struct {
	SelfNorm, CrossNorm, FFNorm            Tensor
	SelfV, SelfO, Q, K, V, O, WI0, WI1, WO Projection
	Activation                             Activation
	Epsilon                                float64
}

// First changes x [n, D] float32, a token of each sequence, to the layer's result. A
// sequence's does not depend on the others, to the last bit.
func (s *Scope) First(x Tensor, sight Sight, l *FirstLayer) {
	if !s.ok(x, sight.seen, l.SelfNorm, l.CrossNorm, l.FFNorm) {
		return
	}
	c := C.vl_first_layer{
		self_norm: handle(l.SelfNorm), cross_norm: handle(l.CrossNorm), ff_norm: handle(l.FFNorm),
		self_v: l.SelfV.c(), self_o: l.SelfO.c(), q: l.Q.c(), o: l.O.c(), k: l.K.c(), v: l.V.c(),
		wi0: l.WI0.c(), wi1: l.WI1.c(), wo: l.WO.c(),
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	look := sight.c(&pin)
	s.done("first", C.vl_first(handle(x), &look, &c, C.int(l.Activation), C.double(l.Epsilon)) != 0)
}
