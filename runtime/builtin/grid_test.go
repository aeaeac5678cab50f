package builtin

import (
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"

	"valence/runtime/safetensors"
)

// halfRounding is how much of itself a number loses at most when it is rounded to float16.
const halfRounding = 1.0 / 2048

// Each output of a projection has its numbers on 127 levels either side of zero, the largest
// on the last, but for float16's rounding: int8 finds the same levels, which config.json counts
// on.
func TestProjectionsLieOnAGrid(t *testing.T) {
	var config struct {
		Bits int `json:"int8_activation_bits"`
	}
	readJSON(t, "config.json", &config)
	if config.Bits != 16 {
		t.Errorf("int8_activation_bits is %d", config.Bits)
	}
	data, err := fs.ReadFile(Base(), "model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	file, err := safetensors.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range file.Names() {
		parts := strings.Split(name, ".")
		if !slices.Contains([]string{"q", "k", "v", "o", "wi_0", "wi_1", "wo"}, parts[len(parts)-2]) {
			continue
		}
		seen++
		w, _ := file.Tensor(name)
		values, err := w.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if far := offGrid(values, int(w.Shape[1])); far > 127*halfRounding {
			t.Errorf("%s: a number is %.2g of a level away from the next", name, far)
		}
	}
	if want := 6*7 + 11; seen != want {
		t.Errorf("%d projections, want %d", seen, want)
	}
}

// offGrid is the largest distance of a number from the next level, in levels of its output.
func offGrid(w []float32, in int) float64 {
	far := 0.0
	for row := range slices.Chunk(w, in) {
		largest := 0.0
		for _, v := range row {
			largest = math.Max(largest, math.Abs(float64(v)))
		}
		if largest == 0 {
			continue
		}
		for _, v := range row {
			level := float64(v) * 127 / largest
			far = math.Max(far, math.Abs(level-math.Round(level)))
		}
	}
	return far
}
