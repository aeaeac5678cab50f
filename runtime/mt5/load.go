package mt5

import (
	"context"
	"fmt"
	"math"

	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
	"valence/runtime/torch"
)

// loader copies weights to the device and keeps the first error.
type loader struct {
	ctx      context.Context
	m        *Model
	weights  Weights
	progress func(done, total int64)
	done     int64 // parameters
	all      int64
	joins    bool // matrices of one input are laid one after the other, as a GPU's forward has them
	held     bool // the weights stay where they are until the model's release is called
	linears  int  // projections seen so far: their number is their place in spec.Config.Linears
	err      error
}

func (l *loader) load(o Options) error {
	m, c := l.m, l.m.config
	l.hold()
	l.joins = m.dtype == torch.BFloat16 && m.packed == 0 && m.owned.Fuses(int64(c.DModel), int64(c.DKV), int64(c.DFF))
	m.shared = l.vocabulary("shared.weight")
	m.head = m.shared
	if c.TiedHead {
		m.headScale = m.owned.Full(m.headBy(), m.dtype, 1)
	} else {
		m.head = l.vocabulary("lm_head.weight")
	}
	m.encoder = l.stack("encoder", c.EncoderLayers, false)
	m.decoder = l.stack("decoder", c.DecoderLayers, true)
	if l.joins && l.err == nil {
		m.gpu = m.owned.NewGPU(m.gpuWeights())
	}
	if err := m.owned.Err(); err != nil && l.err == nil {
		l.err = err
	}
	if l.err != nil {
		return l.err
	}
	table, err := newTable(m.owned, c, o.TableBytes)
	m.table = table
	return err
}

// headBy is what a state is multiplied by before the head.
func (m *Model) headBy() float64 {
	if m.config.TiedHead {
		return 1 / math.Sqrt(float64(m.config.DModel))
	}
	return 1
}

func (l *loader) stack(name string, layers int, decoder bool) stack {
	c := l.m.config
	st := stack{blocks: make([]block, layers)}
	weights := l.tensor(name+".block.0.layer.0.SelfAttention.relative_attention_bias.weight", l.m.dtype, int64(c.Buckets), int64(c.Heads))
	st.bias = positionBias{config: c, causal: decoder, weights: weights, owned: l.m.owned, dtype: l.m.dtype}
	for i := range st.blocks {
		st.blocks[i] = l.block(fmt.Sprintf("%s.block.%d.layer", name, i), decoder)
	}
	st.finalNorm = l.norm(name + ".final_layer_norm")
	return st
}

func (l *loader) block(path string, decoder bool) (b block) {
	b.selfNorm = l.norm(path + ".0.layer_norm")
	b.self = l.attention(path+".0.SelfAttention", nil, nil)
	ff := path + ".1"
	if decoder {
		b.crossNorm = l.norm(path + ".1.layer_norm")
		b.cross = l.attention(path+".1.EncDecAttention", &keys, &values)
		ff = path + ".2"
	}
	b.ffNorm = l.norm(ff + ".layer_norm")
	b.ff = l.feedForward(ff + ".DenseReluDense")
	return b
}

// byHead is how a matrix is packed head by head, beside the whole: the first step of the
// decoder absorbs those of keys and values.
type byHead struct {
	size func(torch.Heads) (out, in int64)
	pack func(*torch.Scope, []byte, torch.DType, torch.Heads, torch.Format) torch.Packed
}

var (
	keys   = byHead{torch.Heads.KeysSize, (*torch.Scope).PackKeys}
	values = byHead{torch.Heads.ValuesSize, (*torch.Scope).PackValues}
)

func (l *loader) attention(path string, k, v *byHead) attention {
	d, inner := l.m.config.DModel, l.m.config.DInner()
	a := attention{
		q: l.linear(path+".q", d, inner, nil), k: l.linear(path+".k", d, inner, k),
		v: l.linear(path+".v", d, inner, v), o: l.linear(path+".o", inner, d, nil),
	}
	if k == nil {
		a.qkv = l.join(&a.q, &a.k, &a.v)
	} else {
		a.kv = l.join(&a.k, &a.v)
	}
	return a
}

func (l *loader) feedForward(path string) (ff feedForward) {
	d, inner := l.m.config.DModel, l.m.config.DFF
	if l.m.config.Gated {
		ff.wi0 = l.linear(path+".wi_0", d, inner, nil)
		ff.wi1 = l.linear(path+".wi_1", d, inner, nil)
		ff.wi = l.join(&ff.wi0, &ff.wi1)
	} else {
		ff.wi0 = l.linear(path+".wi", d, inner, nil)
		ff.wi = ff.wi0.w
	}
	ff.wo = l.linear(path+".wo", inner, d, nil)
	return ff
}

// hold keeps the files of the weights where the embeddings and the head can stay in them:
// of these matrices only the rows of some tokens are read.
func (l *loader) hold() {
	m := l.m
	if h, ok := l.weights.(Holder); ok && m.packed != 0 {
		m.release, l.held = h.Hold()
	}
}

// vocabulary is a matrix with a row for each token. Beside packed weights it keeps the type
// that it has in the checkpoint, and its place where that is held: a base answers the same
// from a file and from memory.
func (l *loader) vocabulary(name string) torch.Tensor {
	m, shape := l.m, []int64{int64(l.m.config.VocabSize), int64(l.m.config.DModel)}
	if m.packed == 0 {
		return l.tensor(name, m.stored, shape...)
	}
	w, from, ok := l.read(name, shape...)
	if !ok {
		return torch.Tensor{}
	}
	t := l.here(w, from)
	if !l.held {
		m.bytes.Add(int64(len(w.Data)))
	}
	l.took(name, w, from)
	return t
}

// here is a tensor of the checkpoint where it is held, or else a copy of it.
func (l *loader) here(w safetensors.Tensor, from torch.DType) torch.Tensor {
	if l.held {
		return l.m.owned.Alias(w.Data, w.Shape, from)
	}
	return l.m.owned.Upload(w.Data, w.Shape, from, from)
}

// linear reads a projection, and packs it where the model does: head by head as well where
// heads says how.
func (l *loader) linear(module string, in, out int, heads *byHead) linear {
	id, name := l.linears, module+".weight"
	l.linears++
	m := l.m
	if m.packed == 0 {
		return linear{w: l.tensor(name, m.stored, int64(out), int64(in)), id: id}
	}
	w, from, ok := l.read(name, int64(out), int64(in))
	if !ok {
		return linear{}
	}
	p := linear{id: id}
	p.packed = l.packed(name, int64(out), int64(in), m.packed, func() torch.Packed {
		return m.owned.PackData(w.Data, from, int64(out), int64(in), m.packed)
	})
	if heads != nil {
		l.absorb(&p, name, w, from, heads)
	}
	l.took(name, w, from)
	return p
}

// packed is a weight as it was packed before, or packs it.
func (l *loader) packed(name string, out, in int64, f torch.Format, pack func() torch.Packed) torch.Packed {
	m := l.m
	var data []byte
	kept := false
	if m.packs != nil {
		data, kept = m.packs.Packed(name)
	}
	var p torch.Packed
	if kept {
		p = m.owned.PackedAt(data, out, in, f)
	} else {
		p = pack()
	}
	if m.owned.Err() == nil {
		m.bytes.Add(p.Bytes())
	}
	return p
}

// headsName is the name of what is packed head by head, beside the whole.
func headsName(name string) string { return name + "/heads" }

// absorb packs a matrix head by head; where the processor has no kernel for it, it stays as it
// is, in float32.
func (l *loader) absorb(p *linear, name string, w safetensors.Tensor, from torch.DType, by *byHead) {
	m, c := l.m, l.m.config
	f, h := headsFormats[m.stored], torch.Heads{Count: int64(c.Heads), Width: int64(c.DKV), D: int64(c.DModel)}
	if torch.CanPack(f) {
		out, in := by.size(h)
		p.heads = l.packed(headsName(name), out, in, f, func() torch.Packed { return by.pack(m.owned, w.Data, from, h, f) })
		return
	}
	rounded := m.owned.Upload(w.Data, w.Shape, from, m.stored) // to bfloat16: the other formats need those kernels, too
	p.w = m.owned.To(rounded, m.dtype)
	m.owned.Drop(rounded)
	m.bytes.Add(int64(len(w.Data) / from.Size() * m.dtype.Size()))
}

// headsFormats are those of matrices of a stored type whose rows are not rounded.
var headsFormats = map[torch.DType]torch.Format{
	torch.Float32: torch.PackedFloat32, torch.Float16: torch.PackedFloat16, torch.BFloat16: torch.PackedWideBFloat16,
}

func (l *loader) norm(module string) torch.Tensor {
	return l.tensor(module+".weight", l.m.dtype, int64(l.m.config.DModel))
}

// fileTypes are the element types that weights may have in a file.
var fileTypes = map[safetensors.DType]torch.DType{
	safetensors.F16: torch.Float16, safetensors.BF16: torch.BFloat16,
	safetensors.F32: torch.Float32, safetensors.F64: torch.Float64,
}

// read gives a tensor of the checkpoint and the type of its elements.
func (l *loader) read(name string, shape ...int64) (w safetensors.Tensor, from torch.DType, ok bool) {
	if l.err == nil {
		l.err = context.Cause(l.ctx)
	}
	if l.err != nil {
		return w, 0, false
	}
	if w, l.err = l.weights.Weight(spec.Weight{Name: name, Shape: shape}); l.err != nil {
		return w, 0, false
	}
	if from, ok = fileTypes[w.DType]; !ok {
		l.err = fmt.Errorf("%s: elements of type %s cannot be weights", name, w.DType)
	}
	return w, from, ok
}

// took notes what has been done with a tensor, and that it failed if it did.
func (l *loader) took(name string, w safetensors.Tensor, from torch.DType) {
	if err := l.m.owned.Err(); err != nil && l.err == nil {
		l.err = fmt.Errorf("%s: %w", name, err)
	}
	l.done += int64(len(w.Data) / from.Size())
	if l.progress != nil {
		size := int64(l.m.stored.Size())
		l.progress(l.done*size, l.all*size)
	}
}

func (l *loader) tensor(name string, to torch.DType, shape ...int64) torch.Tensor {
	w, from, ok := l.read(name, shape...)
	if !ok {
		return torch.Tensor{}
	}
	t := l.m.owned.Upload(w.Data, w.Shape, from, to)
	l.took(name, w, from)
	l.m.bytes.Add(int64(len(w.Data) / from.Size() * to.Size()))
	return t
}
