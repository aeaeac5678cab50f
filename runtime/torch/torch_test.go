package torch_test

import (
	"context"
	"math"
	"slices"
	"syscall"
	"testing"

	"valence/runtime/torch"
	"valence/runtime/torch/torchtest"
)

// start gives a thread that must own nothing when the test ends.
func start(t *testing.T) *torch.Thread {
	t.Helper()
	th := torch.Start(torch.Options{Device: torchtest.Device(t), Threads: 1, Seed: 1})
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

func TestAlias(t *testing.T) {
	torchtest.OnCPU(t)
	data, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(data) })
	copy(data, []byte{0x00, 0x3c, 0x00, 0xc1}) // 1, -2.5
	do(t, start(t), func(s *torch.Scope) error {
		a := s.Alias(data[:4], []int64{2}, torch.Float16)
		near(t, "alias", read(t, s, s.To(a, torch.Float32)), 1, -2.5)
		data[1] = 0x40
		near(t, "alias", read(t, s, s.To(a, torch.Float32)), 2, -2.5)
		if s.Alias(data[:4], []int64{3}, torch.Float16).Defined() || s.Err() == nil {
			t.Error("too few bytes are read")
		}
		s.Free()
		return nil
	})
}

func TestWrite(t *testing.T) {
	do(t, start(t), func(s *torch.Scope) error {
		x := s.Full(1, torch.Float32, 3, 2)
		s.Write(s.Narrow(x, 0, 1, 1), []float32{4, 5})
		near(t, "write", read(t, s, x), 1, 1, 4, 5, 1, 1)
		if s.Write(s.Narrow(x, 0, 1, 1), []float32{4}); s.Err() == nil {
			t.Error("a number too few is written")
		}
		s.Free()
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

// TestGradients takes them through each operator of native.cpp that has its own way
// back: sizes reach all of its blocks.
func TestGradients(t *testing.T) {
	th := start(t)
	do(t, th, func(s *torch.Scope) error {
		for _, rows := range []int64{1, 63, 64, 200} {
			x := s.Leaf(s.Full(2, torch.Float32, rows, 3))
			w := s.Float32s([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
			var y torch.Tensor
			s.WithGradients(func() { y = s.Linear(s.Mul(x, x), w) })
			near(t, "linear", read(t, s, s.Narrow(y, 0, rows-1, 1)), 24, 60)
			along := s.Mul(s.Full(1, torch.Float32, rows, 2), s.Float32s([]float32{1, -1}, 1, 2))
			g := s.Gradients([]torch.Tensor{y}, []torch.Tensor{along}, []torch.Tensor{x})
			near(t, "gradient", read(t, s, s.Narrow(g[0], 0, rows-1, 1)), 4*(1-4), 4*(2-5), 4*(3-6))
		}
		return nil
	})
}

// TestRowKernelsEqualOperators compares the loops of rows.cpp with the operators that
// they stand for, there and back, for widths that fill their lanes and that do not.
func TestRowKernelsEqualOperators(t *testing.T) {
	th := start(t)
	do(t, th, func(s *torch.Scope) error {
		for _, d := range []int64{1, 5, 16, 33, 384} {
			x, w, l, h := wave(s, 1, 3, 4, d), wave(s, 2, d), wave(s, 3, 3, 1, d), wave(s, 4, 3, 4, d)
			along := wave(s, 5, 3, 4, d)
			for name, f := range map[string]struct {
				got, want func() torch.Tensor
				of        []torch.Tensor
			}{
				"scale": {func() torch.Tensor { return s.Scale(x, l, nil) }, func() torch.Tensor { return s.Mul(x, l) }, []torch.Tensor{x, l}},
				"gate": {func() torch.Tensor { return s.Gate(h, x, l, torch.ActivationGELUNew, nil) }, func() torch.Tensor {
					return s.Mul(s.To(s.GELUTanh(s.To(h, torch.Float64)), torch.Float32), s.Mul(x, l))
				}, []torch.Tensor{h, x, l}},
				"gate of SiLU without vectors": {func() torch.Tensor { return s.Gate(h, x, torch.Tensor{}, torch.ActivationSiLU, nil) }, func() torch.Tensor {
					return s.Mul(s.SiLU(h), x)
				}, []torch.Tensor{h, x}},
				"gate of ReLU": {func() torch.Tensor { return s.Gate(h, x, l, torch.ActivationReLU, nil) }, func() torch.Tensor {
					return s.Mul(s.ReLU(h), s.Mul(x, l))
				}, []torch.Tensor{h, x, l}},
				"norm": {func() torch.Tensor { return s.RMSNorm(x, s.Reshape(w, -1), 1e-6) }, func() torch.Tensor {
					wide := s.To(x, torch.Float64) // which takes the way of operators
					return s.To(s.RMSNorm(wide, s.To(w, torch.Float64), 1e-6), torch.Float32)
				}, []torch.Tensor{x}},
			} {
				var got, want torch.Tensor
				s.WithGradients(func() { got, want = f.got(), f.want() })
				same(t, name, read(t, s, got), read(t, s, want))
				a := s.Gradients([]torch.Tensor{got}, []torch.Tensor{along}, f.of)
				b := s.Gradients([]torch.Tensor{want}, []torch.Tensor{along}, f.of)
				for i := range f.of {
					same(t, name+"'s gradient", read(t, s, a[i]), read(t, s, b[i]))
				}
			}
		}
		return nil
	})
}

// same wants two results within rounding.
func same(t *testing.T, name string, got, want []float32) {
	t.Helper()
	wide := make([]float64, len(want))
	for i, x := range want {
		wide[i] = float64(x)
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d elements, want %d", name, len(got), len(want))
	}
	for i := range got {
		if math.Abs(float64(got[i])-wide[i]) > 2e-5*max(1, math.Abs(wide[i])) {
			t.Errorf("%s[%d] = %v, want %v", name, i, got[i], wide[i])
		}
	}
}

func TestGradientsFail(t *testing.T) {
	th := start(t)
	for _, tc := range []struct {
		name string
		f    func(s *torch.Scope)
	}{
		{"outside WithGradients", func(s *torch.Scope) {
			x := s.Leaf(s.Full(1, torch.Float32, 2))
			s.Gradients([]torch.Tensor{s.Mul(x, x)}, []torch.Tensor{x}, []torch.Tensor{x})
		}},
		{"twice", func(s *torch.Scope) {
			x := s.Leaf(s.Full(1, torch.Float32, 2))
			var y torch.Tensor
			s.WithGradients(func() { y = s.Mul(x, x) })
			s.Gradients([]torch.Tensor{y}, []torch.Tensor{x}, []torch.Tensor{x})
			s.Gradients([]torch.Tensor{y}, []torch.Tensor{x}, []torch.Tensor{x})
		}},
		{"of nothing", func(s *torch.Scope) { s.Gradients(nil, nil, []torch.Tensor{s.Leaf(s.Full(1, torch.Float32, 2))}) }},
		{"to nothing", func(s *torch.Scope) {
			x := s.Full(1, torch.Float32, 2)
			s.Gradients([]torch.Tensor{x}, []torch.Tensor{x}, nil)
		}},
	} {
		err := th.Do(context.Background(), torch.Serving, func(s *torch.Scope) error {
			tc.f(s)
			return nil
		})
		if err == nil {
			t.Errorf("%s: no error", tc.name)
		}
		if n := th.Live(); n != 0 {
			t.Errorf("%s: %d handles live", tc.name, n)
		}
	}
}

// TestDropout wants what one key drops to depend on the key, the salt and the place,
// and to be as much as the rate says.
func TestDropout(t *testing.T) {
	th := start(t)
	do(t, th, func(s *torch.Scope) error {
		mask := func(rate float64, salt int64, t, d int64, keys ...int64) torch.Tensor {
			n := int64(len(keys))
			return s.Dropout(s.Full(1, torch.Float32, n, t, d), s.Int64s(keys, n), salt, rate)
		}
		for _, rate := range []float64{0.1, 0.5, 0.9} {
			all := read(t, s, mask(rate, 3, 100, 50, 1, 2, -7))
			kept := 0
			for _, x := range all {
				switch {
				case x != 0 && math.Abs(float64(x)-1/(1-rate)) > 1e-5:
					t.Fatalf("rate %v: an element of 1 became %v", rate, x)
				case x != 0:
					kept++
				}
			}
			if got := float64(kept) / float64(len(all)); math.Abs(got-(1-rate)) > 0.015 { // 4 standard deviations
				t.Errorf("rate %v: %v kept", rate, got)
			}
		}
		large := mask(0.5, 3, 20, 6, 5, 9)
		corner := s.Narrow(s.Narrow(s.Narrow(large, 0, 1, 1), 1, 0, 7), 2, 0, 4)
		want := read(t, s, corner)
		if got := read(t, s, mask(0.5, 3, 7, 4, 9)); !slices.Equal(got, want) {
			t.Errorf("the same key, salt and places drop\n%v in a smaller batch,\n%v in a larger", got, want)
		}
		for name, other := range map[string]torch.Tensor{"key": mask(0.5, 3, 7, 4, 8), "salt": mask(0.5, 4, 7, 4, 9)} {
			if slices.Equal(read(t, s, other), want) {
				t.Errorf("another %s drops the same", name)
			}
		}
		return nil
	})
}

func TestSoftmaxPickSum(t *testing.T) {
	th := start(t)
	do(t, th, func(s *torch.Scope) error {
		x := s.Float32s([]float32{1, 2, 3, 0, 0, float32(math.Inf(-1))}, 2, 3)
		z := math.Exp(-2) + math.Exp(-1) + 1
		near(t, "softmax", read(t, s, s.Softmax(x)), math.Exp(-2)/z, math.Exp(-1)/z, 1/z, 0.5, 0.5, 0)
		near(t, "log_softmax", read(t, s, s.Pick(s.LogSoftmax(x), s.Int64s([]int64{0, 1}, 2))), -2-math.Log(z), -math.Log(2))
		near(t, "sum", read(t, s, s.Sum(s.Narrow(x, 1, 0, 2), 0)), 1, 2)
		near(t, "sum of rows", read(t, s, s.Sum(s.Narrow(x, 0, 0, 1), 1)), 6)
		return nil
	})
}
