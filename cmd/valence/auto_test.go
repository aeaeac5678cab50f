package main

import (
	"testing"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
	"valence/runtime/torch/torchtest"
)

// auto is what is fast on this processor, or on less of it, among what a base loses nothing or
// little by; a type that is asked for stays.
func TestAuto(t *testing.T) {
	torchtest.OnCPU(t)
	t.Setenv("VALENCE_MAX_CPU_ISA", "")
	vnni, bfloat16 := torch.FastInt8(), torch.FastBFloat16()
	exact, other := &spec.Config{WideInt8: true}, &spec.Config{}
	for _, tc := range []struct {
		isa, dtype string
		base       *spec.Config
		want       torch.Format
		needs      bool
	}{
		{"avx2", "auto", exact, torch.PackedFloat32, true},
		{"avx512", "auto", exact, torch.PackedFloat32, true},
		{"avx512vnni", "auto", exact, torch.PackedInt8, vnni},
		{"avx512vnni", "auto", other, torch.PackedFloat32, true},
		{"avx512vnni", "float32", exact, torch.PackedFloat32, true},
		{"", "auto", exact, torch.PackedBFloat16, bfloat16},
		{"", "int8", other, torch.PackedInt8, true},
	} {
		if !tc.needs {
			continue // this processor cannot show it
		}
		t.Setenv("VALENCE_MAX_CPU_ISA", tc.isa)
		f := &baseFlags{Dtype: tc.dtype}
		o, err := f.precision(torch.CPU)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.suited(o, tc.base).Packed; got != tc.want {
			t.Errorf("%s with %q, base %+v: %v, want %v", tc.dtype, tc.isa, tc.base.WideInt8, got, tc.want)
		}
	}
}
