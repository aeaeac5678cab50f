package torch_test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// emulate compiles a program of testdata, which does by hand what this processor may lack,
// and runs it.
func emulate(t *testing.T, name string, flags ...string) {
	t.Helper()
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("there is no g++")
	}
	program := filepath.Join(t.TempDir(), "emulate")
	flags = append(flags, "-std=c++20", "-O1", "-w", "-pthread", "-o", program, filepath.Join("testdata", name))
	if out, err := exec.CommandContext(t.Context(), compiler, flags...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
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
