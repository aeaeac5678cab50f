package mt5

import "valence/runtime/torch"

// memory is what the decoder attends to: the encoder's keys and values of every
// layer, each [N, H, T, K], for the sequences that it writes.
type memory struct {
	k, v []torch.Tensor
	mask torch.Tensor // [N, 1, 1, T] or none
}

// remember projects the encoder's states x [B, T, D] for each layer, with the
// rows' vectors. When several sequences read one row, rows tells which row each of
// the N sequences reads; nil means one each, in order.
func (p *pass) remember(x torch.Tensor, in inputs, rows []int64) memory {
	mem := memory{}
	index := torch.Tensor{}
	if rows != nil {
		index = p.s.Int64s(rows, int64(len(rows)))
	}
	spread := func(t torch.Tensor) torch.Tensor {
		if rows == nil || !t.Defined() {
			return t
		}
		return p.s.IndexSelect(t, 0, index)
	}
	for _, b := range p.m.decoder.blocks {
		mark := p.s.Mark()
		k := spread(p.heads(p.project(x, b.cross.k, p.sc), in.rows, in.length))
		v := spread(p.heads(p.project(x, b.cross.v, p.sc), in.rows, in.length))
		p.s.Keep(mark, k, v)
		mem.k, mem.v = append(mem.k, k), append(mem.v, v)
	}
	mem.mask = spread(in.mask)
	return mem
}

// past is the decoder's own keys and values of every layer so far, each
// [N, H, length, K].
type past struct {
	length int64
	k, v   []torch.Tensor
}

// decode reads ids [N, L] after what before holds, puts the longer keys and values
// into it, and gives the states [N, L, D] after the final norm.
func (p *pass) decode(ids torch.Tensor, n, l int64, mem memory, before *past) torch.Tensor {
	m, s := p.m, p.s
	x := s.Embedding(m.shared, ids)
	p.saw(0, x)
	bias := m.decoder.bias.rows(s, before.length, l)
	next := past{length: before.length + l}
	for i, b := range m.decoder.blocks {
		mark := s.Mark()
		h, k, v := p.causalAttention(p.norm(x, b.selfNorm), b.self, n, l, before, i, bias)
		x = s.Add(x, h)
		x = s.Add(x, p.crossAttention(p.norm(x, b.crossNorm), b.cross, n, l, mem, i))
		x = s.Add(x, p.feedForward(p.norm(x, b.ffNorm), b.ff))
		s.Keep(mark, x, k, v)
		next.k, next.v = append(next.k, k), append(next.v, v)
		p.saw(i+1, x)
	}
	*before = next
	x = p.norm(x, m.decoder.finalNorm)
	p.saw(len(m.decoder.blocks)+1, x)
	return x
}

// causalAttention gives the attention's result and the layer's keys and values
// with the new ones at their end.
func (p *pass) causalAttention(x torch.Tensor, a attention, n, l int64, before *past, layer int, bias torch.Tensor) (h, k, v torch.Tensor) {
	q := p.heads(p.project(x, a.q, p.sc), n, l)
	k = p.heads(p.project(x, a.k, p.sc), n, l)
	v = p.heads(p.project(x, a.v, p.sc), n, l)
	if before.length > 0 {
		k = p.s.Cat(2, before.k[layer], k)
		v = p.s.Cat(2, before.v[layer], v)
	}
	return p.project(p.merge(p.s.Attention(q, k, v, bias), n, l), a.o, p.sc), k, v
}

func (p *pass) crossAttention(x torch.Tensor, a attention, n, l int64, mem memory, layer int) torch.Tensor {
	q := p.heads(p.project(x, a.q, p.sc), n, l)
	return p.project(p.merge(p.s.Attention(q, mem.k[layer], mem.v[layer], mem.mask), n, l), a.o, p.sc)
}

// logits reads the head for states x [n, D]: [n, rows of head] in float32. A tied
// head sees states scaled by D^-0.5, as transformers 4 has it.
func (p *pass) logits(x, head torch.Tensor) torch.Tensor {
	if p.m.headScale.Defined() {
		x = p.s.Mul(x, p.m.headScale)
	}
	return p.s.To(p.s.Linear(x, head), torch.Float32)
}
