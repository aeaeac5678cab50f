package torch_test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestKernelsEmulated runs the GPU's kernels on the CPU, as any machine can, and holds them
// against plain loops.
func TestKernelsEmulated(t *testing.T) {
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("there is no g++")
	}
	for _, width := range []string{"32", "64"} {
		program := filepath.Join(t.TempDir(), "emulate"+width)
		out, err := exec.CommandContext(t.Context(), compiler, "-std=c++20", "-O1", "-w", "-pthread", "-DWIDTH="+width, "-o", program, "testdata/emulate.cpp").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if out, err := exec.CommandContext(t.Context(), program).CombinedOutput(); err != nil {
			t.Errorf("heads of %s: %v\n%s", width, err, out)
		}
	}
}
