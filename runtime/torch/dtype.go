package torch

import "fmt"

// DType is the type of a tensor's elements, numbered as libtorch's ScalarType.
type DType int32

// The element types in use.
const (
	UInt8    DType = 0
	Int64    DType = 4
	Float16  DType = 5
	Float32  DType = 6
	Float64  DType = 7
	Bool     DType = 11
	BFloat16 DType = 15
)

var dtypes = map[DType]struct {
	name string
	size int
}{
	UInt8: {"uint8", 1}, Int64: {"int64", 8}, Float16: {"float16", 2}, Float32: {"float32", 4},
	Float64: {"float64", 8}, Bool: {"bool", 1}, BFloat16: {"bfloat16", 2},
}

// String gives PyTorch's name of the type.
func (d DType) String() string {
	if t, ok := dtypes[d]; ok {
		return t.name
	}
	return fmt.Sprintf("dtype(%d)", int32(d))
}

// Size is the bytes of one element.
func (d DType) Size() int { return dtypes[d].size }
