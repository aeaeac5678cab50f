package torch_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"valence/runtime/torch"
)

// TestFetch has tensors come to the host of which one is a view and one is of int64, and other
// work done on the thread before they are waited for elsewhere.
func TestFetch(t *testing.T) {
	th := start(t)
	var own *torch.Scope
	var f torch.Fetch
	run := func(p torch.Priority, g func(s *torch.Scope) error) {
		t.Helper()
		if err := th.Do(context.Background(), p, g); err != nil {
			t.Fatal(err)
		}
	}
	run(torch.Training, func(s *torch.Scope) error {
		own = s.NewScope()
		x := s.Float32s([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
		f = s.GiveFetch(own, s.Fetch(s.Narrow(x, 1, 1, 2), s.ArgMax(x), s.To(x, torch.BFloat16)))
		return nil
	})
	run(torch.Serving, func(s *torch.Scope) error {
		near(t, "meanwhile", read(t, s, s.Float32s([]float32{7}, 1)), 7)
		return nil
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Wait(); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	near(t, "view", f.Float32s(0), 2, 3, 5, 6)
	near(t, "bfloat16", f.Float32s(2), 1, 2, 3, 4, 5, 6)
	if got := f.Int64s(1); !slices.Equal(got, []int64{2, 2}) {
		t.Errorf("int64: %v", got)
	}
	run(torch.Training, func(*torch.Scope) error {
		own.Free()
		return nil
	})
	if err := th.Do(context.Background(), torch.Training, func(s *torch.Scope) error {
		s.Fetch(torch.Tensor{})
		return nil
	}); err == nil {
		t.Error("what does not exist is fetched")
	}
	if n := th.Live(); n != 0 {
		t.Errorf("%d handles are left", n)
	}
}
