package torch

/*
#cgo CXXFLAGS: -std=c++17 -fopenmp -DVALENCE_NATIVE
#cgo LDFLAGS: -ltorch_cpu -lc10 -l:libgomp.so.1 -lstdc++ -ldl
#include <stdlib.h>
#include "native.h"
*/
import "C"

import (
	"errors"
	"strings"
	"unsafe"

	lib "github.com/sugarme/gotch/libtch"
)

// lastErr takes the calling thread's last libtorch error, or nil. Messages are
// cut at the first line: what follows is a C++ stack.
func lastErr() error {
	p := unsafe.Pointer(lib.GetAndResetLastErr())
	if p == nil {
		return nil
	}
	msg := C.GoString((*C.char)(p))
	C.free(p)
	msg, _, _ = strings.Cut(msg, "\n")
	return errors.New("libtorch: " + msg)
}

// Version is libtorch's version, such as "2.11.0".
func Version() string { return C.GoString(C.vl_version()) }

func setThreads(n int)     { C.vl_set_threads(C.int(n)) }
func threads() int         { return int(C.vl_threads()) }
func seed(n uint64)        { C.vl_seed(C.uint64_t(n)) }
func setGrad(enabled bool) { C.vl_grad_mode(C.int(boolInt(enabled))) }

func boolInt(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// loadCUDA makes the CUDA half of libtorch known to the process.
func loadCUDA() error {
	if msg := C.vl_load_cuda(); msg != nil {
		return errors.New(C.GoString(msg))
	}
	giveSources()
	return nil
}

// cudaCount is the number of CUDA devices that can be used.
func cudaCount() (int, error) {
	n := int(C.vl_cuda_count())
	if n < 0 {
		return 0, lastErr()
	}
	return n, nil
}

func upload(data []byte, shape []int64, from, to DType, device int32) lib.Ctensor {
	return lib.Ctensor(C.vl_upload(unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data)),
		(*C.int64_t)(unsafe.SliceData(shape)), C.int(len(shape)), C.int(from), C.int(to), C.int(device)))
}

func alias(data []byte, shape []int64, kind DType) lib.Ctensor {
	return lib.Ctensor(C.vl_alias(unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data)),
		(*C.int64_t)(unsafe.SliceData(shape)), C.int(len(shape)), C.int(kind)))
}

// write tells whether it could.
func write(dst lib.Ctensor, data []byte) bool {
	return C.vl_write(C.vl_tensor(dst), unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data))) == 0
}

func rmsNorm(x, w lib.Ctensor, eps float64) lib.Ctensor {
	return lib.Ctensor(C.vl_rms_norm(C.vl_tensor(x), C.vl_tensor(w), C.double(eps)))
}

func geluTanh(x lib.Ctensor) lib.Ctensor { return lib.Ctensor(C.vl_gelu_tanh(C.vl_tensor(x))) }

func attention(q, k, v, bias lib.Ctensor) lib.Ctensor {
	return lib.Ctensor(C.vl_attention(C.vl_tensor(q), C.vl_tensor(k), C.vl_tensor(v), C.vl_tensor(bias)))
}

func linear(x, w lib.Ctensor) lib.Ctensor {
	return lib.Ctensor(C.vl_linear(C.vl_tensor(x), C.vl_tensor(w)))
}

func leaf(x lib.Ctensor) lib.Ctensor { return lib.Ctensor(C.vl_leaf(C.vl_tensor(x))) }

// gradients fills out, one for each of to, and tells whether it could.
func gradients(of, along, to, out []lib.Ctensor) bool {
	return C.vl_grad(handles(of), handles(along), C.int(len(of)), handles(to), C.int(len(to)), handles(out)) == 0
}

// handles is a slice as C sees it: pointers to memory that Go does not own.
func handles(ts []lib.Ctensor) *C.vl_tensor {
	return (*C.vl_tensor)(unsafe.Pointer(unsafe.SliceData(ts)))
}

func dropout(x, keys lib.Ctensor, salt int64, rate float64) lib.Ctensor {
	return lib.Ctensor(C.vl_dropout(C.vl_tensor(x), C.vl_tensor(keys), C.int64_t(salt), C.double(rate)))
}
