package peft

import (
	"encoding/binary"
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
		vector, err := toVector(tensors, s)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", s.Key(), err)
		}
		known[s.Key()] = true
		values = append(values, vector...)
	}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		if !known[name] {
			return nil, fmt.Errorf("tensor %q: no module that target_modules choose has it", name)
		}
	}
	return spec.NewVectors(sites, values)
}

func toVector(tensors map[string]safetensors.Tensor, s spec.Site) ([]float32, error) {
	t, ok := tensors[s.Key()]
	if !ok {
		return nil, errors.New("it is missing, though target_modules choose its module")
	}
	if want := s.Shape(); !slices.Equal(t.Shape, want) {
		return nil, fmt.Errorf("its shape is %v; the model asks for %v", t.Shape, want)
	}
	switch t.DType {
	case safetensors.F32, safetensors.F16, safetensors.BF16:
	default:
		return nil, fmt.Errorf("it holds %s; F32, F16 and BF16 are supported", t.DType)
	}
	values, err := t.Float32s()
	if err != nil {
		return nil, err
	}
	return values, checkFinite(values)
}

func checkFinite(values []float32) error {
	for i, v := range values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
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

// littleEndian is the values as a file holds them.
func littleEndian(values []float32) []byte {
	out := make([]byte, 0, 4*len(values))
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}
