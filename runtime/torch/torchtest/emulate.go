package torchtest

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
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
	if err := torch.EmulateGPU(emulator(t, width)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := torch.EmulateGPU(""); err != nil {
			t.Error(err)
		}
	})
}

// emulator is the library for heads of a width, which is compiled once into the user's cache and
// named by what it was made of.
func emulator(t testing.TB, width int) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	dir := filepath.Dir(filepath.Dir(here))
	sum := sha256.New()
	for _, name := range []string{"testdata/emulator.cpp", "testdata/cuda.h", "common.cu", "kernels.cu", "learn.cu"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	made := filepath.Join(cache, "valence", "emulator", hex.EncodeToString(sum.Sum(nil)[:8])+"-"+strconv.Itoa(width)+".so")
	if _, err := os.Stat(made); err != nil {
		part := Compile(t, filepath.Join(dir, "testdata", "emulator.cpp"), "-DWIDTH="+strconv.Itoa(width), "-O2", "-shared", "-fPIC", "-fvisibility=hidden")
		keep(t, part, made)
	}
	return made
}

// keep moves a file to where others may look for it meanwhile, or be about to make the same.
func keep(t testing.TB, part, to string) {
	t.Helper()
	whole, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	near := to + strconv.Itoa(os.Getpid())
	if err := os.WriteFile(near, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(near, to); err != nil {
		t.Fatal(err)
	}
}

// Compile compiles what does by hand what a machine lacks, and gives the result's path. It skips
// the test where there is no compiler. The checks that some compilers add to longjmp take jumps
// between the emulated threads' stacks for faults.
func Compile(t testing.TB, source string, flags ...string) string {
	t.Helper()
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("there is no g++")
	}
	made := filepath.Join(t.TempDir(), "emulate")
	flags = append(flags, "-U_FORTIFY_SOURCE", "-std=c++20", "-w", "-o", made, source)
	if out, err := exec.CommandContext(t.Context(), compiler, flags...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return made
}
