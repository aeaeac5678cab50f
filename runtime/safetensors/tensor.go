package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"unsafe"
)

// Tensor is one tensor of a file.
type Tensor struct {
	Name  string
	DType DType
	Shape []int64 // empty for a scalar
	Data  []byte  // little-endian, row-major; may start at any address, aligned or not
}

// byteLen is how many bytes a tensor of this type and shape fills. It errs where
// a dimension is negative or a product overflows.
func byteLen(d DType, shape []int64) (int64, error) {
	n := uint64(d.Size())
	for _, dim := range shape {
		hi, lo := bits.Mul64(n, uint64(dim))
		if dim < 0 || hi != 0 || lo > math.MaxInt64 {
			return 0, fmt.Errorf("shape %v of %s has a negative dimension or overflows", shape, d)
		}
		n = lo
	}
	return int64(n), nil
}

// check tells whether the fields of a tensor agree with each other.
func (t Tensor) check() error {
	if t.DType.Size() == 0 {
		return fmt.Errorf("dtype %q is not supported", t.DType)
	}
	want, err := byteLen(t.DType, t.Shape)
	if err != nil {
		return err
	}
	if int64(len(t.Data)) != want {
		return fmt.Errorf("shape %v of %s needs %d bytes, not %d", t.Shape, t.DType, want, len(t.Data))
	}
	return nil
}

// Float32s converts the elements of an F64, F32, F16 or BF16 tensor to float32,
// in a new slice. F64 is rounded to the nearest; every other value is exact. Other
// element types give an error that wraps ErrFormat.
func (t Tensor) Float32s() ([]float32, error) { return t.AppendFloat32s(nil) }

// Float32Bytes is the memory of values, which lie there as in a file: the processors that
// libtorch is had for are little-endian.
func Float32Bytes(values []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
}

// AppendFloat32s does what Float32s does, behind the elements of a slice.
func (t Tensor) AppendFloat32s(to []float32) ([]float32, error) {
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("%w: tensor %q: %w", ErrFormat, t.Name, err)
	}
	le, size := binary.LittleEndian, t.DType.Size()
	to = slices.Grow(to, len(t.Data)/size)
	switch data := t.Data; t.DType {
	case F64:
		for ; len(data) > 0; data = data[size:] {
			to = append(to, float32(math.Float64frombits(le.Uint64(data))))
		}
	case F32:
		n := len(to)
		to = to[:n+len(data)/size]
		copy(Float32Bytes(to[n:]), data)
	case BF16:
		for ; len(data) > 0; data = data[size:] {
			to = append(to, math.Float32frombits(uint32(le.Uint16(data))<<16))
		}
	case F16:
		for ; len(data) > 0; data = data[size:] {
			to = append(to, fromHalf(le.Uint16(data)))
		}
	default:
		return nil, fmt.Errorf("%w: tensor %q holds %s, which are not floats that can be converted (F64, F32, F16, BF16)", ErrFormat, t.Name, t.DType)
	}
	return to, nil
}

// fromHalf widens an IEEE 754 binary16: 1 sign bit, 5 bits of exponent with bias
// 15, 10 bits of fraction. float32 has 8 bits with bias 127 and 23 of fraction.
func fromHalf(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exponent := uint32(h>>10) & 0x1f
	fraction := uint32(h & 0x3ff)
	switch exponent {
	case 0: // zero or subnormal: fraction * 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	case 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	default:
		return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
	}
}
