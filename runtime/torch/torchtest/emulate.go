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
		compile(t, filepath.Join(dir, "testdata", "emulator.cpp"), width, made)
	}
	return made
}

func compile(t testing.TB, source string, width int, to string) {
	t.Helper()
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("there is no g++")
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(t.TempDir(), "emulator.so")
	out, err := exec.CommandContext(t.Context(), compiler, "-DWIDTH="+strconv.Itoa(width), "-std=c++20", "-O2", "-w", "-shared", "-fPIC", "-fvisibility=hidden",
		"-o", part, source).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	whole, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	near := to + strconv.Itoa(os.Getpid()) // another process may make the same
	if err := os.WriteFile(near, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(near, to); err != nil {
		t.Fatal(err)
	}
}
