package peft

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
)

// readVectors reads the file of weights, which must hold the vectors of the sites
// and nothing else.
func readVectors(fsys fs.FS, sites []spec.Site) (*spec.Vectors, error) {
	data, err := readFile(fsys, weightsFile, maxWeights)
	if errors.Is(err, fs.ErrNotExist) {
		if _, stat := fs.Stat(fsys, pickleFile); stat == nil {
			return nil, fmt.Errorf("%w: %s is a pickle, which is not read; load the adapter with PEFT and save it again, which writes %s",
				ErrAdapter, pickleFile, weightsFile)
		}
	}
	if err != nil {
		return nil, err
	}
	vectors, err := parseVectors(data, sites)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrAdapter, weightsFile, err)
	}
	return vectors, nil
}

func parseVectors(data []byte, sites []spec.Site) (*spec.Vectors, error) {
	file, err := safetensors.Parse(data)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	known := make(map[string]bool, len(sites))
	values := make([]float32, 0, spec.Total(sites))
	for _, s := range sites {
		vector, err := parseVector(file, s)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", s.Key(), err)
		}
		known[s.Key()] = true
		values = append(values, vector...)
	}
	for _, name := range file.Names() {
		if !known[name] {
			return nil, fmt.Errorf("tensor %q: no module that target_modules choose has it", name)
		}
	}
	return spec.NewVectors(sites, values)
}

func parseVector(file *safetensors.File, s spec.Site) ([]float32, error) {
	t, ok := file.Tensor(s.Key())
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
	for i, v := range values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("element %d is %v", i, v)
		}
	}
	return values, nil
}
