package torchtest

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"valence/runtime/torch"
)

// EmulateGPU has models in bfloat16 on the CPU, whose heads have a width, take the way of a GPU
// until the test's end. It skips the test where there is a GPU to take it.
func EmulateGPU(t testing.TB, width int) {
	t.Helper()
	OnCPU(t)
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("there is no g++")
	}
	_, here, _, _ := runtime.Caller(0)
	library := filepath.Join(t.TempDir(), "emulator.so")
	source := filepath.Join(filepath.Dir(here), "..", "testdata", "emulator.cpp")
	out, err := exec.CommandContext(t.Context(), compiler, "-DWIDTH="+strconv.Itoa(width), "-std=c++20", "-O2", "-w", "-shared", "-fPIC", "-fvisibility=hidden",
		"-o", library, source).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := torch.EmulateGPU(library); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := torch.EmulateGPU(""); err != nil {
			t.Error(err)
		}
	})
}
