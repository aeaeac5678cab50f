package torch

import (
	"fmt"
	"unsafe"

	lib "github.com/sugarme/gotch/libtch"
)

// Shape is the tensor's size in every dimension, or nil after an error.
func (s *Scope) Shape(t Tensor) []int64 {
	if !s.ok(t) {
		return nil
	}
	shape := make([]int64, lib.AtDim(t.c))
	if len(shape) > 0 {
		lib.AtShape(t.c, unsafe.Pointer(&shape[0]))
	}
	return shape
}

// Reshape gives x another shape of as many elements; -1 stands for what remains.
// It is a view where x is contiguous, else a copy.
func (s *Scope) Reshape(x Tensor, shape ...int64) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	lib.AtgReshape(s.out, x.c, shape, len(shape))
	return s.take()
}

// Transpose swaps two dimensions; a view.
func (s *Scope) Transpose(x Tensor, a, b int64) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	lib.AtgTranspose(s.out, x.c, a, b)
	return s.take()
}

// Permute reorders the dimensions; a view.
func (s *Scope) Permute(x Tensor, dims ...int64) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	lib.AtgPermute(s.out, x.c, dims, len(dims))
	return s.take()
}

// Narrow is the part of length n from start on along dim; a view.
func (s *Scope) Narrow(x Tensor, dim, start, n int64) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	lib.AtgNarrow(s.out, x.c, dim, start, n)
	return s.take()
}

// Unsqueeze inserts a dimension of size 1; a view.
func (s *Scope) Unsqueeze(x Tensor, dim int64) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	lib.AtgUnsqueeze(s.out, x.c, dim)
	return s.take()
}

// Contiguous copies x into row-major order unless it lies so already.
func (s *Scope) Contiguous(x Tensor) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	lib.AtgContiguous(s.out, x.c)
	return s.take()
}

// Cat joins tensors along dim.
func (s *Scope) Cat(dim int64, xs ...Tensor) Tensor {
	if len(xs) == 0 {
		return s.Fail("cat: no tensors")
	}
	if !s.ok(xs...) {
		return Tensor{}
	}
	cs := make([]lib.Ctensor, len(xs))
	for i, x := range xs {
		cs[i] = x.c
	}
	lib.AtgCat(s.out, cs, len(cs), dim)
	return s.take()
}

// DType is the elements' type. It means nothing after an error.
func (s *Scope) DType(x Tensor) DType {
	if !s.ok(x) {
		return 0
	}
	return DType(lib.AtScalarType(x.c))
}

// To converts the elements' type; the same handle when it is that already.
func (s *Scope) To(x Tensor, d DType) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	if s.DType(x) == d {
		return x
	}
	lib.AtgToDtype(s.out, x.c, int32(d), 0, 0)
	return s.take()
}

// Full is a tensor with every element value.
func (s *Scope) Full(value float64, d DType, shape ...int64) Tensor {
	if s.err != nil {
		return Tensor{}
	}
	v := lib.AtsFloat(value)
	defer lib.AtsFree(v)
	lib.AtgFull(s.out, shape, len(shape), v, int32(d), s.thread.device.index())
	return s.take()
}

// Copy writes src over dst, which may be a view.
func (s *Scope) Copy(dst, src Tensor) {
	if !s.ok(dst, src) {
		return
	}
	lib.AtCopy_(dst.c, src.c)
	s.err = lastErr()
}

// Write copies numbers over dst, a float32 tensor of as many elements, which may be a view.
func (s *Scope) Write(dst Tensor, data []float32) {
	if s.ok(dst) && !write(dst.c, bytesOf(data)) {
		s.err = lastErr()
	}
}

// Upload copies little-endian elements of type from into a new tensor of type to on
// the scope's device. data may be a mapped file: it is not needed afterwards.
func (s *Scope) Upload(data []byte, shape []int64, from, to DType) Tensor {
	if s.err != nil {
		return Tensor{}
	}
	return s.own(upload(data, shape, from, to, s.thread.device.index()))
}

// Alias is a tensor on the CPU whose elements stay in data: memory that is not Go's, never
// changes and outlives the tensor, such as that of a mapped file.
func (s *Scope) Alias(data []byte, shape []int64, kind DType) Tensor {
	if s.err != nil {
		return Tensor{}
	}
	if s.thread.device.IsCUDA() {
		return s.Fail("alias: memory of the host on %v", s.thread.device)
	}
	return s.own(alias(data, shape, kind))
}

// Int64s copies ids to the device.
func (s *Scope) Int64s(data []int64, shape ...int64) Tensor {
	return s.Upload(bytesOf(data), shape, Int64, Int64)
}

// Float32s copies numbers to the device.
func (s *Scope) Float32s(data []float32, shape ...int64) Tensor {
	return s.Upload(bytesOf(data), shape, Float32, Float32)
}

func bytesOf[T int64 | float32](data []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), len(data)*int(unsafe.Sizeof(*new(T))))
}

// ReadFloat32s copies x, converted to float32, to the host. It waits for the device.
func (s *Scope) ReadFloat32s(x Tensor) ([]float32, error) { return read[float32](s, x, Float32) }

// ReadInt64s copies x, an int64 tensor, to the host. It waits for the device.
func (s *Scope) ReadInt64s(x Tensor) ([]int64, error) { return read[int64](s, x, Int64) }

func read[T int64 | float32](s *Scope, x Tensor, d DType) ([]T, error) {
	x = s.To(x, d)
	n := int64(1)
	for _, k := range s.Shape(x) {
		n *= k
	}
	if s.err != nil {
		return nil, fmt.Errorf("torch: read: %w", s.err)
	}
	out := make([]T, n)
	if n > 0 {
		lib.AtCopyData(x.c, unsafe.Pointer(&out[0]), uint(n), uint(d.Size()))
		s.err = lastErr()
	}
	return out, s.err
}
