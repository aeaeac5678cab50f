package pickle

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"valence/runtime/safetensors"
)

// ErrFormat is wrapped by every error about a file that is malformed, or that
// holds more than tensors.
var ErrFormat = errors.New("pickle: not a file of tensors")

// Parse reads a file whose one object is a dict from names to tensors of float64,
// float32, float16 or bfloat16, in the zip archive that torch.save has written
// since PyTorch 1.6 or in the stream that it wrote before. The format is that of
// PyTorch 2.11.0.
//
// The tensors are found by name; their data are copies, little-endian and in
// row-major order whatever the file's byte order and strides. Gradients, devices
// and the attributes of an OrderedDict are ignored. Tensors that repeat or share
// elements are refused where that makes them larger than the file.
//
// Errors wrap ErrFormat and name the record, the tensor or the byte of the pickle.
func Parse(data []byte) (map[string]safetensors.Tensor, error) {
	tensors, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return tensors, nil
}

func parse(data []byte) (map[string]safetensors.Tensor, error) {
	// The first bytes decide, as in torch.load: no file is taken for both.
	head := string(data[:min(len(data), len(legacyMagic))])
	s := &storages{limit: int64(len(data))}
	var root any
	var err error
	switch {
	case strings.HasPrefix(head, zipMagic):
		root, err = parseArchive(data, s)
	case head == legacyMagic:
		root, err = parseLegacy(data, s)
	default:
		err = errors.New("it does not begin as torch.save begins a file")
	}
	if err != nil {
		return nil, err
	}
	return copyTensors(root, s.limit)
}

// copyTensors makes the result of the machine's. Together the copies must not
// exceed limit, in bytes.
func copyTensors(root any, limit int64) (map[string]safetensors.Tensor, error) {
	d, ok := root.(*dict)
	if !ok {
		return nil, fmt.Errorf("it holds %s, not a dict of tensors", kind(root))
	}
	out := make(map[string]safetensors.Tensor, len(d.items))
	for _, name := range slices.Sorted(maps.Keys(d.items)) {
		t, ok := d.items[name].(*tensor)
		if !ok {
			return nil, fmt.Errorf("%q is %s, not a tensor", name, kind(d.items[name]))
		}
		if limit -= t.elements * t.storage.elementSize(); limit < 0 {
			return nil, fmt.Errorf("tensor %q: the tensors together are larger than the file; ones that share elements are not supported", name)
		}
		out[name] = safetensors.Tensor{Name: name, DType: t.storage.dtype, Shape: t.shape, Data: t.rowMajor()}
	}
	return out, nil
}
