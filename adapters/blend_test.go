package adapters

import (
	"errors"
	"math"
	"strings"
	"testing"

	"valence/runtime/mt5/spec"
)

var (
	siteA = spec.Site{Module: "a", Size: 2}
	siteB = spec.Site{Module: "b", Input: true, Size: 1}
)

func vectors(t *testing.T, sites []spec.Site, data ...float32) *spec.Vectors {
	t.Helper()
	v, err := spec.NewVectors(sites, data)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestBlend(t *testing.T) {
	x := vectors(t, []spec.Site{siteA}, 2, 0.5)
	y := vectors(t, []spec.Site{siteB, siteA}, 3, 1, 1.5)
	for _, tt := range []struct {
		name     string
		parts    []Part
		strength float64
		a        [2]float32
		b        float32 // of site b; 0 where the blend has no such site
	}{
		{"one, weaker", []Part{{x, 1}}, 0.5, [2]float32{1.5, 0.75}, 0},
		{"one, stronger", []Part{{x, 1}}, 1.5, [2]float32{2.5, 0.25}, 0},
		{"off", []Part{{x, 1}}, 0, [2]float32{1, 1}, 0},
		{"two of different sites", []Part{{x, 0.5}, {y, 0.5}}, 1, [2]float32{1.5, 1}, 2},
		{"with the base", []Part{{x, 0.25}, {nil, 0.75}}, 1, [2]float32{1.25, 0.875}, 0},
		{"the same twice is itself", []Part{{y, 0.3}, {y, 0.7}}, 1, [2]float32{1, 1.5}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Blend(tt.parts, tt.strength)
			if err != nil {
				t.Fatal(err)
			}
			got := map[spec.Site][]float32{}
			at := 0
			for _, s := range v.Sites {
				got[s] = v.Data[at : at+s.Size]
				at += s.Size
			}
			for i, want := range tt.a {
				if math.Abs(float64(got[siteA][i]-want)) > 1e-6 {
					t.Errorf("a is %v, want %v", got[siteA], tt.a)
				}
			}
			if tt.b == 0 && got[siteB] != nil || tt.b != 0 && math.Abs(float64(got[siteB][0]-tt.b)) > 1e-6 {
				t.Errorf("b is %v, want %v", got[siteB], tt.b)
			}
		})
	}
	if v, err := Blend([]Part{{x, 1}}, 1); err != nil || v != x {
		t.Errorf("one adapter as it is: %v, %v", v, err)
	}
	if v, err := Blend([]Part{{nil, 1}}, 0.5); err != nil || v != nil {
		t.Errorf("the base alone: %v, %v", v, err)
	}
}

func TestBlendRefuses(t *testing.T) {
	for _, tt := range []struct {
		parts    []Part
		strength float64
		want     string
	}{
		{nil, 1, "no adapters"},
		{[]Part{{nil, 1}}, 1.6, "strength is 1.6"},
		{[]Part{{nil, 1}}, math.NaN(), "strength is NaN"},
		{[]Part{{nil, 0.5}, {nil, 0.4}}, 1, "sum to 0.9"},
		{[]Part{{nil, 1.5}, {nil, -0.5}}, 1, "weight 1 is 1.5"},
		{[]Part{{nil, 1}, {nil, 0}}, 1, "weight 2 is 0"},
	} {
		if _, err := Blend(tt.parts, tt.strength); !errors.Is(err, ErrBlend) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, %v: %v", tt.parts, tt.strength, err)
		}
	}
}
