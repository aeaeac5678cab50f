package torch_test

import (
	"math"
	"testing"

	"valence/runtime/torch"
	"valence/runtime/torch/torchtest"
)

// wave is a leaf of numbers that differ, the same each time.
func wave(s *torch.Scope, seed int, shape ...int64) torch.Tensor {
	n := 1
	for _, k := range shape {
		n *= int(k)
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(float64(seed + 7*i + i*i%13)))
	}
	return s.Leaf(s.Float32s(v, shape...))
}

// TestAttend holds sequences of several lengths, two of which look at the same text, against
// the operators, one sequence at a time, there and back.
func TestAttend(t *testing.T) {
	torchtest.OnCPU(t)
	const heads, most = 2, 19
	queries, keys, of := []int64{5, 1, 19, 4, 2}, []int64{19, 1, 17, 8}, []int64{3, 1, 0, 2, 3}
	for _, width := range []int64{3, 16, 64} {
		do(t, start(t), func(s *torch.Scope) error {
			inner := heads * width
			q, k, v := wave(s, 1, 1, sum(queries), inner), wave(s, 2, 1, sum(keys), inner), wave(s, 3, 1, sum(keys), inner)
			bias, along := wave(s, 4, heads, 2*most-1), wave(s, 5, 1, sum(queries), inner)
			bias = s.Float32s(read(t, s, bias), heads, 2*most-1) // which is not learnt
			for _, by := range []torch.Tensor{{}, bias} {
				var got, want torch.Tensor
				s.WithGradients(func() {
					got = s.Attend(q, k, v, heads, torch.Texts(queries), torch.Texts(keys), of, by, torch.Noise{})
					var parts []torch.Tensor
					at, first := int64(0), starts(keys)
					for i, n := range queries {
						text := of[i]
						parts = append(parts, attendAlone(s, s.Narrow(q, 1, at, n), s.Narrow(k, 1, first[text], keys[text]), s.Narrow(v, 1, first[text], keys[text]), heads, by, most))
						at += n
					}
					want = s.Cat(1, parts...)
				})
				same(t, "attention", read(t, s, got), read(t, s, want))
				leaves := []torch.Tensor{q, k, v}
				a := s.Gradients([]torch.Tensor{got}, []torch.Tensor{along}, leaves)
				b := s.Gradients([]torch.Tensor{want}, []torch.Tensor{along}, leaves)
				for i, name := range []string{"queries", "keys", "values"} {
					same(t, "gradient of "+name, read(t, s, a[i]), read(t, s, b[i]))
				}
			}
			return nil
		})
	}
}

// attendAlone is the attention of one sequence [1, n, H*K] by libtorch's operators.
func attendAlone(s *torch.Scope, q, k, v torch.Tensor, heads int64, distances torch.Tensor, most int64) torch.Tensor {
	split := func(x torch.Tensor) torch.Tensor { return s.Transpose(s.Reshape(x, 1, s.Shape(x)[1], heads, -1), 1, 2) }
	scores := s.MatMul(split(q), s.Transpose(split(k), 2, 3))
	if distances.Defined() {
		n, m := s.Shape(scores)[2], s.Shape(scores)[3]
		var rows []torch.Tensor
		for i := range n { // key j is at distance j - i
			rows = append(rows, s.Reshape(s.Narrow(distances, 1, most-1-i, m), 1, heads, 1, m))
		}
		scores = s.Add(scores, s.Cat(2, rows...))
	}
	return s.Reshape(s.Transpose(s.MatMul(s.Softmax(scores), split(v)), 1, 2), 1, s.Shape(q)[1], -1)
}

func sum(n []int64) (all int64) {
	for _, k := range n {
		all += k
	}
	return all
}

func starts(n []int64) (at []int64) {
	for i := range n {
		at = append(at, sum(n[:i]))
	}
	return at
}

// TestTextsEndToEnd holds the operators over texts end to end against those over each text
// alone.
func TestTextsEndToEnd(t *testing.T) {
	torchtest.OnCPU(t)
	lengths := []int64{3, 1, 6}
	const d = 21
	do(t, start(t), func(s *torch.Scope) error {
		h, x, l, along := wave(s, 1, 1, 10, d), wave(s, 2, 1, 10, d), wave(s, 3, 3, 1, d), wave(s, 4, 1, 10, d)
		for name, f := range map[string]func(h, x, l torch.Tensor, texts torch.Texts) torch.Tensor{
			"scale": func(_, x, l torch.Tensor, texts torch.Texts) torch.Tensor { return s.Scale(x, l, texts) },
			"gate": func(h, x, l torch.Tensor, texts torch.Texts) torch.Tensor {
				return s.Gate(h, x, l, torch.ActivationGELUNew, texts)
			},
		} {
			var got, want torch.Tensor
			s.WithGradients(func() {
				got = f(h, x, l, torch.Texts(lengths))
				var parts []torch.Tensor
				at := starts(lengths)
				for i, n := range lengths {
					parts = append(parts, f(s.Narrow(h, 1, at[i], n), s.Narrow(x, 1, at[i], n), s.Narrow(l, 0, int64(i), 1), torch.Texts{}))
				}
				want = s.Cat(1, parts...)
			})
			same(t, name, read(t, s, got), read(t, s, want))
			leaves := []torch.Tensor{x, l}
			a := s.Gradients([]torch.Tensor{got}, []torch.Tensor{along}, leaves)
			b := s.Gradients([]torch.Tensor{want}, []torch.Tensor{along}, leaves)
			for i := range leaves {
				same(t, name+"'s gradient", read(t, s, a[i]), read(t, s, b[i]))
			}
		}
		return nil
	})
}

func TestTextsRefuse(t *testing.T) {
	torchtest.OnCPU(t)
	th := start(t)
	for name, f := range map[string]func(s *torch.Scope){
		"tokens too few": func(s *torch.Scope) {
			s.Scale(s.Full(1, torch.Float32, 1, 4, 2), s.Full(1, torch.Float32, 2, 1, 2), torch.Texts([]int64{2, 3}))
		},
		"padded tokens": func(s *torch.Scope) {
			s.Scale(s.Full(1, torch.Float32, 2, 4, 2), s.Full(1, torch.Float32, 2, 1, 2), torch.Texts([]int64{4, 4}))
		},
		"keys that do not fit": func(s *torch.Scope) {
			s.DropoutTexts(s.Full(1, torch.Float32, 1, 4, 2), torch.Noise{Keys: s.Int64s([]int64{7}, 1), Rate: 0.5}, torch.Texts([]int64{2, 2}))
		},
		"nothing that may be dropped": func(s *torch.Scope) {
			s.DropoutTexts(s.Full(1, torch.Float32, 1, 4, 2), torch.Noise{Keys: s.Int64s([]int64{7}, 1), Rate: 1}, torch.Texts([]int64{4}))
		},
		"a text missing": func(s *torch.Scope) {
			x := s.Full(1, torch.Float32, 1, 4, 2)
			one := torch.Texts([]int64{4})
			s.Attend(x, x, x, 1, one, one, []int64{1}, torch.Tensor{}, torch.Noise{})
		},
		"a text too long": func(s *torch.Scope) {
			x := s.Full(1, torch.Float32, 1, 4, 2)
			one := torch.Texts([]int64{4})
			s.Attend(x, x, x, 1, one, one, nil, s.Full(0, torch.Float32, 1, 5), torch.Noise{})
		},
		"heads that do not fit": func(s *torch.Scope) {
			x := s.Full(1, torch.Float32, 1, 4, 3)
			one := torch.Texts([]int64{4})
			s.Attend(x, x, x, 2, one, one, nil, torch.Tensor{}, torch.Noise{})
		},
	} {
		if err := th.Do(t.Context(), torch.Serving, func(s *torch.Scope) error { f(s); return nil }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
