package mt5

import "valence/runtime/torch"

// The first step of the decoder needs less than the others, and is all that labels with
// different first tokens ask for. Its only token attends to itself alone, so that the
// self-attention is W_o (W_v x). And with one query for each row, the keys and values of
// the encoder's states X need not be made: as q (W_k X)ᵀ is (q W_k) Xᵀ, and the weighted
// sum of W_v X is W_v times that of X, two products of one row take the place of two of
// all tokens. Both are exact but for rounding.

// read is what the sequences of a first step read: the encoder's states [B, T, D] of in,
// sequence i those of row rows[i], or of row i where rows is nil.
type read struct {
	states torch.Tensor
	in     inputs
	rows   []int64
	n      int64 // sequences
}

// first gives the decoder's states [N, 1, D] after the start token.
func (p *pass) first(ids torch.Tensor, r read) torch.Tensor {
	m, s := p.m, p.s
	x := p.embed(ids)
	p.saw(0, x)
	next := p.firstLayers(r)
	for i, b := range m.decoder.blocks {
		mark := s.Mark()
		x = next(x, b)
		s.Keep(mark, x)
		p.saw(i+1, x)
	}
	x = p.norm(x, m.decoder.finalNorm)
	p.saw(len(m.decoder.blocks)+1, x)
	return x
}

// firstLayers gives what a layer makes of x [N, 1, D].
func (p *pass) firstLayers(r read) func(x torch.Tensor, b block) torch.Tensor {
	s := p.s
	var attend func(torch.Tensor, attention) torch.Tensor
	switch decoder := &p.m.decoder; {
	case !decoder.byHead():
		attend = p.attendStates(r)
	case !decoder.inPanels():
		attend = p.absorb(r)
	default:
		sight := p.see(r)
		return func(x torch.Tensor, b block) torch.Tensor {
			s.First(s.Reshape(x, r.n, -1), sight, p.packedFirst(b))
			return x
		}
	}
	return func(x torch.Tensor, b block) torch.Tensor { return p.firstLayer(x, b, attend) }
}

// firstLayer is a layer of the first step by single operators, with the attention that is
// given.
func (p *pass) firstLayer(x torch.Tensor, b block, attend func(torch.Tensor, attention) torch.Tensor) torch.Tensor {
	s := p.s
	x = s.Add(x, p.project(p.project(p.norm(x, b.selfNorm), b.self.v, p.sc), b.self.o, p.sc))
	x = s.Add(x, p.project(attend(p.project(p.norm(x, b.crossNorm), b.cross.q, p.sc), b.cross), b.cross.o, p.sc))
	return s.Add(x, p.feedForward(p.norm(x, b.ffNorm), b.ff))
}

// see is what the sequences read, laid out for all layers.
func (p *pass) see(r read) torch.Sight {
	return p.s.See(r.states, r.in.lengths, r.rows, p.m.config.Heads)
}

// absorb is attendStates by matrices that are packed head by head.
func (p *pass) absorb(r read) func(q torch.Tensor, a attention) torch.Tensor {
	sight := p.see(r)
	return func(q torch.Tensor, a attention) torch.Tensor {
		return p.s.Absorbed(q, sight, p.byHead(a.k), p.byHead(a.v))
	}
}

func (p *pass) packedFirst(b block) *torch.FirstLayer {
	layer := &torch.FirstLayer{
		SelfNorm: b.selfNorm, CrossNorm: b.crossNorm, FFNorm: b.ffNorm,
		SelfV: p.packed(b.self.v), SelfO: p.packed(b.self.o),
		Q: p.packed(b.cross.q), K: p.byHead(b.cross.k), V: p.byHead(b.cross.v), O: p.packed(b.cross.o),
		WI0: p.packed(b.ff.wi0), WO: p.packed(b.ff.wo),
		Activation: activations[p.m.config.Activation], Epsilon: p.m.config.Epsilon,
	}
	if p.m.config.Gated {
		layer.WI1 = p.packed(b.ff.wi1)
	}
	return layer
}

// byHead is a projection of keys or values as the first step absorbs it.
func (p *pass) byHead(l linear) torch.Projection {
	made := p.packed(l)
	made.W = l.heads
	return made
}

// byHead tells whether the stack's keys and values of the encoder's states are packed head by
// head.
func (st *stack) byHead() bool { return len(st.blocks) > 0 && st.blocks[0].cross.k.heads.Defined() }

// attendStates gives the attention of queries [N, 1, H*K] to what the sequences read, where
// the matrices of keys and values are as they are.
func (p *pass) attendStates(r read) func(q torch.Tensor, a attention) torch.Tensor {
	s := p.s
	index := p.index(r.rows)
	states, mask := p.spread(r.states, index), p.spread(r.in.mask, index)
	if mask.Defined() {
		mask = s.Reshape(mask, r.n, 1, -1)
	}
	return func(q torch.Tensor, a attention) torch.Tensor {
		u := p.scaledIn(p.eachHead(p.scaledOut(q, a.k), r.n, a.k, false), a.k) // [N, H, D]
		scores := s.MatMul(u, s.Transpose(states, 1, 2))                       // [N, H, T]
		if mask.Defined() {
			scores = s.Add(scores, mask)
		}
		sum := p.scaledIn(s.MatMul(s.Softmax(scores), states), a.v)
		return p.scaledOut(p.eachHead(sum, r.n, a.v, true), a.v)
	}
}

// eachHead multiplies each head's part by the head's rows of a projection's weight: from
// x [N, 1, H*K] to [N, H, D], or across, from x [N, H, D] to [N, 1, H*K].
func (p *pass) eachHead(x torch.Tensor, n int64, l linear, across bool) torch.Tensor {
	s, c := p.s, p.m.config
	w := s.Reshape(l.w, int64(c.Heads), int64(c.DKV), int64(c.DModel))
	if across {
		w = s.Transpose(w, 1, 2)
	}
	x = s.Transpose(s.Reshape(x, n, int64(c.Heads), -1), 0, 1) // [H, N, K or D]
	y := s.Contiguous(s.Transpose(s.MatMul(x, w), 0, 1))
	if across {
		y = s.Reshape(y, n, 1, -1)
	}
	return y
}

// scaledOut is x [N, 1, H*K] times the vector that scales a projection's output, if any.
func (p *pass) scaledOut(x torch.Tensor, l linear) torch.Tensor {
	if p.sc.out == nil || !p.sc.out[l.id].Defined() {
		return x
	}
	return p.s.Scale(x, p.sc.out[l.id], nil)
}

// scaledIn is x [N, H, D] times the vector that scales a projection's input, if any.
func (p *pass) scaledIn(x torch.Tensor, l linear) torch.Tensor {
	if p.sc.in == nil || !p.sc.in[l.id].Defined() {
		return x
	}
	return p.s.Scale(x, p.sc.in[l.id], nil)
}
