package safetensors

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestFloat32sEqualsTorch(t *testing.T) {
	f, err := Parse(fixture(t, "floats.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][]uint32
	if err := json.Unmarshal(fixture(t, "floats.json"), &want); err != nil {
		t.Fatal(err)
	}
	if len(want) != 4 {
		t.Fatalf("%d element types in the fixture", len(want))
	}
	for name, bits := range want {
		x, _ := f.Tensor(name)
		got, err := x.Float32s()
		if err != nil || len(got) != len(bits) {
			t.Fatalf("%s: %d values, %v", name, len(got), err)
		}
		for i, v := range got {
			if math.Float32bits(v) != bits[i] {
				t.Errorf("%s[%d] = %v (%#x), want %v", name, i, v, math.Float32bits(v), math.Float32frombits(bits[i]))
			}
		}
	}
}

// All 65,536 half-precision values against their definition.
func TestFromHalf(t *testing.T) {
	for h := range 1 << 16 {
		sign, exponent, fraction := 1-2*float64(h>>15), h>>10&31, float64(h&1023)
		want := sign * math.Ldexp(1+fraction/1024, exponent-15)
		switch {
		case exponent == 0:
			want = sign * math.Ldexp(fraction, -24)
		case exponent == 31 && fraction == 0:
			want = math.Inf(int(sign))
		case exponent == 31:
			want = math.NaN()
		}
		got := fromHalf(uint16(h))
		same := float64(got) == want && math.Signbit(float64(got)) == (sign < 0)
		if !same && !(math.IsNaN(want) && math.IsNaN(float64(got))) {
			t.Fatalf("%#04x: got %v, want %v", h, got, want)
		}
	}
}

func TestFloat32sRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		tensor Tensor
		want   string
	}{
		"integers":  {Tensor{"a", I32, []int64{1}, make([]byte, 4)}, `tensor "a" holds I32`},
		"8-bit":     {Tensor{"a", F8E4M3, []int64{1}, make([]byte, 1)}, "F8_E4M3"},
		"too short": {Tensor{"a", F32, []int64{2}, make([]byte, 7)}, "needs 8 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.tensor.Float32s(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
