// Package torchtest says where tests compute.
package torchtest

import (
	"os"
	"testing"

	"valence/runtime/torch"
)

// Device is the one that VALENCE_TEST_DEVICE names, as torch.Resolve reads it, or the CPU.
func Device(t testing.TB) torch.Device {
	t.Helper()
	name := os.Getenv("VALENCE_TEST_DEVICE")
	if name == "" {
		return torch.CPU
	}
	d, why, err := torch.Resolve(name)
	if why != nil || err != nil {
		t.Fatalf("VALENCE_TEST_DEVICE is %q: %v, %v", name, why, err)
	}
	return d
}

// OnCPU skips a test of what is for the CPU alone where Device is another.
func OnCPU(t testing.TB) {
	t.Helper()
	if Device(t).IsCUDA() {
		t.Skip("for the CPU alone")
	}
}
