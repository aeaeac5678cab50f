package mt5

import (
	"math"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// inputs is a batch, and what hides its padding on the device.
type inputs struct {
	rows, length int64
	texts        [][]int32    // as they came
	lengths      []int64      // of the texts
	mask         torch.Tensor // [B, 1, 1, T]: 0 for tokens and -inf for padding; none when nothing is padded
}

// measure gives a batch whose texts lie end to end.
func measure(rows [][]int32) inputs {
	in := inputs{rows: int64(len(rows)), texts: rows}
	for _, row := range rows {
		in.lengths = append(in.lengths, int64(len(row)))
		in.length = max(in.length, int64(len(row)))
	}
	return in
}

// pad measures rows, which are to be filled up to the longest.
func (p *pass) pad(rows [][]int32) inputs {
	in := measure(rows)
	mask := make([]float32, in.rows*in.length)
	padded := false
	hidden := float32(math.Inf(-1))
	for i, row := range rows {
		for j := len(row); j < int(in.length); j++ {
			mask[i*int(in.length)+j], padded = hidden, true
		}
	}
	if padded {
		in.mask = p.s.To(p.s.Float32s(mask, in.rows, 1, 1, in.length), p.m.dtype)
	}
	return in
}

// padded lays the texts side by side, filled up with the padding id: [B, T] int64.
func (p *pass) padded(in inputs) torch.Tensor {
	ids := make([]int64, in.rows*in.length)
	for i := range ids {
		ids[i] = int64(p.m.config.PadID)
	}
	for i, row := range in.texts {
		for j, id := range row {
			ids[i*int(in.length)+j] = int64(id)
		}
	}
	return p.s.Int64s(ids, in.rows, in.length)
}

// endToEnd lays the texts one after the other: [tokens] int64.
func (p *pass) endToEnd(in inputs) torch.Tensor {
	ids := make([]int64, 0, in.rows*in.length)
	for _, row := range in.texts {
		for _, id := range row {
			ids = append(ids, int64(id))
		}
	}
	return p.s.Int64s(ids, int64(len(ids)))
}

// encode gives the encoder's states [B, T, D].
func (p *pass) encode(in inputs) torch.Tensor {
	if p.m.encoder.inPanels() {
		return p.encodePacked(in)
	}
	if p.m.gpu.Defined() {
		return p.encodeOnGPU(in)
	}
	m, s := p.m, p.s
	x := p.embed(p.padded(in))
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

// inPanels tells whether all of the stack's projections are packed for torch's own kernels.
func (st *stack) inPanels() bool { return len(st.blocks) > 0 && st.blocks[0].ff.wo.packed.InPanels() }

// encodePacked is encode without padding: the texts lie end to end, and each layer is one
// call.
func (p *pass) encodePacked(in inputs) torch.Tensor {
	m, s := p.m, p.s
	x := p.embed(p.endToEnd(in))
	p.sawPacked(0, x, in)
	distances := m.encoder.bias.byDistance(s, in.length)
	for i, b := range m.encoder.blocks {
		s.Encode(x, in.lengths, p.packedLayer(b), distances)
		p.sawPacked(i+1, x, in)
	}
	states := s.Lay(p.norm(x, m.encoder.finalNorm), in.lengths)
	p.saw(len(m.encoder.blocks)+1, states)
	return states
}

func (p *pass) packedLayer(b block) *torch.EncoderLayer {
	layer := &torch.EncoderLayer{
		SelfNorm: b.selfNorm, FFNorm: b.ffNorm, Epsilon: p.m.config.Epsilon, Activation: activations[p.m.config.Activation],
		Q: p.packed(b.self.q), K: p.packed(b.self.k), V: p.packed(b.self.v), O: p.packed(b.self.o), WI0: p.packed(b.ff.wi0), WO: p.packed(b.ff.wo),
	}
	if p.m.config.Gated {
		layer.WI1 = p.packed(b.ff.wi1)
	}
	return layer
}

// packed is a packed projection with its IA3 vectors.
func (p *pass) packed(l linear) torch.Projection {
	made := torch.Projection{W: l.packed}
	if p.sc.in != nil {
		made.In, made.Out = p.sc.in[l.id], p.sc.out[l.id]
	}
	return made
}

var activations = map[spec.Activation]torch.Activation{
	spec.ReLU: torch.ActivationReLU, spec.GELUNew: torch.ActivationGELUNew, spec.SiLU: torch.ActivationSiLU,
}

func (p *pass) sawPacked(layer int, x torch.Tensor, in inputs) {
	if p.watch != nil {
		p.watch(layer, p.s.Lay(x, in.lengths))
	}
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
	if p.texts.Defined() {
		return p.flatAttention(x, a)
	}
	q := p.heads(p.project(x, a.q, p.sc), in.rows, in.length)
	kv := p.keysValues(x, a, in.rows, in.length)
	return p.project(p.merge(p.attend(q, kv, bias), in.rows, in.length), a.o, p.sc)
}

// flatAttention is the attention of texts end to end, each to itself.
func (p *pass) flatAttention(x torch.Tensor, a attention) torch.Tensor {
	q, k, v := p.project(x, a.q, p.sc), p.project(x, a.k, p.sc), p.project(x, a.v, p.sc)
	return p.project(p.s.Attend(q, k, v, p.m.config.Heads, p.texts, p.texts, nil, p.distances, p.nextNoise()), a.o, p.sc)
}

// keyValue is what an attention looks up: both [B, H, T, K], or [1, tokens, H*K] of the texts
// of a flat pass, where it has any.
type keyValue struct {
	k, v  torch.Tensor
	texts torch.Texts
	of    []int64 // text that each sequence looks at, or nil where sequence i looks at text i
}

func (p *pass) keysValues(x torch.Tensor, a attention, b, t int64) keyValue {
	return keyValue{k: p.heads(p.project(x, a.k, p.sc), b, t), v: p.heads(p.project(x, a.v, p.sc), b, t)}
}
