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
	linears  int   // projections seen so far: their number is their place in spec.Config.Linears
	err      error
}

func (l *loader) load(o Options) error {
	m, c := l.m, l.m.config
	vocab := []int64{int64(c.VocabSize), int64(c.DModel)}
	m.shared = l.tensor("shared.weight", l.m.stored, vocab...)
	m.head = m.shared
	if c.TiedHead {
		m.headScale = m.owned.Full(1/math.Sqrt(float64(c.DModel)), m.dtype, 1)
	} else {
		m.head = l.tensor("lm_head.weight", l.m.stored, vocab...)
	}
	m.encoder = l.stack("encoder", c.EncoderLayers, false)
	m.decoder = l.stack("decoder", c.DecoderLayers, true)
	if l.err != nil {
		return l.err
	}
	table, err := newTable(m.owned, c, o.TableBytes)
	m.table = table
	return err
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
	b.self = l.attention(path+".0.SelfAttention", false)
	ff := path + ".1"
	if decoder {
		b.crossNorm = l.norm(path + ".1.layer_norm")
		b.cross = l.attention(path+".1.EncDecAttention", keepKeysValues)
		ff = path + ".2"
	}
	b.ffNorm = l.norm(ff + ".layer_norm")
	b.ff = l.feedForward(ff + ".DenseReluDense")
	return b
}

// keepKeysValues keeps the matrices of keys and values beside the packed ones: the first
// step of the decoder absorbs them.
const keepKeysValues = true

func (l *loader) attention(path string, keep bool) attention {
	d, inner := l.m.config.DModel, l.m.config.DInner()
	return attention{
		q: l.linear(path+".q", d, inner, false), k: l.linear(path+".k", d, inner, keep),
		v: l.linear(path+".v", d, inner, keep), o: l.linear(path+".o", inner, d, false),
	}
}

func (l *loader) feedForward(path string) (ff feedForward) {
	d, inner := l.m.config.DModel, l.m.config.DFF
	if l.m.config.Gated {
		ff.wi0 = l.linear(path+".wi_0", d, inner, false)
		ff.wi1 = l.linear(path+".wi_1", d, inner, false)
	} else {
		ff.wi0 = l.linear(path+".wi", d, inner, false)
	}
	ff.wo = l.linear(path+".wo", inner, d, false)
	return ff
}

// linear reads a projection, and packs it where the model does. The matrix itself then
// stays only if keep says so.
func (l *loader) linear(module string, in, out int, keep bool) linear {
	w := linear{w: l.tensor(module+".weight", l.m.stored, int64(out), int64(in)), id: l.linears}
	l.linears++
	if l.m.packed == 0 || l.err != nil {
		return w
	}
	m := l.m
	w.packed = m.owned.Pack(w.w, m.packed)
	if err := m.owned.Err(); err != nil {
		l.err = fmt.Errorf("%s: %w", module, err)
		return w
	}
	m.bytes.Add(w.packed.Bytes())
	whole, n := w.w, int64(out)*int64(in)
	w.w = torch.Tensor{}
	if keep {
		w.w = l.kept(whole, n)
	}
	m.owned.Drop(whole)
	m.bytes.Add(-n * int64(m.stored.Size()))
	return w
}

// kept is a matrix of n numbers as the decoder's first step reads it, which it cannot in
// float16.
func (l *loader) kept(w torch.Tensor, n int64) torch.Tensor {
	m, to := l.m, l.m.stored
	if to == torch.Float16 {
		to = torch.Float32
	}
	m.bytes.Add(n * int64(to.Size()))
	wide := m.owned.To(w, to)
	out := m.owned.LargePages(wide)
	if wide != w {
		m.owned.Drop(wide)
	}
	return out
}

func (l *loader) norm(module string) torch.Tensor {
	return l.tensor(module+".weight", l.m.dtype, int64(l.m.config.DModel))
}

// fileTypes are the element types that weights may have in a file.
var fileTypes = map[safetensors.DType]torch.DType{
	safetensors.F16: torch.Float16, safetensors.BF16: torch.BFloat16,
	safetensors.F32: torch.Float32, safetensors.F64: torch.Float64,
}

func (l *loader) tensor(name string, to torch.DType, shape ...int64) torch.Tensor {
	if l.err == nil {
		l.err = context.Cause(l.ctx)
	}
	if l.err != nil {
		return torch.Tensor{}
	}
	w, err := l.weights.Weight(spec.Weight{Name: name, Shape: shape})
	if err != nil {
		l.err = err
		return torch.Tensor{}
	}
	from, ok := fileTypes[w.DType]
	if !ok {
		l.err = fmt.Errorf("%s: elements of type %s cannot be weights", name, w.DType)
		return torch.Tensor{}
	}
	t := l.m.owned.Upload(w.Data, w.Shape, from, to)
	if err := l.m.owned.Err(); err != nil {
		l.err = fmt.Errorf("%s: %w", name, err)
	}
	n := int64(len(w.Data) / from.Size())
	l.m.bytes.Add(n * int64(to.Size()))
	l.done += n
	if l.progress != nil {
		size := int64(l.m.stored.Size())
		l.progress(l.done*size, l.m.config.Parameters()*size)
	}
	return t
}
