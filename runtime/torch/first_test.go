package torch_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"valence/runtime/torch"
	"valence/runtime/torch/torchtest"
)

// look is an attention of one query for each sequence, as Absorbed is asked for it.
type look struct {
	torch.Heads
	lengths, of        []int64
	q, states, wk, wv  []float32 // [n, H*K], [texts, longest, D], [H*K, D] both
	inK, inV           []float32 // [n, D]
	outK, outV         []float32 // [n, H*K]
	longest, sequences int64
}

func randomLook(rng *rand.Rand, h torch.Heads) *look {
	l := &look{Heads: h, lengths: []int64{5, 33, 16, 1}, of: []int64{1, 0, 3, 2, 1}, longest: 33, sequences: 5}
	inner := h.Count * h.Width
	l.q, l.states = random(rng, int(l.sequences*inner)), random(rng, int(int64(len(l.lengths))*l.longest*h.D))
	l.wk, l.wv = random(rng, int(inner*h.D)), random(rng, int(inner*h.D))
	for i := range l.wk { // such as every format has exactly
		l.wk[i], l.wv[i] = float32(math.Round(float64(l.wk[i])*8)/64), float32(math.Round(float64(l.wv[i])*8)/64)
	}
	l.inK, l.inV = random(rng, int(l.sequences*h.D)), random(rng, int(l.sequences*h.D))
	l.outK, l.outV = random(rng, int(l.sequences*inner)), random(rng, int(l.sequences*inner))
	return l
}

// want is the attention with keys and values, in float64: [n, H*K].
func (l *look) want() []float64 {
	inner := l.Count * l.Width
	out := make([]float64, l.sequences*inner)
	for i, text := range l.of {
		n := int64(i)
		// project is W (x in) out of a token, for one output.
		project := func(w, in, out []float32, token, o int64) (sum float64) {
			x := l.states[(text*l.longest+token)*l.D:]
			for j := range l.D {
				sum += float64(w[o*l.D+j]) * float64(x[j]) * float64(in[n*l.D+j])
			}
			return sum * float64(out[n*inner+o])
		}
		for h := range l.Count {
			scores := make([]float64, l.lengths[text])
			for t := range scores {
				for k := h * l.Width; k < (h+1)*l.Width; k++ {
					scores[t] += float64(l.q[n*inner+k]) * project(l.wk, l.inK, l.outK, int64(t), k)
				}
			}
			most, all := slices.Max(scores), 0.0
			for t := range scores {
				scores[t] = math.Exp(scores[t] - most)
				all += scores[t]
			}
			for k := h * l.Width; k < (h+1)*l.Width; k++ {
				for t := range scores {
					out[n*inner+k] += scores[t] / all * project(l.wv, l.inV, l.outV, int64(t), k)
				}
			}
		}
	}
	return out
}

// got is the same by Absorbed.
func (l *look) got(s *torch.Scope, k, v torch.Packed) torch.Tensor {
	n, inner := l.sequences, l.Count*l.Width
	sight := s.See(s.Float32s(l.states, int64(len(l.lengths)), l.longest, l.D), l.lengths, l.of, int(l.Count))
	return s.Absorbed(s.Float32s(l.q, n, 1, inner), sight,
		torch.Projection{W: k, In: s.Float32s(l.inK, n, 1, l.D), Out: s.Float32s(l.outK, n, 1, inner)},
		torch.Projection{W: v, In: s.Float32s(l.inV, n, 1, l.D), Out: s.Float32s(l.outV, n, 1, inner)})
}

// alone is sequence i with its text and nothing else.
func (l *look) alone(i int64) *look {
	text, inner := l.of[i], l.Count*l.Width
	row := func(x []float32, width int64) []float32 { return x[i*width : (i+1)*width] }
	return &look{
		Heads: l.Heads, lengths: l.lengths[text : text+1], longest: l.lengths[text], sequences: 1, wk: l.wk, wv: l.wv,
		q: row(l.q, inner), inK: row(l.inK, l.D), inV: row(l.inV, l.D), outK: row(l.outK, inner), outV: row(l.outV, inner),
		states: l.states[text*l.longest*l.D:][:l.lengths[text]*l.D],
	}
}

func bytesOf(x []float32) []byte {
	var out []byte
	for _, v := range x {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

func TestAbsorbed(t *testing.T) {
	everyISA(t, func(t *testing.T) {
		for _, f := range []torch.Format{torch.PackedFloat32, torch.PackedFloat16, torch.PackedWideBFloat16} {
			for _, h := range []torch.Heads{{Count: 3, Width: 5, D: 12}, {Count: 5, Width: 64, D: 70}, {Count: 8, Width: 32, D: 128}, {Count: 1, Width: 80, D: 64}} {
				t.Run(fmt.Sprintf("%v/%d_heads_of_%d_over_%d", f, h.Count, h.Width, h.D), func(t *testing.T) {
					testAbsorbed(t, f, h)
				})
			}
		}
	})
}

func testAbsorbed(t *testing.T, f torch.Format, h torch.Heads) {
	if !torch.CanPack(f) {
		t.Skipf("this processor has no kernel for %v", f)
	}
	l := randomLook(rand.New(rand.NewPCG(1, uint64(h.D))), h)
	do(t, start(t), func(s *torch.Scope) error {
		k, v := s.PackKeys(bytesOf(l.wk), torch.Float32, h, f), s.PackValues(bytesOf(l.wv), torch.Float32, h, f)
		if err := s.Err(); err != nil {
			return err
		}
		got := read(t, s, l.got(s, k, v))
		for i, want := range l.want() {
			if d := math.Abs(float64(got[i]) - want); !(d <= 2e-4*(1+math.Abs(want))) {
				t.Fatalf("number %d is %v, want %v", i, got[i], want)
			}
		}
		inner := int(h.Count * h.Width)
		for i := range l.sequences {
			if !slices.Equal(read(t, s, l.alone(i).got(s, k, v)), got[int(i)*inner:][:inner]) {
				t.Errorf("sequence %d has other bits alone", i)
			}
		}
		out, in := h.KeysSize()
		again := s.PackedAt(k.Data(), out, in, f)
		out, in = h.ValuesSize()
		if !slices.Equal(read(t, s, l.got(s, again, s.PackedAt(v.Data(), out, in, f))), got) {
			t.Error("what is made of the same data gives something else")
		}
		return s.Err()
	})
}

func TestAbsorbedRefuses(t *testing.T) {
	torchtest.OnCPU(t)
	h := torch.Heads{Count: 2, Width: 8, D: 16}
	if !torch.CanPack(torch.PackedFloat32) {
		t.Skip("this processor has no kernel")
	}
	for name, spoil := range map[string]func(l *look, k, v *torch.Packed){
		"a text that is not there":       func(l *look, _, _ *torch.Packed) { l.of[2] = 4 },
		"fewer texts than sequences":     func(l *look, _, _ *torch.Packed) { l.of = nil },
		"keys and values changed places": func(_ *look, k, v *torch.Packed) { *k, *v = *v, *k },
		"no matrix of keys":              func(_ *look, k, _ *torch.Packed) { *k = torch.Packed{} },
		"a text without tokens":          func(l *look, _, _ *torch.Packed) { l.lengths[0] = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			l := randomLook(rand.New(rand.NewPCG(1, 2)), h)
			_ = start(t).Do(t.Context(), torch.Serving, func(s *torch.Scope) error {
				k, v := s.PackKeys(bytesOf(l.wk), torch.Float32, h, torch.PackedFloat32), s.PackValues(bytesOf(l.wv), torch.Float32, h, torch.PackedFloat32)
				spoil(l, &k, &v)
				l.got(s, k, v)
				if s.Err() == nil {
					t.Error("it was taken")
				}
				return nil
			})
		})
	}
}
