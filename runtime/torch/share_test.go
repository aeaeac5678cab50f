package torch_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"valence/runtime/torch"
	"valence/runtime/torch/torchtest"
)

// Products are the same to the last bit however many threads share them, come late or are
// at another's work: two of the package's threads ask at the same time, with rests in
// which the helpers fall asleep.
func TestSharedWork(t *testing.T) {
	torchtest.OnCPU(t)
	const in, out, most = 384, 640, 96
	rng := rand.New(rand.NewPCG(9, 10))
	x, w := random(rng, most*in), random(rng, out*in)
	var want [][]float32
	do(t, start(t), func(s *torch.Scope) error { // has one thread
		p, rows := s.Pack(s.Float32s(w, out, in), torch.PackedFloat32), s.Float32s(x, most, in)
		for n := int64(1); n <= most; n++ {
			want = append(want, read(t, s, s.PackedLinear(s.Narrow(rows, 0, 0, n), p)))
		}
		return nil
	})
	var group sync.WaitGroup
	for worker := range uint64(2) {
		group.Go(func() {
			th := torch.Start(torch.Options{Device: torch.CPU, Threads: 4})
			defer th.Close()
			rng := rand.New(rand.NewPCG(worker, 11))
			err := th.Do(context.Background(), torch.Serving, func(s *torch.Scope) error {
				p, rows := s.Pack(s.Float32s(w, out, in), torch.PackedFloat32), s.Float32s(x, most, in)
				for range 400 {
					mark, n := s.Mark(), 1+rng.IntN(most)
					got, err := s.ReadFloat32s(s.PackedLinear(s.Narrow(rows, 0, 0, int64(n)), p))
					if err != nil {
						return err
					}
					if !slices.Equal(got, want[n-1]) {
						t.Errorf("%d rows: another product", n)
					}
					s.Keep(mark)
					time.Sleep(time.Duration(rng.IntN(2)*rng.IntN(200)) * time.Microsecond)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
