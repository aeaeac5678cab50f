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
type Fetch struct {
	c      C.vl_fetch
	counts []int64
}

// Fetch queues the copies of some tensors to the host, and waits for none: other work can be
// done on the thread until they are there. Numbers come as float32, but int64 as int64. Those
// that are on the CPU must not be changed any more.
func (s *Scope) Fetch(tensors ...Tensor) Fetch {
	var f Fetch
	for i, t := range tensors {
		if s.DType(t) != Int64 {
			tensors[i] = s.To(t, Float32)
		}
		n := int64(1)
		for _, size := range s.Shape(t) {
			n *= size
		}
		f.counts = append(f.counts, n)
	}
	if !s.ok(tensors...) {
		return Fetch{}
	}
	if f.c = C.vl_fetch_new(handles(bare(tensors)), C.int(len(tensors))); f.c == nil {
		s.done("fetch", true)
		return Fetch{}
	}
	s.fetches = append(s.fetches, f)
	s.thread.live.Add(1)
	return f
}

// GiveFetch is Give for a fetch.
func (s *Scope) GiveFetch(to *Scope, f Fetch) Fetch {
	for i, mine := range s.fetches {
		if mine.c == f.c {
			s.fetches = append(s.fetches[:i], s.fetches[i+1:]...)
			to.fetches = append(to.fetches, f)
		}
	}
	return f
}

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
	return unsafe.Slice((*T)(C.vl_fetch_data(f.c, C.int(i))), f.counts[i])
}

func (s *Scope) freeFetches() {
	for _, f := range s.fetches {
		C.vl_fetch_free(f.c)
		s.thread.live.Add(-1)
	}
	s.fetches = nil
}
