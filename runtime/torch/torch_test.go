package torch_test

import (
	"context"
	"math"
	"testing"

	"valence/runtime/torch"
)

// start gives a thread on the CPU that must own nothing when the test ends.
func start(t *testing.T) *torch.Thread {
	t.Helper()
	th := torch.Start(torch.Options{Device: torch.CPU, Threads: 1, Seed: 1})
	t.Cleanup(func() {
		if err := th.Close(); err != nil {
			t.Error(err)
		}
	})
	return th
}

// do runs f and wants no error and no tensor left.
func do(t *testing.T, th *torch.Thread, f func(*torch.Scope) error) {
	t.Helper()
	if err := th.Do(context.Background(), torch.Serving, f); err != nil {
		t.Fatal(err)
	}
	if n := th.Live(); n != 0 {
		t.Fatalf("%d handles live after the closure", n)
	}
}

func read(t *testing.T, s *torch.Scope, x torch.Tensor) []float32 {
	t.Helper()
	v, err := s.ReadFloat32s(x)
	if err != nil {
		t.Error(err) // not Fatal: that would end the thread's goroutine
	}
	return v
}

func near(t *testing.T, name string, got []float32, want ...float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d elements, want %d", name, len(got), len(want))
		return
	}
	for i := range got {
		if math.Abs(float64(got[i])-want[i]) > 1e-6*max(1, math.Abs(want[i])) {
			t.Errorf("%s[%d] = %v, want %v", name, i, got[i], want[i])
		}
	}
}

func TestOperators(t *testing.T) {
	th := start(t)
	do(t, th, func(s *torch.Scope) error {
		x := s.Float32s([]float32{1, -2, 3, 4}, 2, 2)
		w := s.Float32s([]float32{1, 0, 1, 1, 2, 0}, 3, 2)
		near(t, "linear", read(t, s, s.Linear(x, w)), 1, -1, 2, 3, 7, 6)
		near(t, "matmul", read(t, s, s.MatMul(x, x)), -5, -10, 15, 10)
		near(t, "relu", read(t, s, s.ReLU(x)), 1, 0, 3, 4)
		near(t, "silu", read(t, s, s.SiLU(s.Narrow(x, 0, 0, 1))), 1/(1+math.Exp(-1)), -2/(1+math.Exp(2)))
		tanh := func(v float64) float64 {
			return 0.5 * v * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
		}
		near(t, "gelu", read(t, s, s.GELUTanh(x)), tanh(1), tanh(-2), tanh(3), tanh(4))
		g := s.Float32s([]float32{2, 3}, 2)
		near(t, "rms_norm", read(t, s, s.RMSNorm(x, g, 0)), 2/math.Sqrt(2.5), -6/math.Sqrt(2.5), 6/math.Sqrt(12.5), 12/math.Sqrt(12.5))
		near(t, "embedding", read(t, s, s.Embedding(x, s.Int64s([]int64{1, 1, 0}, 3))), 3, 4, 3, 4, 1, -2)
		near(t, "index_select", read(t, s, s.IndexSelect(x, 1, s.Int64s([]int64{1}, 1))), -2, 4)
		near(t, "cat", read(t, s, s.Cat(0, x, s.Transpose(x, 0, 1))), 1, -2, 3, 4, 1, 3, -2, 4)
		best, err := s.ReadInt64s(s.ArgMax(x))
		if err != nil || len(best) != 2 || best[0] != 0 || best[1] != 1 {
			t.Errorf("argmax = %v, %v", best, err)
		}
		return nil
	})
}

func TestAttentionWithoutScaling(t *testing.T) {
	th := start(t)
	do(t, th, func(s *torch.Scope) error {
		q := s.Float32s([]float32{1, 2}, 1, 1, 1, 2)
		k := s.Float32s([]float32{1, 0, 0, 1}, 1, 1, 2, 2)
		v := s.Float32s([]float32{10, 20}, 1, 1, 2, 1)
		bias := s.Float32s([]float32{0.5, 0}, 1, 1, 1, 2)
		p := 1 / (1 + math.Exp(2-1.5)) // softmax of (1 + 0.5, 2)
		near(t, "attention", read(t, s, s.Attention(q, k, v, bias)), 10*p+20*(1-p))
		free := 1 / (1 + math.Exp(2-1))
		near(t, "attention without bias", read(t, s, s.Attention(q, k, v, torch.Tensor{})), 10*free+20*(1-free))
		return nil
	})
}

func TestUploadConverts(t *testing.T) {
	th := start(t)
	do(t, th, func(s *torch.Scope) error {
		half := []byte{0x00, 0x3c, 0x00, 0xc1} // 1 and -2.5 in float16
		near(t, "float16", read(t, s, s.Upload(half, []int64{2}, torch.Float16, torch.Float32)), 1, -2.5)
		brain := []byte{0x80, 0x3f, 0x20, 0xc0} // 1 and -2.5 in bfloat16
		near(t, "bfloat16", read(t, s, s.Upload(brain, []int64{2}, torch.BFloat16, torch.Float32)), 1, -2.5)
		if s.Upload(half, []int64{3}, torch.Float16, torch.Float32).Defined() || s.Err() == nil {
			t.Error("data shorter than its shape was taken")
		}
		s.Free()
		return nil
	})
}

func TestResolveNames(t *testing.T) {
	if d, why, err := torch.Resolve("cpu"); err != nil || why != nil || d != torch.CPU || d.String() != "cpu" {
		t.Errorf("cpu: %v %v %v", d, why, err)
	}
	d, why, err := torch.Resolve("auto")
	if err != nil || d.IsCUDA() == (why != nil) {
		t.Errorf("auto: %v, %v, %v: a CPU needs a reason and a GPU has none", d, why, err)
	}
	if _, _, err = torch.Resolve("cuda"); (err == nil) != d.IsCUDA() {
		t.Errorf("cuda: %v though auto gave %v", err, d)
	}
}
