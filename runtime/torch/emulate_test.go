package torch_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"valence/runtime/torch/torchtest"
)

// emulate compiles a program of testdata, which does by hand what this processor may lack,
// and runs it.
func emulate(t *testing.T, name string, flags ...string) {
	t.Helper()
	program := torchtest.Compile(t, filepath.Join("testdata", name), append(flags, "-O1")...)
	if out, err := exec.CommandContext(t.Context(), program).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestGPUKernelsEmulated holds the GPU's kernels against plain loops, for heads of two widths.
func TestGPUKernelsEmulated(t *testing.T) {
	for _, width := range []string{"32", "64"} {
		t.Run(width, func(t *testing.T) { emulate(t, "emulate_gpu.cpp", "-DWIDTH="+width) })
	}
}

// TestAMXEmulated holds the products by AMX's tiles against plain loops, and reads nothing but
// what it is given.
func TestAMXEmulated(t *testing.T) { emulate(t, "emulate_amx.cpp", "-fsanitize=address,undefined") }
