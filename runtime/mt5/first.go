package mt5

import "valence/runtime/torch"

// The first step of the decoder needs less than the others, and is all that labels with
// different first tokens ask for. Its only token attends to itself alone, so that the
// self-attention is W_o (W_v x). And with one query for each row, the keys and values of
// the encoder's states X need not be made: as q (W_k X)ᵀ is (q W_k) Xᵀ, and the weighted
// sum of W_v X is W_v times that of X, two products of one row take the place of two of
// all tokens. Both are exact but for rounding.

// first gives the decoder's states [N, 1, D] after the start token. states [N, T, D] are
// those that each sequence reads.
func (p *pass) first(ids torch.Tensor, n int64, states, mask torch.Tensor) torch.Tensor {
	m, s := p.m, p.s
	x := p.embed(ids)
	p.saw(0, x)
	if mask.Defined() {
		mask = s.Reshape(mask, n, 1, -1)
	}
	for i, b := range m.decoder.blocks {
		mark := s.Mark()
		h := p.project(p.project(p.norm(x, b.selfNorm), b.self.v, p.sc), b.self.o, p.sc)
		x = s.Add(x, h)
		x = s.Add(x, p.absorbed(p.norm(x, b.crossNorm), b.cross, n, states, mask))
		x = s.Add(x, p.feedForward(p.norm(x, b.ffNorm), b.ff))
		s.Keep(mark, x)
		p.saw(i+1, x)
	}
	x = p.norm(x, m.decoder.finalNorm)
	p.saw(len(m.decoder.blocks)+1, x)
	return x
}

// absorbed is the attention of one query a sequence, x [N, 1, D], to states [N, T, D],
// without their keys and values. mask is [N, 1, T] or none.
func (p *pass) absorbed(x torch.Tensor, a attention, n int64, states, mask torch.Tensor) torch.Tensor {
	s := p.s
	q := p.scaledOut(p.project(x, a.q, p.sc), a.k)
	u := p.scaledIn(p.eachHead(q, n, a.k, false), a.k) // [N, H, D]
	scores := s.MatMul(u, s.Transpose(states, 1, 2))   // [N, H, T]
	if mask.Defined() {
		scores = s.Add(scores, mask)
	}
	sum := p.scaledIn(s.MatMul(s.Softmax(scores), states), a.v)
	return p.project(p.scaledOut(p.eachHead(sum, n, a.v, true), a.v), a.o, p.sc)
}

// eachHead multiplies each head's part by the head's rows of a projection's weight: from
// x [N, 1, H*K] to [N, H, D], or across, from x [N, H, D] to [N, 1, H*K].
func (p *pass) eachHead(x torch.Tensor, n int64, l linear, across bool) torch.Tensor {
	s, c := p.s, p.m.config
	heads, width := int64(c.Heads), int64(c.DKV)
	w := s.Reshape(l.w, heads, width, int64(c.DModel))
	if across {
		w = s.Transpose(w, 1, 2)
	}
	x = s.Transpose(s.Reshape(s.To(x, p.m.stored), n, heads, -1), 0, 1) // [H, N, K or D]
	y := s.Contiguous(s.Transpose(s.MatMul(x, w), 0, 1))
	if across {
		y = s.Reshape(y, n, 1, -1)
	}
	return s.To(y, p.m.dtype)
}

// scaledOut is x [N, 1, H*K] times the vector that scales a projection's output, if any.
func (p *pass) scaledOut(x torch.Tensor, l linear) torch.Tensor {
	if p.sc.out == nil || !p.sc.out[l.id].Defined() {
		return x
	}
	return p.s.Scale(x, p.sc.out[l.id])
}

// scaledIn is x [N, H, D] times the vector that scales a projection's input, if any.
func (p *pass) scaledIn(x torch.Tensor, l linear) torch.Tensor {
	if p.sc.in == nil || !p.sc.in[l.id].Defined() {
		return x
	}
	return p.s.Scale(x, p.sc.in[l.id])
}

// absorbs tells whether first can be used: the CPU's product of float16 matrices is slow.
func (p *pass) absorbs() bool { return p.m.stored != torch.Float16 }
