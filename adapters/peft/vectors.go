package peft

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math"
	"slices"

	"valence/adapters/peft/pickle"
	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
)

// readVectors reads the file of weights, which must hold the vectors of the sites
// and nothing else. As in PEFT, a pickle counts only where there is no safetensors
// file.
func readVectors(fsys fs.FS, sites []spec.Site) (*spec.Vectors, error) {
	name, parse := weightsFile, parseSafetensors
	data, err := readFile(fsys, weightsFile, maxWeights)
	if errors.Is(err, fs.ErrNotExist) {
		pickled, pickleErr := readFile(fsys, pickleFile, maxWeights)
		if !errors.Is(pickleErr, fs.ErrNotExist) {
			name, parse, data, err = pickleFile, pickle.Parse, pickled, pickleErr
		}
	}
	if err != nil {
		return nil, err
	}
	tensors, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrAdapter, name, err)
	}
	vectors, err := toVectors(tensors, sites)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrAdapter, name, err)
	}
	return vectors, nil
}

func parseSafetensors(data []byte) (map[string]safetensors.Tensor, error) {
	file, err := safetensors.Parse(data)
	if err != nil {
		return nil, err
	}
	tensors := map[string]safetensors.Tensor{}
	for _, name := range file.Names() {
		tensors[name], _ = file.Tensor(name)
	}
	return tensors, nil
}

func toVectors(tensors map[string]safetensors.Tensor, sites []spec.Site) (*spec.Vectors, error) {
	known := make(map[string]bool, len(sites))
	values := make([]float32, 0, spec.Total(sites))
	for _, s := range sites {
		key := s.Key()
		begin := len(values)
		err := checkVector(tensors, key, s.Shape())
		if err == nil {
			values, err = tensors[key].AppendFloat32s(values)
		}
		if err == nil {
			err = checkFinite(values[begin:])
		}
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", key, err)
		}
		known[key] = true
	}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		if !known[name] {
			return nil, fmt.Errorf("tensor %q: no module that target_modules choose has it", name)
		}
	}
	return spec.NewVectors(sites, values)
}

func checkVector(tensors map[string]safetensors.Tensor, key string, shape []int64) error {
	t, ok := tensors[key]
	if !ok {
		return errors.New("it is missing, though target_modules choose its module")
	}
	if !slices.Equal(t.Shape, shape) {
		return fmt.Errorf("its shape is %v; the model asks for %v", t.Shape, shape)
	}
	switch t.DType {
	case safetensors.F32, safetensors.F16, safetensors.BF16:
		return nil
	}
	return fmt.Errorf("it holds %s; F32, F16 and BF16 are supported", t.DType)
}

// exponent are the bits of a float32's exponent: all are set in what is not finite.
const exponent = 0xff << 23

func checkFinite(values []float32) error {
	for i, v := range values {
		if math.Float32bits(v)&exponent == exponent {
			return fmt.Errorf("element %d is %v", i, v)
		}
	}
	return nil
}

// vectorsOf gives each site with its part of the data.
func vectorsOf(v *spec.Vectors) iter.Seq2[spec.Site, []float32] {
	return func(yield func(spec.Site, []float32) bool) {
		rest := v.Data
		for _, s := range v.Sites {
			if !yield(s, rest[:s.Size]) {
				return
			}
			rest = rest[s.Size:]
		}
	}
}
