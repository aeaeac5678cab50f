package mt5

import (
	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// pass is one run of the model over a batch.
type pass struct {
	m  *Model
	s  *torch.Scope
	sc scales // vectors of the rows that run now
	// watch, if any, sees the residual stream after the embedding (layer 0), after
	// each layer and after the final norm.
	watch func(layer int, x torch.Tensor)
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
	if sc.in != nil && sc.in[l.id].Defined() {
		x = p.s.Mul(x, sc.in[l.id])
	}
	y := p.s.Linear(x, l.w)
	if sc.out != nil && sc.out[l.id].Defined() {
		y = p.s.Mul(y, sc.out[l.id])
	}
	return y
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
	h := p.activate(p.project(x, ff.wi0, p.sc))
	if p.m.config.Gated {
		h = p.s.Mul(h, p.project(x, ff.wi1, p.sc))
	}
	return p.project(h, ff.wo, p.sc)
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
