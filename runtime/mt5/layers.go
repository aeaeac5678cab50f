package mt5

import (
	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// pass is one run of the model over a batch.
type pass struct {
	m     *Model
	s     *torch.Scope
	sc    scales  // vectors of the rows that run now
	slots []int64 // of the batch's rows in the table
	noise
	flat
	// watch, if any, sees the residual stream after the embedding (layer 0), after
	// each layer and after the final norm.
	watch func(layer int, x torch.Tensor)
}

// flat is a pass over texts that lie end to end, [1, tokens, D], where it has any: without
// padding, each attending to itself by the stack's distances.
type flat struct {
	texts     torch.Texts
	distances torch.Tensor // [H, 2n-1]
}

// noise is a pass's dropout; the zero noise drops nothing.
type noise struct {
	rate float64
	keys torch.Tensor // [rows] int64
	salt int64        // of the last place that dropped
}

// drop is dropout at the next place of the model.
func (p *pass) drop(x torch.Tensor) torch.Tensor {
	if p.rate == 0 {
		return x
	}
	n := p.nextNoise()
	if p.texts.Defined() {
		return p.s.DropoutTexts(x, n, p.texts)
	}
	return p.s.Dropout(x, n.Keys, n.Salt, n.Rate)
}

// nextNoise is that of the next place that drops, or none.
func (n *noise) nextNoise() torch.Noise {
	if n.rate == 0 {
		return torch.Noise{}
	}
	n.salt++
	return torch.Noise{Keys: n.keys, Salt: n.salt, Rate: n.rate}
}

// embed reads the embeddings of ids.
func (p *pass) embed(ids torch.Tensor) torch.Tensor {
	return p.s.To(p.s.Embedding(p.m.shared, ids), p.m.dtype)
}

func (p *pass) saw(layer int, x torch.Tensor) {
	if p.watch != nil {
		p.watch(layer, x)
	}
}

func (p *pass) norm(x, w torch.Tensor) torch.Tensor {
	return p.s.RMSNorm(x, w, p.m.config.Epsilon)
}

// project is a projection with its IA3 vectors: W (x * in) * out.
func (p *pass) project(x torch.Tensor, l linear, sc scales) torch.Tensor {
	y, out := p.unscaled(x, l, sc)
	if out.Defined() {
		y = p.s.Scale(y, out, p.texts)
	}
	return y
}

// unscaled is a projection W (x * in), and the vector that is still to scale it, or
// none.
func (p *pass) unscaled(x torch.Tensor, l linear, sc scales) (y, out torch.Tensor) {
	if sc.in != nil && sc.in[l.id].Defined() {
		x = p.s.Scale(x, sc.in[l.id], p.texts)
	}
	if sc.out != nil {
		out = sc.out[l.id]
	}
	if l.packed.Defined() {
		return p.s.PackedLinear(x, l.packed), out
	}
	return p.s.Linear(x, l.w), out
}

// heads cuts [B, T, H*K] into [B, H, T, K].
func (p *pass) heads(x torch.Tensor, b, t int64) torch.Tensor {
	c := p.m.config
	return p.s.Transpose(p.s.Reshape(x, b, t, int64(c.Heads), int64(c.DKV)), 1, 2)
}

// merge is the inverse of heads.
func (p *pass) merge(x torch.Tensor, b, t int64) torch.Tensor {
	return p.s.Reshape(p.s.Transpose(x, 1, 2), b, t, int64(p.m.config.DInner()))
}

// feedForward is [B, T, D] to [B, T, D].
func (p *pass) feedForward(x torch.Tensor, ff feedForward) torch.Tensor {
	h := p.project(x, ff.wi0, p.sc)
	if p.m.config.Gated {
		up, out := p.unscaled(x, ff.wi1, p.sc)
		h = p.s.Gate(h, up, out, activations[p.m.config.Activation], p.texts)
	} else {
		h = p.activate(h)
	}
	return p.project(p.drop(h), ff.wo, p.sc)
}

// attend is [B, H, T, K] to [B, H, T, K], with weights dropped where there is noise.
func (p *pass) attend(q torch.Tensor, kv keyValue, bias torch.Tensor) torch.Tensor {
	s := p.s
	if p.rate == 0 {
		return s.Attention(q, kv.k, kv.v, bias)
	}
	scores := s.MatMul(q, s.Transpose(kv.k, 2, 3))
	if bias.Defined() {
		scores = s.Add(scores, bias)
	}
	return s.MatMul(p.drop(s.Softmax(scores)), kv.v)
}

func (p *pass) activate(x torch.Tensor) torch.Tensor {
	switch p.m.config.Activation {
	case spec.GELUNew:
		return p.s.GELUTanh(x)
	case spec.SiLU:
		return p.s.SiLU(x)
	default:
		return p.s.ReLU(x)
	}
}
