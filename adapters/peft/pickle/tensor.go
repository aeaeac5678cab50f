package pickle

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// maxRank bounds the dimensions of a tensor.
const maxRank = 8

// tensor is a view of a storage that has been checked to lie within it. Offset and
// strides count elements.
type tensor struct {
	storage  *storage
	offset   int64
	shape    []int64
	stride   []int64
	elements int64 // product of shape
}

// newTensor does what torch._utils._rebuild_tensor_v2 does with the arguments
// (storage, offset, size, stride, requires_grad, backward_hooks[, metadata]).
func newTensor(args tuple) (*tensor, error) {
	if len(args) != 6 && len(args) != 7 {
		return nil, fmt.Errorf("a tensor is made of 6 or 7 arguments, not %d", len(args))
	}
	s, ok := args[0].(*storage)
	if !ok {
		return nil, fmt.Errorf("the storage of a tensor is %s", kind(args[0]))
	}
	if _, ok := args[4].(bool); !ok {
		return nil, fmt.Errorf("requires_grad of a tensor is %s", kind(args[4]))
	}
	if !isEmpty(args[5]) {
		return nil, errors.New("a tensor has backward hooks, which are code")
	}
	if len(args) == 7 && !isEmpty(args[6]) {
		return nil, errors.New("a tensor has metadata (a conjugate or negative view), which is not supported")
	}
	t := &tensor{storage: s}
	if err := t.setLayout(args[1], args[2], args[3]); err != nil {
		return nil, fmt.Errorf("a tensor of storage %q: %w", s.key, err)
	}
	return t, nil
}

func (t *tensor) setLayout(offset, size, stride any) (err error) {
	if t.offset, err = natural(offset); err != nil {
		return fmt.Errorf("offset: %w", err)
	}
	if t.shape, err = naturals(size); err != nil {
		return fmt.Errorf("size: %w", err)
	}
	if t.stride, err = naturals(stride); err != nil {
		return fmt.Errorf("stride: %w", err)
	}
	if len(t.shape) != len(t.stride) {
		return fmt.Errorf("%d sizes but %d strides", len(t.shape), len(t.stride))
	}
	if err := t.count(); err != nil {
		return err
	}
	return t.checkBounds()
}

// count sets elements. A tensor with more elements than its storage would repeat
// some of them: a few bytes could ask for any amount of memory.
func (t *tensor) count() error {
	t.elements = 1
	for _, n := range t.shape {
		hi, lo := bits.Mul64(uint64(t.elements), uint64(n))
		if hi != 0 || lo > math.MaxInt64 {
			return fmt.Errorf("size %v overflows", t.shape)
		}
		t.elements = int64(lo)
	}
	if t.elements > t.storage.elements {
		return fmt.Errorf("size %v needs more than the %d elements of the storage", t.shape, t.storage.elements)
	}
	return nil
}

// checkBounds checks that the last element lies within the storage.
func (t *tensor) checkBounds() error {
	if t.elements == 0 {
		return nil
	}
	outside := fmt.Errorf("offset %d, size %v and stride %v reach beyond the %d elements of the storage", t.offset, t.shape, t.stride, t.storage.elements)
	room := t.storage.elements - 1 - t.offset // elements after the first
	if room < 0 {
		return outside
	}
	for i, n := range t.shape {
		steps := n - 1
		if steps == 0 {
			continue
		}
		if t.stride[i] > room/steps { // the product could overflow
			return outside
		}
		room -= steps * t.stride[i]
	}
	return nil
}

// rowMajor copies the elements, the last dimension changing fastest.
func (t *tensor) rowMajor() []byte {
	out := make([]byte, 0, t.elements*t.storage.elementSize())
	if t.elements == 0 {
		return out
	}
	return t.appendFrom(out, t.offset, 0)
}

// appendFrom appends the elements of the dimensions from dim on, beginning with
// the element at a place of the storage.
func (t *tensor) appendFrom(out []byte, at int64, dim int) []byte {
	if dim == len(t.shape) {
		size := t.storage.elementSize()
		return append(out, t.storage.data[at*size:(at+1)*size]...)
	}
	for i := range t.shape[dim] {
		out = t.appendFrom(out, at+i*t.stride[dim], dim+1)
	}
	return out
}

// naturals reads a tuple of integers that are not negative.
func naturals(v any) ([]int64, error) {
	items, ok := v.(tuple)
	if !ok {
		return nil, fmt.Errorf("%s, not a tuple", kind(v))
	}
	if len(items) > maxRank {
		return nil, fmt.Errorf("%d dimensions, above the limit of %d", len(items), maxRank)
	}
	out := make([]int64, len(items))
	for i, item := range items {
		var err error
		if out[i], err = natural(item); err != nil {
			return nil, fmt.Errorf("dimension %d: %w", i, err)
		}
	}
	return out, nil
}

func natural(v any) (int64, error) {
	n, ok := v.(int64)
	if !ok {
		return 0, fmt.Errorf("%s, not an integer", kind(v))
	}
	if n < 0 {
		return 0, fmt.Errorf("%d is negative", n)
	}
	return n, nil
}
