package torch

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// ErrClosed is returned for work given to a Thread that has stopped.
var ErrClosed = errors.New("torch: thread is closed")

// ErrPanic is wrapped by the error of a closure that panicked.
var ErrPanic = errors.New("torch: panic")

// Priority orders waiting work: all Serving work runs before any Training work.
type Priority int

// The priorities.
const (
	Serving Priority = iota
	Training
)

// Options configures a Thread.
type Options struct {
	Device  Device
	Threads int    // of libtorch's operators on the CPU; 0 leaves libtorch's choice
	Seed    uint64 // of libtorch's random numbers
}

// Thread is the one operating system thread on which a device is used. On a GPU each priority
// has a stream of its own: Serving work that is queued goes before Training work that was, and
// neither waits for the other.
type Thread struct {
	device  Device
	queues  Priority // whose stream is in use, where there are streams
	threads int
	live    atomic.Int64
	work    [2]chan *job
	quit    chan struct{}
	done    chan struct{}
	once    sync.Once
}

type job struct {
	ctx  context.Context
	p    Priority
	f    func(*Scope) error
	done chan error
}

// Start begins a Thread. Gradients are off on it.
func Start(o Options) *Thread {
	t := &Thread{device: o.Device, quit: make(chan struct{}), done: make(chan struct{})}
	for p := range t.work {
		t.work[p] = make(chan *job)
	}
	ready := make(chan struct{})
	go t.run(o, ready)
	<-ready
	return t
}

// Device is where the thread's tensors live.
func (t *Thread) Device() Device { return t.device }

// Threads is the number of CPU threads that libtorch's operators use.
func (t *Thread) Threads() int { return t.threads }

// Live is the number of tensor handles that exist now.
func (t *Thread) Live() int64 { return t.live.Load() }

// Do runs f on the thread and waits for it. Tensors made in f's scope are freed
// when f returns. Work whose context has ended before its turn is not begun and
// gives the context's error; work that has begun is always waited for. A panic in f
// becomes an error that wraps ErrPanic and holds the stack.
func (t *Thread) Do(ctx context.Context, p Priority, f func(*Scope) error) error {
	j := &job{ctx: ctx, p: p, f: f, done: make(chan error, 1)}
	select {
	case t.work[p] <- j:
		return t.wait(j)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.quit:
		return ErrClosed
	}
}

// wait gives the job's result. A closure that ends its goroutine by
// runtime.Goexit, as testing.T.Fatal does, takes the thread with it.
func (t *Thread) wait(j *job) error {
	select {
	case err := <-j.done:
		return err
	case <-t.done:
	}
	select {
	case err := <-j.done:
		return err
	default:
		return fmt.Errorf("%w: the closure ended its goroutine", ErrClosed)
	}
}

// Close waits for the running work and stops the thread. What its owners have not
// freed by then is lost; the error says how much.
func (t *Thread) Close() error {
	t.once.Do(func() { close(t.quit) })
	<-t.done
	if n := t.Live(); n != 0 {
		return fmt.Errorf("torch: %d tensor handles were not freed", n)
	}
	return nil
}

func (t *Thread) run(o Options, ready chan<- struct{}) {
	runtime.LockOSThread()
	defer close(t.done)
	if o.Threads > 0 {
		setThreads(o.Threads)
	}
	t.threads = threads()
	seed(o.Seed)
	setGrad(false)
	var broken error // where the device cannot be used
	if t.device.IsCUDA() {
		broken = useStream(t.device, t.queues)
	}
	close(ready)
	scope := t.scope()
	for {
		j := t.next()
		if j == nil {
			return
		}
		switch {
		case broken != nil:
			j.done <- broken
		case j.ctx.Err() != nil:
			j.done <- context.Cause(j.ctx)
		default:
			j.done <- t.do(scope, j)
		}
	}
}

// do does a job, on its priority's stream.
func (t *Thread) do(s *Scope, j *job) error {
	if j.p != t.queues && t.device.IsCUDA() {
		if err := useStream(t.device, j.p); err != nil {
			return err
		}
		t.queues = j.p
	}
	return t.call(s, j.f)
}

// next waits for work, serving first; nil means stop.
func (t *Thread) next() *job {
	select {
	case <-t.quit:
		return nil
	case j := <-t.work[Serving]:
		return j
	default:
	}
	select {
	case <-t.quit:
		return nil
	case j := <-t.work[Serving]:
		return j
	case j := <-t.work[Training]:
		return j
	}
}

func (t *Thread) call(s *Scope, f func(*Scope) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrPanic, v, debug.Stack())
		}
		s.Free()
	}()
	if err = f(s); err == nil {
		err = s.Err()
	}
	return err
}
