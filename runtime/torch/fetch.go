package torch

// #include "fetch.h"
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Fetch is results on their way to the host. It belongs to the Scope that made it, or that it
// was given to.
type Fetch struct{ c C.vl_fetch }

// Fetch queues the copies of some tensors to the host, and waits for none: other work can be
// done on the thread until they are there. Numbers come as float32, but int64 as int64. Those
// that are on the CPU must not be changed any more.
func (s *Scope) Fetch(tensors ...Tensor) Fetch {
	read := make([]Tensor, len(tensors))
	for i, t := range tensors {
		if read[i] = t; s.DType(t) != Int64 {
			read[i] = s.To(t, Float32)
		}
	}
	if !s.ok(read...) {
		return Fetch{}
	}
	f := Fetch{C.vl_fetch_new(handles(bare(read)), C.int(len(read)))}
	if f.c == nil {
		s.done("fetch", true)
		return Fetch{}
	}
	s.fetches = append(s.fetches, f)
	s.thread.live.Add(1)
	return f
}

// GiveFetch is Give for a fetch.
func (s *Scope) GiveFetch(to *Scope, f Fetch) Fetch { return give(&s.fetches, &to.fetches, f) }

// Wait waits until all are there. It may be called on any goroutine, while the scope stays.
func (f Fetch) Wait() error {
	runtime.LockOSThread() // to which an error belongs
	defer runtime.UnlockOSThread()
	if C.vl_fetch_wait(f.c) != 0 {
		return fmt.Errorf("torch: fetch: %w", lastErr())
	}
	return nil
}

// Float32s is tensor i, of numbers, after the wait, and until the scope ends.
func (f Fetch) Float32s(i int) []float32 { return view[float32](f, i) }

// Int64s is tensor i, of int64, likewise.
func (f Fetch) Int64s(i int) []int64 { return view[int64](f, i) }

func view[T float32 | int64](f Fetch, i int) []T {
	var n C.int64_t
	at := (*T)(C.vl_fetch_data(f.c, C.int(i), &n))
	return unsafe.Slice(at, n)
}

func (s *Scope) freeFetches() {
	for _, f := range s.fetches {
		C.vl_fetch_free(f.c)
		s.thread.live.Add(-1)
	}
	s.fetches = nil
}
