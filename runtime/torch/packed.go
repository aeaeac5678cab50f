package torch

// #include "packed.h"
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	lib "github.com/sugarme/gotch/libtch"
)

// Format is how a frozen weight is laid out and multiplied on a CPU. Rows and results
// are float32 in all of them, and a row's result depends on that row alone.
type Format int32

const (
	// PackedFloat32 rounds nothing.
	PackedFloat32 Format = C.vl_float32
	// PackedBFloat16 rounds weights, and rows where the processor multiplies bfloat16, to
	// bfloat16 and sums in float32.
	PackedBFloat16 Format = C.vl_bfloat16
	// PackedFloat16 rounds weights to float16.
	PackedFloat16 Format = C.vl_float16
	// PackedInt8 has 8 bits a weight, with a scale for each output, and 8 bits (7 on a CPU
	// without VNNI) a number of a row, with a scale for each row. Sums are exact.
	PackedInt8 Format = C.vl_int8
	// PackedWideBFloat16 rounds weights to bfloat16, and no rows.
	PackedWideBFloat16 Format = C.vl_wide_bfloat16
	// PackedWideInt8 is PackedInt8 with 16 bits (14 without VNNI) a number of a row, as the sum
	// of two rows of 8: twice the work.
	PackedWideInt8 Format = C.vl_wide_int8
)

// String is the format's name, as in "int8".
func (f Format) String() string {
	switch f {
	case PackedFloat32:
		return "float32"
	case PackedBFloat16:
		return "bfloat16"
	case PackedFloat16:
		return "float16"
	case PackedInt8:
		return "int8"
	case PackedWideBFloat16:
		return "wide-bfloat16"
	case PackedWideInt8:
		return "wide-int8"
	default:
		return fmt.Sprintf("format(%d)", int32(f))
	}
}

// CanPack tells whether this processor has the kernels that a format needs. Without AVX2
// there are none for float32, float16 and wide bfloat16.
func CanPack(f Format) bool { return C.vl_can_pack(C.int(f)) != 0 }

// FastBFloat16 tells whether this processor multiplies bfloat16 faster than float32.
func FastBFloat16() bool { return C.vl_fast_bfloat16() != 0 }

// FastInt8 tells whether this processor multiplies 8 bits faster than float32, also by
// activations of 16: it does with AVX512-VNNI.
func FastInt8() bool { return Layout(PackedInt8) != "" }

// Packed is a weight [out, in] in a Format. It belongs to the Scope that made it, and
// its zero value stands for "none".
type Packed struct{ c C.vl_packed }

// Defined tells whether p is not the zero Packed.
func (p Packed) Defined() bool { return p.c != nil }

// Bytes is the memory of the weight.
func (p Packed) Bytes() int64 { return int64(C.vl_packed_bytes(p.c)) }

// Pack lays out w [out, in], which is not needed afterwards.
func (s *Scope) Pack(w Tensor, f Format) Packed {
	if !s.ok(w) {
		return Packed{}
	}
	return s.ownPacked(C.vl_pack(handle(w), C.int(f)))
}

// PackData lays out a weight [out, in] whose little-endian elements of type from are
// data, which may be a mapped file: it is not needed afterwards.
func (s *Scope) PackData(data []byte, from DType, out, in int64, f Format) Packed {
	if s.err != nil || !s.fits(data, from, out, in) {
		return Packed{}
	}
	return s.ownPacked(C.vl_pack_data(unsafe.Pointer(unsafe.SliceData(data)), C.int(from), C.int64_t(out), C.int64_t(in), C.int(f)))
}

// fits tells whether data is a weight [out, in], and fails where it is not.
func (s *Scope) fits(data []byte, from DType, out, in int64) bool {
	if n := out * in * int64(from.Size()); n != int64(len(data)) {
		s.err = fmt.Errorf("torch: pack: %d bytes for %d by %d elements of %v", len(data), out, in, from)
		return false
	}
	return true
}

// Layout names how this processor lays out weights of a format: what was laid out alike can
// be kept and used again. It is "" where it cannot.
func Layout(f Format) string {
	var name [64]C.char
	C.vl_layout(C.int(f), &name[0], C.int(len(name)))
	return C.GoString(&name[0])
}

// Data is what a weight is made of, Bytes long, or nil where it cannot be kept. It lies in
// memory that is not Go's, until Settle or as long as p.
func (p Packed) Data() []byte {
	at := C.vl_packed_data(p.c)
	if at == nil {
		return nil
	}
	return unsafe.Slice((*byte)(at), p.Bytes())
}

// PackedAt is a weight [out, in] that is made of data, in the layout that f has now. It stays
// there, in memory that is not Go's and does not change, until Settle or until the weight is
// freed.
func (s *Scope) PackedAt(data []byte, out, in int64, f Format) Packed {
	if s.err != nil {
		return Packed{}
	}
	return s.ownPacked(C.vl_packed_at(unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data)), C.int64_t(out), C.int64_t(in), C.int(f)))
}

// Settle moves the weight into pages of 2 MiB: what it was made of is not needed any more.
func (s *Scope) Settle(p Packed) {
	if s.err == nil && p.Defined() {
		s.done("settle", C.vl_settle(p.c) != 0)
	}
}

func (s *Scope) ownPacked(c C.vl_packed) Packed {
	if c == nil {
		if s.err = lastErr(); s.err == nil {
			s.err = errors.New("torch: pack gave neither a weight nor an error")
		}
		return Packed{}
	}
	p := Packed{c}
	s.packed = append(s.packed, p)
	s.thread.live.Add(1)
	return p
}

// PackedLinear is x Wᵀ: x [..., in] float32. Where gradients are recorded, p must live
// until they are had.
func (s *Scope) PackedLinear(x Tensor, p Packed) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	if !p.Defined() {
		return s.Fail("packed linear: there is no weight")
	}
	return s.own(ctensor(C.vl_packed_linear(handle(x), p.c)))
}

// handle is a tensor as this package's C functions take it, and ctensor one that they
// return.
func handle(t Tensor) C.vl_tensor       { return C.vl_tensor(t.c) }
func ctensor(c C.vl_tensor) lib.Ctensor { return lib.Ctensor(c) }

func (s *Scope) freePacked() {
	for _, p := range s.packed {
		C.vl_packed_free(p.c)
		s.thread.live.Add(-1)
	}
	s.packed = nil
}
