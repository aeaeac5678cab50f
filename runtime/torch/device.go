package torch

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrDevice is wrapped by errors about a device that cannot be had.
var ErrDevice = errors.New("torch: device")

// Device is where tensors live: the CPU, which is the zero Device, or one CUDA device.
type Device struct {
	gpu int32 // CUDA index and 1
}

// CPU is the machine's own memory.
var CPU = Device{}

// IsCUDA tells whether the device is a GPU.
func (d Device) IsCUDA() bool { return d.gpu > 0 }

// index is the CUDA index, or -1 for the CPU, as gotch numbers devices.
func (d Device) index() int32 { return d.gpu - 1 }

// String gives PyTorch's name: "cpu", "cuda:0".
func (d Device) String() string {
	if d.IsCUDA() {
		return "cuda:" + strconv.Itoa(int(d.index()))
	}
	return "cpu"
}

// Resolve turns a configured name into a device: "cpu", "cuda", "cuda:N", or
// "auto", which prefers CUDA. CUDA's libraries are loaded here, so a machine
// without them only needs them when they are asked for. With "auto" on a machine
// where CUDA cannot be had, why says what stands in the way and the device is
// the CPU; with "cuda" the same is an error.
func Resolve(name string) (d Device, why error, err error) {
	switch kind, index, _ := strings.Cut(name, ":"); {
	case name == "cpu":
		return CPU, nil, nil
	case name == "auto":
		if d, why = openCUDA(0); why != nil {
			return CPU, why, nil
		}
		return d, nil, nil
	case kind == "cuda":
		n := 0
		if index != "" {
			if n, err = strconv.Atoi(index); err != nil || n < 0 {
				return CPU, nil, fmt.Errorf("%w: %q: the part after \"cuda:\" must be a number from 0", ErrDevice, name)
			}
		}
		d, err = openCUDA(n)
		return d, nil, err
	}
	return CPU, nil, fmt.Errorf("%w: %q is not known; allowed are auto, cpu, cuda and cuda:N", ErrDevice, name)
}

// openCUDA loads CUDA and checks that device n exists.
func openCUDA(n int) (Device, error) {
	if err := loadCUDA(); err != nil {
		return CPU, fmt.Errorf("%w: CUDA's libraries cannot be loaded (%w); \"make cuda\" fetches them", ErrDevice, err)
	}
	count, err := cudaCount()
	switch {
	case err != nil:
		return CPU, fmt.Errorf("%w: CUDA: %w", ErrDevice, err)
	case count == 0:
		return CPU, fmt.Errorf("%w: CUDA's libraries are loaded but find no usable GPU; check that nvidia-smi lists one and that the driver supports CUDA 13", ErrDevice)
	case n >= count:
		return CPU, fmt.Errorf("%w: cuda:%d asked for, but this machine has %d CUDA device(s)", ErrDevice, n, count)
	}
	return Device{int32(n) + 1}, nil
}
