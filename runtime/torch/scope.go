package torch

import (
	"fmt"
	"slices"

	lib "github.com/sugarme/gotch/libtch"
)

// Tensor is one libtorch handle. It belongs to the Scope that made it and must not
// outlive it. The zero Tensor stands for "none".
type Tensor struct{ c lib.Ctensor }

// Defined tells whether the tensor is not the zero Tensor.
func (t Tensor) Defined() bool { return t.c != nil }

// Scope owns the tensors made through it and keeps the first error. It is used on
// its Thread only.
type Scope struct {
	thread  *Thread
	live    []lib.Ctensor
	packed  []Packed
	gpus    []GPU
	lessons []GPULesson
	fetches []Fetch
	out     *lib.Ctensor // its own allocation: cgo checks the whole object that a pointer points into
	err     error
}

func (t *Thread) scope() *Scope { return &Scope{thread: t, out: new(lib.Ctensor)} }

// NewScope makes a scope that lives as long as its owner wants, such as a model's
// weights. The owner calls Free on the thread.
func (s *Scope) NewScope() *Scope { return s.thread.scope() }

// Device is where the scope's tensors live.
func (s *Scope) Device() Device { return s.thread.device }

// Err is the first error of an operator, or nil.
func (s *Scope) Err() error { return s.err }

// Fail makes the scope's error err unless it has one. Code that checks its
// arguments before an operator reports through it.
func (s *Scope) Fail(format string, args ...any) Tensor {
	if s.err == nil {
		s.err = fmt.Errorf("torch: "+format, args...)
	}
	return Tensor{}
}

// take owns the handle that an operator has just written to s.out.
func (s *Scope) take() Tensor {
	c := *s.out
	*s.out = nil
	return s.own(c)
}

// own takes a handle that an operator returned; nil means that it failed.
func (s *Scope) own(c lib.Ctensor) Tensor {
	if c == nil {
		if s.err = lastErr(); s.err == nil {
			s.err = fmt.Errorf("torch: an operator gave neither a result nor an error")
		}
		return Tensor{}
	}
	s.live = append(s.live, c)
	s.thread.live.Add(1)
	return Tensor{c}
}

// done takes whether a call has failed that gives no tensor.
func (s *Scope) done(what string, failed bool) {
	if failed {
		if s.err = lastErr(); s.err == nil {
			s.err = fmt.Errorf("torch: %s failed without an error", what)
		}
	}
}

// Mark remembers how many tensors the scope owns now.
func (s *Scope) Mark() int { return len(s.live) }

// Keep frees every tensor made since mark except the given ones.
func (s *Scope) Keep(mark int, keep ...Tensor) {
	kept := s.live[:mark]
	for _, c := range s.live[mark:] {
		if slices.Contains(keep, Tensor{c}) {
			kept = append(kept, c)
			continue
		}
		s.release(c)
	}
	s.live = kept
}

// Give moves a tensor of this scope to another one.
func (s *Scope) Give(to *Scope, t Tensor) Tensor {
	for i := len(s.live) - 1; i >= 0; i-- {
		if s.live[i] == t.c {
			s.live = append(s.live[:i], s.live[i+1:]...)
			to.live = append(to.live, t.c)
			return t
		}
	}
	return t
}

// give moves what one scope owns to the list of another.
func give[T comparable](from, to *[]T, x T) T {
	if i := slices.Index(*from, x); i >= 0 {
		*from, *to = slices.Delete(*from, i, i+1), append(*to, x)
	}
	return x
}

// Drop frees one tensor of the scope before its end.
func (s *Scope) Drop(t Tensor) {
	for i := len(s.live) - 1; i >= 0; i-- {
		if s.live[i] == t.c {
			s.live = append(s.live[:i], s.live[i+1:]...)
			s.release(t.c)
			return
		}
	}
}

// Free frees all tensors and forgets the error.
func (s *Scope) Free() {
	for _, c := range s.live {
		s.release(c)
	}
	clear(s.live)
	s.freePacked()
	s.freeFetches()
	s.freeLessons()
	s.freeGPUs()
	s.live, s.err = s.live[:0], nil
}

func (s *Scope) release(c lib.Ctensor) {
	lib.AtFree(c)
	s.thread.live.Add(-1)
}
