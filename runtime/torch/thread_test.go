package torch_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"valence/runtime/torch"
)

func TestErrorSticksAndNamesTheFirst(t *testing.T) {
	th := start(t)
	err := th.Do(context.Background(), torch.Serving, func(s *torch.Scope) error {
		bad := s.Add(s.Full(1, torch.Float32, 2), s.Full(1, torch.Float32, 3))
		if bad.Defined() {
			t.Error("a failed operator gave a tensor")
		}
		if s.ReLU(bad).Defined() || s.MatMul(bad, bad).Defined() {
			t.Error("an operator ran after an error")
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "size of tensor a (2)") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error is %q", err)
	}
	if n := th.Live(); n != 0 {
		t.Errorf("%d handles live after an error", n)
	}
	do(t, th, func(s *torch.Scope) error { return s.Err() }) // the next closure starts clean
}

func TestPanicBecomesAnError(t *testing.T) {
	th := start(t)
	err := th.Do(context.Background(), torch.Serving, func(s *torch.Scope) error {
		s.Full(1, torch.Float32, 8)
		panic("broken")
	})
	if !errors.Is(err, torch.ErrPanic) || !strings.Contains(err.Error(), "broken") {
		t.Errorf("error is %v", err)
	}
	if n := th.Live(); n != 0 {
		t.Errorf("%d handles live after a panic", n)
	}
}

func TestScopeKeepGiveDrop(t *testing.T) {
	th := start(t)
	var weights *torch.Scope
	var w torch.Tensor
	err := th.Do(context.Background(), torch.Serving, func(s *torch.Scope) error {
		weights = s.NewScope()
		w = s.Give(weights, s.Full(7, torch.Float32, 1))
		mark := s.Mark()
		s.Full(1, torch.Float32, 1)
		b := s.Full(2, torch.Float32, 1)
		s.Keep(mark, b)
		if th.Live() != 2 {
			t.Errorf("%d handles live, want the given and the kept one", th.Live())
		}
		near(t, "kept", read(t, s, b), 2)
		s.Drop(b)
		if th.Live() != 1 {
			t.Errorf("%d handles live, want the given one", th.Live())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = th.Do(context.Background(), torch.Serving, func(s *torch.Scope) error {
		near(t, "given", read(t, s, w), 7)
		weights.Free()
		return nil
	})
	if err != nil || th.Live() != 0 {
		t.Fatalf("live %d, %v", th.Live(), err)
	}
}

func TestServingGoesBeforeTraining(t *testing.T) {
	th := start(t)
	started, release := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	submit := func(name string, p torch.Priority) {
		wg.Go(func() {
			err := th.Do(context.Background(), p, func(*torch.Scope) error {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		if err := th.Do(context.Background(), torch.Serving, func(*torch.Scope) error {
			close(started)
			<-release
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	<-started
	submit("training", torch.Training)
	time.Sleep(20 * time.Millisecond) // lets it wait in Do
	submit("serving", torch.Serving)
	time.Sleep(20 * time.Millisecond)
	close(release)
	wg.Wait()
	if len(order) != 2 || order[0] != "serving" {
		t.Errorf("order %v", order)
	}
}

func TestCancelledWorkDoesNotRun(t *testing.T) {
	th := start(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ran := false
	err := th.Do(ctx, torch.Serving, func(*torch.Scope) error { ran = true; return nil })
	if !errors.Is(err, context.Canceled) || ran {
		t.Errorf("%v, ran %v", err, ran)
	}
}

func TestCloseTellsWhatWasNotFreed(t *testing.T) {
	th := torch.Start(torch.Options{Device: torch.CPU})
	err := th.Do(context.Background(), torch.Serving, func(s *torch.Scope) error {
		s.Give(s.NewScope(), s.Full(1, torch.Float32, 1))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := th.Close(); err == nil || !strings.Contains(err.Error(), "1 tensor handles") {
		t.Errorf("close with a live handle: %v", err)
	}
	err = th.Do(context.Background(), torch.Serving, func(*torch.Scope) error { return nil })
	if !errors.Is(err, torch.ErrClosed) {
		t.Errorf("work after close: %v", err)
	}
}

func TestResolveRefusesUnknownNames(t *testing.T) {
	for _, name := range []string{"gpu", "", "cuda:x", "cuda:-1", "cpu:0"} {
		if _, _, err := torch.Resolve(name); !errors.Is(err, torch.ErrDevice) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestStress frees everything under many goroutines, a tenth of whose closures fail.
func TestStress(t *testing.T) {
	th := start(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				err := th.Do(context.Background(), torch.Serving, func(s *torch.Scope) error {
					x := s.Full(1, torch.Float32, 4, 4)
					for range 20 {
						x = s.ReLU(s.MatMul(x, x))
					}
					if i%10 == 9 {
						s.Add(x, s.Full(1, torch.Float32, 3))
					}
					return nil
				})
				if (err != nil) != (i%10 == 9) {
					t.Errorf("goroutine %d, round %d: %v", g, i, err)
				}
			}
		})
	}
	wg.Wait()
	if n := th.Live(); n != 0 {
		t.Errorf("%d handles live", n)
	}
}
