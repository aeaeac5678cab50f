package mt5

import (
	"slices"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// In bfloat16 on a GPU the forward up to the decoder's first step is queued as a whole, and
// replayed where a batch of its shape came before: small batches there are bound by how fast
// operators are queued, and large ones by what these write to memory and read back.

// placed is what a GPU's forward knows of the table and of the position bias.
type placed struct {
	version int   // of the table
	bias    int64 // its size
}

// join lays matrices of one input one after the other, of which they become parts.
func (l *loader) join(parts ...*linear) torch.Tensor {
	owned := l.m.owned
	if !l.joins || l.err != nil || owned.Err() != nil {
		return torch.Tensor{}
	}
	var ws []torch.Tensor
	for _, p := range parts {
		ws = append(ws, p.w)
	}
	joined := owned.Cat(0, ws...)
	if !joined.Defined() { // the owner has the error
		return joined
	}
	at := int64(0)
	for _, p := range parts {
		size := owned.Shape(p.w)[0]
		owned.Drop(p.w)
		p.w = owned.Narrow(joined, 0, at, size)
		at += size
	}
	return joined
}

func (m *Model) gpuWeights() *torch.GPUWeights {
	c := m.config
	w := &torch.GPUWeights{
		Embeddings: m.shared, Head: m.head, EncoderNorm: m.encoder.finalNorm, DecoderNorm: m.decoder.finalNorm,
		Heads: c.Heads, Gated: c.Gated, Activation: activations[c.Activation], Start: c.StartID, Epsilon: c.Epsilon, HeadScale: m.headBy(),
	}
	for _, b := range m.encoder.blocks {
		w.Encoder = append(w.Encoder, torch.GPUEncoderLayer{Norm: b.selfNorm, QKV: b.self.qkv, O: b.self.o.w, FF: b.gpuFeedForward()})
	}
	for _, b := range m.decoder.blocks {
		w.Decoder = append(w.Decoder, torch.GPUDecoderLayer{
			SelfNorm: b.selfNorm, SelfQKV: b.self.qkv, SelfO: b.self.o.w,
			Norm: b.crossNorm, Q: b.cross.q.w, KV: b.cross.kv, O: b.cross.o.w, FF: b.gpuFeedForward(),
		})
	}
	return w
}

func (b block) gpuFeedForward() torch.GPUFeedForward {
	return torch.GPUFeedForward{Norm: b.ffNorm, WI: b.ff.wi, WO: b.ff.wo.w}
}

// scoreOnGPU has the rows of each plan go through the model by themselves: those that the first
// step answers in one call, the others by the layers that also train.
func (m *Model) scoreOnGPU(s *torch.Scope, b *spec.Batch, plans []*plan, out [][]float32) error {
	for _, p := range plans {
		var err error
		if rows := p.alone(b); p.length == 1 {
			err = m.scoreFirst(s, rows, p, out)
		} else {
			err = m.scoreDeep(s, rows, p, out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scoreFirst answers a plan about all rows of a batch, by the first step.
func (m *Model) scoreFirst(s *torch.Scope, b *spec.Batch, plan *plan, out [][]float32) error {
	slots, err := m.table.place(s, b.Adapters)
	if err != nil {
		return err
	}
	all, err := s.FirstLogits(m.gpu, m.gpuBatch(s, measure(b.IDs), slots), plan.next)
	if err != nil {
		return err
	}
	m.noteUnrecorded()
	for i, at := range plan.at { // the number of its sequence, which is its row's, as these have one token
		plan.give(i, all[int(at)*len(plan.next):], out)
	}
	return nil
}

// scoreDeep answers a plan about all rows of a batch that has tokens behind the first.
func (m *Model) scoreDeep(s *torch.Scope, b *spec.Batch, plan *plan, out [][]float32) error {
	slots, err := m.table.place(s, b.Adapters)
	if err != nil {
		return err
	}
	in := measure(b.IDs)
	t := m.task(s, in, plan)
	if uniform(slots) && slots[0] == 0 { // which nothing scales
		t.Vectors, t.Columns = s.Full(1, torch.Float32, in.rows, 4), (&layout{linears: m.table.linears}).places()
	} else {
		t.Vectors, t.Columns = s.IndexSelect(m.table.data, 0, s.Int64s(slots, in.rows)), m.table.places()
	}
	l := s.Lesson(m.gpu, t)
	for left := 1; left > 0; {
		left = s.There(l)
	}
	return m.readPlan(s, plan, s.LessonStates(l), out)
}

// noteUnrecorded tells the log where the GPU no longer records.
func (m *Model) noteUnrecorded() {
	if why := m.gpu.Unrecorded(); why != "" {
		m.slow(why)
	}
}

// gpuBatch is a batch as the GPU's forward has it, which is told first where its adapters are.
func (m *Model) gpuBatch(s *torch.Scope, in inputs, slots []int64) *torch.GPUBatch {
	bias := &m.encoder.bias
	distances := bias.byDistance(s, in.length)
	now := placed{m.table.version, bias.size}
	if now != m.placed && s.Err() == nil {
		s.Place(m.gpu, m.table.data, m.table.places(), distances)
		m.placed = now
	}
	return &torch.GPUBatch{IDs: slices.Concat(in.texts...), Lengths: in.lengths, Slots: slots}
}

// places are the columns of each projection's input and output, or -1.
func (l *layout) places() [][2]int64 {
	out := make([][2]int64, len(l.linears))
	for i := range out {
		out[i] = [2]int64{-1, -1}
	}
	for _, c := range l.columns {
		if c.input {
			out[c.linear][0] = c.at
		} else {
			out[c.linear][1] = c.at
		}
	}
	return out
}

// encodeOnGPU is encode as the GPU's forward has it, without padding.
func (p *pass) encodeOnGPU(in inputs) torch.Tensor {
	states := p.s.States(p.m.gpu, p.m.gpuBatch(p.s, in, p.slots))
	return p.sideBySide(states, in)
}

// sideBySide is x [tokens, D] as [B, T, D]; after the end of a text stands anything.
func (p *pass) sideBySide(x torch.Tensor, in inputs) torch.Tensor {
	s := p.s
	all := in.rows * in.length
	index := make([]int64, 0, all)
	at := int64(0)
	for _, n := range in.lengths {
		for j := range in.length {
			index = append(index, at+min(j, n-1))
		}
		at += n
	}
	if at < all {
		x = s.IndexSelect(x, 0, s.Int64s(index, all))
	}
	return s.Reshape(x, in.rows, in.length, -1)
}
