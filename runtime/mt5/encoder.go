package mt5

import (
	"math"

	"valence/runtime/torch"
)

// inputs is a padded batch on the device.
type inputs struct {
	rows, length int64
	ids          torch.Tensor // [B, T] int64
	mask         torch.Tensor // [B, 1, 1, T]: 0 for tokens and -inf for padding; none when nothing is padded
}

// pad lays rows side by side, filled up with the padding id to the longest.
func (p *pass) pad(rows [][]int32) inputs {
	in := inputs{rows: int64(len(rows))}
	for _, row := range rows {
		in.length = max(in.length, int64(len(row)))
	}
	ids := make([]int64, in.rows*in.length)
	mask := make([]float32, len(ids))
	padded := false
	hidden := float32(math.Inf(-1))
	for i, row := range rows {
		at := i * int(in.length)
		for j := range int(in.length) {
			if j < len(row) {
				ids[at+j] = int64(row[j])
				continue
			}
			ids[at+j], mask[at+j], padded = int64(p.m.config.PadID), hidden, true
		}
	}
	in.ids = p.s.Int64s(ids, in.rows, in.length)
	if padded {
		in.mask = p.s.To(p.s.Float32s(mask, in.rows, 1, 1, in.length), p.m.dtype)
	}
	return in
}

// encode gives the encoder's states [B, T, D].
func (p *pass) encode(in inputs) torch.Tensor {
	m, s := p.m, p.s
	x := p.embed(in.ids)
	p.saw(0, x)
	bias := p.encoderBias(in)
	for i, b := range m.encoder.blocks {
		mark := s.Mark()
		x = p.encoderBlock(x, b, in, bias)
		s.Keep(mark, x)
		p.saw(i+1, x)
	}
	x = p.norm(x, m.encoder.finalNorm)
	p.saw(len(m.encoder.blocks)+1, x)
	return x
}

// encoderBias is the position bias with the padding hidden: [1 or B, H, T, T].
func (p *pass) encoderBias(in inputs) torch.Tensor {
	bias := p.m.encoder.bias.rows(p.s, 0, in.length)
	if in.mask.Defined() {
		bias = p.s.Add(bias, in.mask)
	}
	return bias
}

func (p *pass) encoderBlock(x torch.Tensor, b block, in inputs, bias torch.Tensor) torch.Tensor {
	x = p.s.Add(x, p.drop(p.selfAttention(p.norm(x, b.selfNorm), b.self, in, bias)))
	return p.s.Add(x, p.drop(p.feedForward(p.norm(x, b.ffNorm), b.ff)))
}

func (p *pass) selfAttention(x torch.Tensor, a attention, in inputs, bias torch.Tensor) torch.Tensor {
	q := p.heads(p.project(x, a.q, p.sc), in.rows, in.length)
	kv := p.keysValues(x, a, in.rows, in.length)
	return p.project(p.merge(p.attend(q, kv, bias), in.rows, in.length), a.o, p.sc)
}

// keyValue is what an attention looks up: both [B, H, T, K].
type keyValue struct{ k, v torch.Tensor }

func (p *pass) keysValues(x torch.Tensor, a attention, b, t int64) keyValue {
	return keyValue{p.heads(p.project(x, a.k, p.sc), b, t), p.heads(p.project(x, a.v, p.sc), b, t)}
}
