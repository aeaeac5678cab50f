package main

import (
	"os"
	"syscall"
)

// spinVar bounds how long libtorch's idle worker threads (GNU OpenMP) spin for
// work before they sleep.
const spinVar = "GOMP_SPINCOUNT"

// spinCount is about a few microseconds. OpenMP's default is some milliseconds,
// which it takes from the goroutines that serve HTTP and, on a machine whose cores
// are busy, from the very thread that it waits for: one row of 12 tokens then took
// 400 ms instead of 7.
const spinCount = "1000"

// limitSpinning starts the program anew, under the same process id, with the
// variable set: OpenMP reads it while the program is being loaded, before any code
// of ours runs. A choice already made by the user stands.
func limitSpinning() error {
	if os.Getenv(spinVar) != "" || os.Getenv("OMP_WAIT_POLICY") != "" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(os.Environ(), spinVar+"="+spinCount))
}
