package mt5

import "valence/runtime/torch"

// memory is what the decoder attends to: the encoder's keys and values of every
// layer, each [N, H, T, K], for the sequences that it writes.
type memory struct {
	layers []keyValue
	mask   torch.Tensor // [N, 1, 1, T] or none
}

// remember projects the encoder's states x [B, T, D] for each layer, with the
// rows' vectors. When several sequences read one row, rows tells which row each of
// the N sequences reads; nil means one each, in order.
func (p *pass) remember(x torch.Tensor, in inputs, rows []int64) memory {
	mem := memory{}
	index := p.index(rows)
	for _, b := range p.m.decoder.blocks {
		mark := p.s.Mark()
		kv := p.recall(x, b.cross, in, index)
		p.s.Keep(mark, kv.k, kv.v)
		mem.layers = append(mem.layers, kv)
	}
	mem.mask = p.spread(in.mask, index)
	return mem
}

// index is rows on the device, or none where there are none.
func (p *pass) index(rows []int64) torch.Tensor {
	if rows == nil {
		return torch.Tensor{}
	}
	return p.s.Int64s(rows, int64(len(rows)))
}

// recall projects the encoder's states for one layer.
func (p *pass) recall(x torch.Tensor, a attention, in inputs, index torch.Tensor) keyValue {
	kv := p.keysValues(x, a, in.rows, in.length)
	return keyValue{k: p.spread(kv.k, index), v: p.spread(kv.v, index)}
}

// recallFlat is recall of texts end to end; of is the text of each sequence.
func (p *pass) recallFlat(x torch.Tensor, a attention, of []int64) keyValue {
	return keyValue{k: p.project(x, a.k, p.sc), v: p.project(x, a.v, p.sc), texts: p.texts, of: of}
}

// spread gives each sequence what its row has.
func (p *pass) spread(t, index torch.Tensor) torch.Tensor {
	if !index.Defined() || !t.Defined() {
		return t
	}
	return p.s.IndexSelect(t, 0, index)
}

// past is the decoder's own keys and values of every layer so far, each
// [N, H, length, K].
type past struct {
	length int64
	layers []keyValue
}

// layer is what layer i has seen, the zero keyValue at the start.
func (p *past) layer(i int) keyValue {
	if p.length == 0 {
		return keyValue{}
	}
	return p.layers[i]
}

// handles lists the tensors of a past.
func (p *past) handles() []torch.Tensor {
	var ts []torch.Tensor
	for _, kv := range p.layers {
		ts = append(ts, kv.k, kv.v)
	}
	return ts
}

// decode reads ids [N, L] after what before holds, puts the longer keys and values
// into it, and gives the states [N, L, D] after the final norm.
func (p *pass) decode(ids torch.Tensor, n, l int64, mem memory, before *past) torch.Tensor {
	m, s := p.m, p.s
	x := p.embed(ids)
	p.saw(0, x)
	bias := m.decoder.bias.rows(s, before.length, l)
	next := past{length: before.length + l}
	for i, b := range m.decoder.blocks {
		mark := s.Mark()
		var seen keyValue
		x, seen = p.decoderBlock(x, b, n, l, before.layer(i), bias, mem.layers[i], mem.mask)
		s.Keep(mark, x, seen.k, seen.v)
		next.layers = append(next.layers, seen)
		p.saw(i+1, x)
	}
	*before = next
	x = p.norm(x, m.decoder.finalNorm)
	p.saw(len(m.decoder.blocks)+1, x)
	return x
}

// decoderBlock is x [N, L, D] to the next layer's, with the layer's own keys and
// values, longer by the new ones.
func (p *pass) decoderBlock(x torch.Tensor, b block, n, l int64, before keyValue, bias torch.Tensor, mem keyValue, mask torch.Tensor) (next torch.Tensor, seen keyValue) {
	s := p.s
	h, seen := p.causalAttention(p.norm(x, b.selfNorm), b.self, n, l, before, bias)
	x = s.Add(x, p.drop(h))
	x = s.Add(x, p.drop(p.crossAttention(p.norm(x, b.crossNorm), b.cross, n, l, mem, mask)))
	return s.Add(x, p.drop(p.feedForward(p.norm(x, b.ffNorm), b.ff))), seen
}

func (p *pass) causalAttention(x torch.Tensor, a attention, n, l int64, before keyValue, bias torch.Tensor) (h torch.Tensor, seen keyValue) {
	if p.texts.Defined() {
		return p.flatAttention(x, a), keyValue{}
	}
	q := p.heads(p.project(x, a.q, p.sc), n, l)
	seen = p.keysValues(x, a, n, l)
	if before.k.Defined() {
		seen = keyValue{k: p.s.Cat(2, before.k, seen.k), v: p.s.Cat(2, before.v, seen.v)}
	}
	return p.project(p.merge(p.attend(q, seen, bias), n, l), a.o, p.sc), seen
}

func (p *pass) crossAttention(x torch.Tensor, a attention, n, l int64, mem keyValue, mask torch.Tensor) torch.Tensor {
	if mem.texts.Defined() {
		q := p.project(x, a.q, p.sc)
		return p.project(p.s.Attend(q, mem.k, mem.v, p.m.config.Heads, p.texts, mem.texts, mem.of, torch.Tensor{}, p.nextNoise()), a.o, p.sc)
	}
	q := p.heads(p.project(x, a.q, p.sc), n, l)
	return p.project(p.merge(p.attend(q, mem, mask), n, l), a.o, p.sc)
}

// logits reads the head for states x [n, D]: [n, rows of head] in float32. A tied
// head sees states scaled by D^-0.5, as transformers 4 has it.
func (p *pass) logits(x, head torch.Tensor) torch.Tensor {
	return p.s.To(p.s.Linear(p.scaled(x), p.s.To(head, p.m.dtype)), torch.Float32)
}

// scaled is x as the head sees it.
func (p *pass) scaled(x torch.Tensor) torch.Tensor {
	if p.m.headScale.Defined() {
		return p.s.Mul(x, p.m.headScale)
	}
	return x
}

// vocabulary is logits of all the head's rows.
func (p *pass) vocabulary(x torch.Tensor) torch.Tensor {
	m := p.m
	if m.packed == 0 || m.packed == torch.PackedFloat32 && p.s.DType(m.head) == torch.Float32 {
		return p.logits(x, m.head)
	}
	if !m.whole.Defined() {
		format := m.packed
		switch format {
		case torch.PackedInt8: // whose errors choose another token too often
			format = torch.PackedBFloat16
		case torch.PackedWideInt8: // of projections alone it is known that they lie on a grid
			format = torch.PackedFloat16
		}
		if m.whole = m.owned.Pack(m.head, format); m.owned.Err() != nil {
			return p.s.Fail("head: %w", m.owned.Err())
		}
		m.bytes.Add(m.whole.Bytes())
	}
	return p.s.PackedLinear(p.scaled(x), m.whole)
}
