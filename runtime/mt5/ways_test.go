package mt5

import (
	"testing"

	"valence/runtime/torch"
)

// ways are those of computing in float32 on a CPU.
var ways = map[string]struct {
	format torch.Format
	isa    string // most that the processor is let do
}{
	"plain":  {0, ""},
	"packed": {torch.PackedFloat32, ""},
	"avx2":   {torch.PackedFloat32, "avx2"},
}

// everyWay runs a test for each way.
func everyWay(t *testing.T, test func(t *testing.T, way string)) {
	for way := range ways {
		t.Run(way, func(t *testing.T) { test(t, way) })
	}
}

// each runs check for every run of every case of every variant, in every way.
func each(t *testing.T, check func(t *testing.T, f *fixture, c *referenceCase, r *referenceRun)) {
	everyWay(t, func(t *testing.T, way string) { eachIn(t, way, check) })
}

func eachIn(t *testing.T, way string, check func(t *testing.T, f *fixture, c *referenceCase, r *referenceRun)) {
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			f := loadAs(t, variant, way)
			for i := range f.Cases {
				for j := range f.Cases[i].Runs {
					c, r := &f.Cases[i], &f.Cases[i].Runs[j]
					t.Run(c.Name+"/"+r.Name, func(t *testing.T) { check(t, f, c, r) })
				}
			}
		})
	}
}

// plainOnCUDA is how a GPU has weights of a format: float32 as they are, and the others not
// at all.
func plainOnCUDA(t *testing.T, format torch.Format) torch.Format {
	t.Helper()
	if format != 0 && format != torch.PackedFloat32 {
		t.Skipf("%v is for the CPU alone", format)
	}
	return 0
}
