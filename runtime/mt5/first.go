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
	attend := p.absorb(r)
	for i, b := range m.decoder.blocks {
		mark := s.Mark()
		h := p.project(p.project(p.norm(x, b.selfNorm), b.self.v, p.sc), b.self.o, p.sc)
		x = s.Add(x, h)
		x = s.Add(x, p.absorbed(p.norm(x, b.crossNorm), b.cross, attend))
		x = s.Add(x, p.feedForward(p.norm(x, b.ffNorm), b.ff))
		s.Keep(mark, x)
		p.saw(i+1, x)
	}
	x = p.norm(x, m.decoder.finalNorm)
	p.saw(len(m.decoder.blocks)+1, x)
	return x
}

// absorb gives the attention of queries [N, 1, H*K] to what the sequences read, without
// the projections of queries and results.
func (p *pass) absorb(r read) func(q torch.Tensor, a attention) torch.Tensor {
	s := p.s
	if !s.Device().IsCUDA() && p.m.dtype == torch.Float32 {
		return func(q torch.Tensor, a attention) torch.Tensor {
			var byK, byV torch.Tensor
			if p.sc.in != nil {
				byK, byV = p.sc.in[a.k.id], p.sc.in[a.v.id]
			}
			return s.Absorbed(q, r.states, r.in.lengths, r.rows, a.k.w, a.v.w, byK, byV, p.m.config.Heads)
		}
	}
	index := p.index(r.rows)
	states, mask := p.spread(r.states, index), p.spread(r.in.mask, index)
	if mask.Defined() {
		mask = s.Reshape(mask, r.n, 1, -1)
	}
	return func(q torch.Tensor, a attention) torch.Tensor {
		u := p.scaledIn(p.eachHead(q, r.n, a.k, false), a.k) // [N, H, D]
		scores := s.MatMul(u, s.Transpose(states, 1, 2))     // [N, H, T]
		if mask.Defined() {
			scores = s.Add(scores, mask)
		}
		sum := p.scaledIn(s.MatMul(s.Softmax(scores), states), a.v)
		return p.eachHead(sum, r.n, a.v, true)
	}
}

// absorbed is the cross-attention of one query a sequence, x [N, 1, D].
func (p *pass) absorbed(x torch.Tensor, a attention, attend func(torch.Tensor, attention) torch.Tensor) torch.Tensor {
	q := p.scaledOut(p.project(x, a.q, p.sc), a.k)
	return p.project(p.scaledOut(attend(q, a), a.v), a.o, p.sc)
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
