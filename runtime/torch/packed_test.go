package torch_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"valence/runtime/torch"
	"valence/runtime/torch/torchtest"
)

// formats and the error of a product that rounding may give, as a share of the norms of
// row and weight.
var formats = map[string]struct {
	format torch.Format
	near   float64
}{
	"float32":   {torch.PackedFloat32, 1e-6},
	"bfloat16":  {torch.PackedBFloat16, 1.0 / 256},
	"float16":   {torch.PackedFloat16, 1.0 / 2048},
	"int8":      {torch.PackedInt8, 1.0 / 127},
	"wide-int8": {torch.PackedWideInt8, 1.0 / 127},
}

// everyISA runs a test as far down as the processors that have kernels of their own.
func everyISA(t *testing.T, test func(t *testing.T)) {
	torchtest.OnCPU(t)
	for _, isa := range []string{"avx2", "avx512", "avx512vnni", "avx512bf16", ""} {
		t.Run("isa="+isa, func(t *testing.T) {
			t.Setenv("VALENCE_MAX_CPU_ISA", isa)
			test(t)
		})
	}
}

func random(rng *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(rng.NormFloat64())
	}
	return out
}

// product is x wᵀ in float64, and the product of the norms of each row and output.
func product(x, w []float32, in int) (y, size []float64) {
	for r := range len(x) / in {
		for o := range len(w) / in {
			var dot, xx, ww float64
			for i := range in {
				a, b := float64(x[r*in+i]), float64(w[o*in+i])
				dot, xx, ww = dot+a*b, xx+a*a, ww+b*b
			}
			y, size = append(y, dot), append(size, math.Sqrt(xx*ww))
		}
	}
	return y, size
}

func TestPackedLinear(t *testing.T) { everyISA(t, testPackedLinear) }

func testPackedLinear(t *testing.T) {
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			th := start(t)
			rng := rand.New(rand.NewPCG(1, 2))
			for _, size := range [][2]int{{64, 96}, {384, 200}, {40, 1}, {37, 70}} {
				in, out := size[0], size[1]
				w := random(rng, in*out)
				for _, n := range []int{1, 2, 8, 9, 33, 64, 65, 200} {
					x := random(rng, n*in)
					for i := range in { // rows of very different size share a batch
						x[i] *= 1000
						x[(n-1)*in+i] *= 0.001
					}
					want, scale := product(x, w, in)
					do(t, th, func(s *torch.Scope) error {
						weight := s.Float32s(w, int64(out), int64(in))
						p := s.Pack(weight, f.format)
						got := read(t, s, s.PackedLinear(s.Float32s(x, int64(n), int64(in)), p))
						for i := range got {
							if d := math.Abs(float64(got[i]) - want[i]); !(d <= f.near*scale[i]) {
								t.Fatalf("%d rows, %v: element %d is %v, want %v", n, size, i, got[i], want[i])
							}
						}
						return nil
					})
				}
			}
		})
	}
}

// Weights that lie on a grid of 8 bits are kept as they are, and wide rows are near theirs.
func TestWideInt8(t *testing.T) { everyISA(t, testWideInt8) }

func testWideInt8(t *testing.T) {
	const n, in, out = 51, 200, 70
	rng := rand.New(rand.NewPCG(13, 14))
	x, w := random(rng, n*in), make([]float32, out*in)
	for o := range out {
		scale := float32(math.Exp(rng.NormFloat64()))
		for i := range in {
			w[o*in+i] = scale * float32(rng.IntN(255)-127)
		}
		w[o*in+rng.IntN(in)] = 127 * scale // which tells the scale
	}
	want, size := product(x, w, in)
	do(t, start(t), func(s *torch.Scope) error {
		got := read(t, s, s.PackedLinear(s.Float32s(x, n, in), s.Pack(s.Float32s(w, out, in), torch.PackedWideInt8)))
		for i := range got {
			if d := math.Abs(float64(got[i]) - want[i]); !(d <= 1e-4*size[i]) {
				t.Fatalf("element %d is %v, want %v", i, got[i], want[i])
			}
		}
		return nil
	})
}

// What is packed out of a file multiplies as what is packed out of a tensor.
func TestPackData(t *testing.T) {
	torchtest.OnCPU(t)
	const n, in, out = 3, 48, 70
	rng := rand.New(rand.NewPCG(7, 8))
	x, w := random(rng, n*in), random(rng, out*in)
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			do(t, start(t), func(s *torch.Scope) error {
				data := make([]byte, 0, 2*len(w)+1)
				for _, v := range w {
					data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(v)>>16))
				}
				rows := s.Float32s(x, n, in)
				want := read(t, s, s.PackedLinear(rows, s.Pack(s.Upload(data, []int64{out, in}, torch.BFloat16, torch.Float32), f.format)))
				got := read(t, s, s.PackedLinear(rows, s.PackData(data, torch.BFloat16, out, in, f.format)))
				if !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got[:3], want[:3])
				}
				if p := s.PackData(append(data, 0), torch.BFloat16, out, in, f.format); p.Defined() || s.Err() == nil {
					t.Error("a byte too many is packed")
				}
				s.Free()
				return nil
			})
		})
	}
}

// A row's product is the same to the last bit whatever stands beside it.
func TestPackedRowsAreAlone(t *testing.T) { everyISA(t, testPackedRowsAreAlone) }

func testPackedRowsAreAlone(t *testing.T) {
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			th := start(t)
			rng := rand.New(rand.NewPCG(3, 4))
			const in, out, most = 384, 256, 300
			x, w := random(rng, most*in), random(rng, out*in)
			do(t, th, func(s *torch.Scope) error {
				weight := s.Float32s(w, out, in)
				p := s.Pack(weight, f.format)
				rows := s.Float32s(x, most, in)
				all := read(t, s, s.PackedLinear(rows, p))
				for _, n := range []int64{1, 2, 7, 8, 40, 64, 100, 129} {
					for at := int64(0); at+n <= most; at += 61 {
						got := read(t, s, s.PackedLinear(s.Narrow(rows, 0, at, n), p))
						for i := range got {
							if got[i] != all[at*out+int64(i)] {
								t.Fatalf("%d rows from %d: element %d is %v, in the whole batch %v", n, at, i, got[i], all[at*out+int64(i)])
							}
						}
					}
				}
				return nil
			})
		})
	}
}

func TestPackedGradients(t *testing.T) { everyISA(t, testPackedGradients) }

func testPackedGradients(t *testing.T) {
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			th := start(t)
			rng := rand.New(rand.NewPCG(5, 6))
			const n, in, out = 5, 64, 48
			x, w, g := random(rng, n*in), random(rng, out*in), random(rng, n*out)
			across := make([]float32, len(w)) // w's transpose, whose product with g is the gradient
			for o := range out {
				for i := range in {
					across[i*out+o] = w[o*in+i]
				}
			}
			want, scale := product(g, across, out)
			do(t, th, func(s *torch.Scope) error {
				weight := s.Float32s(w, out, in)
				p := s.Pack(weight, f.format)
				leaf := s.Leaf(s.Float32s(x, n, in))
				var y torch.Tensor
				s.WithGradients(func() { y = s.PackedLinear(leaf, p) })
				got := read(t, s, s.Gradients([]torch.Tensor{y}, []torch.Tensor{s.Float32s(g, n, out)}, []torch.Tensor{leaf})[0])
				for i := range got {
					if d := math.Abs(float64(got[i]) - want[i]); !(d <= f.near*scale[i]) {
						t.Fatalf("element %d is %v, want %v", i, got[i], want[i])
					}
				}
				return nil
			})
		})
	}
}

func TestPackedZerosAndBytes(t *testing.T) {
	torchtest.OnCPU(t)
	th := start(t)
	for name, f := range formats {
		do(t, th, func(s *torch.Scope) error {
			weight := s.Full(0, torch.Float32, 64, 32)
			p := s.Pack(weight, f.format)
			for _, y := range read(t, s, s.PackedLinear(s.Full(0, torch.Float32, 3, 32), p)) {
				if y != 0 {
					t.Errorf("%s: 0 times 0 is %v", name, y)
				}
			}
			want := int64(64 * 32 * 2)
			switch f.format {
			case torch.PackedFloat32:
				want *= 2
			case torch.PackedInt8, torch.PackedWideInt8:
				want = want/2 + 64*8
			}
			if torch.Layout(f.format) != "" && p.Bytes() != want { // libtorch lays out the others
				t.Errorf("%s: %d bytes, want %d", name, p.Bytes(), want)
			}
			return nil
		})
	}
}

func TestPackedErrors(t *testing.T) {
	torchtest.OnCPU(t)
	th := start(t)
	for name, f := range map[string]func(s *torch.Scope){
		"rows of 5": func(s *torch.Scope) {
			w := s.Full(1, torch.Float32, 3, 4)
			s.PackedLinear(s.Full(1, torch.Float32, 2, 5), s.Pack(w, torch.PackedInt8))
		},
		"no format":          func(s *torch.Scope) { s.Pack(s.Full(1, torch.Float32, 3, 4), 9) },
		"a matrix":           func(s *torch.Scope) { s.Pack(s.Full(1, torch.Float32, 3), torch.PackedInt8) },
		"there is no weight": func(s *torch.Scope) { w := s.Full(1, torch.Float32, 3, 4); s.PackedLinear(w, torch.Packed{}) },
	} {
		err := th.Do(t.Context(), torch.Serving, func(s *torch.Scope) error { f(s); return nil })
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
		if th.Live() != 0 {
			t.Errorf("%s: %d handles live", name, th.Live())
		}
	}
}

// What a weight is made of makes the same one again, before and after it has settled.
func TestPackedAt(t *testing.T) {
	torchtest.OnCPU(t)
	const n, in, out = 5, 48, 70
	rng := rand.New(rand.NewPCG(11, 12))
	x, w := random(rng, n*in), random(rng, out*in)
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			if torch.Layout(f.format) == "" {
				t.Skip("no panels")
			}
			do(t, start(t), func(s *torch.Scope) error {
				rows := s.Float32s(x, n, in)
				p := s.Pack(s.Float32s(w, out, in), f.format)
				want := read(t, s, s.PackedLinear(rows, p))
				kept, err := syscall.Mmap(-1, 0, len(p.Data()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
				if err != nil {
					return err
				}
				copy(kept, p.Data())
				again := s.PackedAt(kept, out, in, f.format)
				if got := read(t, s, s.PackedLinear(rows, again)); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got[:3], want[:3])
				}
				s.Settle(again)
				if err := syscall.Munmap(kept); err != nil {
					return err
				}
				if got := read(t, s, s.PackedLinear(rows, again)); !slices.Equal(got, want) {
					t.Errorf("settled: got %v, want %v", got[:3], want[:3])
				}
				if s.PackedAt(kept[:len(kept)-1], out, in, f.format).Defined() || s.Err() == nil {
					t.Error("a byte too few makes a weight")
				}
				s.Free()
				return nil
			})
		})
	}
}
