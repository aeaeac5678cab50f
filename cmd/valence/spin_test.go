package main

import (
	"os"
	"testing"
)

// The test binary has spin.c too, and so the variable, whoever started it.
func TestSpinningIsLimited(t *testing.T) {
	if os.Getenv("GOMP_SPINCOUNT") == "" && os.Getenv("OMP_WAIT_POLICY") == "" {
		t.Error("idle threads of OpenMP spin for as long as they like")
	}
}
