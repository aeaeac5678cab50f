package spec

import "fmt"

// Weight is one tensor of a checkpoint: its name there and its shape.
type Weight struct {
	Name  string
	Shape []int64
}

// Linear is one projection without bias: W of shape [Out, In], y = W x.
type Linear struct {
	Module string // path in the model, such as "encoder.block.0.layer.0.SelfAttention.k"
	In     int
	Out    int
}

// Weight gives the projection's tensor.
func (l Linear) Weight() Weight {
	return Weight{l.Module + ".weight", []int64{int64(l.Out), int64(l.In)}}
}

// stack is one of the two halves of the model.
type stack struct {
	name    string
	layers  int
	decoder bool
}

func (c *Config) stacks() [2]stack {
	return [2]stack{{"encoder", c.EncoderLayers, false}, {"decoder", c.DecoderLayers, true}}
}

// Linears lists every projection inside the two stacks in the order in which
// transformers' module tree has them. The head is not among them.
func (c *Config) Linears() []Linear {
	var out []Linear
	for _, st := range c.stacks() {
		for i := range st.layers {
			layer := 0
			path := func() string { return fmt.Sprintf("%s.block.%d.layer.%d", st.name, i, layer) }
			out = append(out, c.attention(path()+".SelfAttention")...)
			if st.decoder {
				layer++
				out = append(out, c.attention(path()+".EncDecAttention")...)
			}
			layer++
			out = append(out, c.feedForward(path()+".DenseReluDense")...)
		}
	}
	return out
}

func (c *Config) attention(path string) []Linear {
	d, inner := c.DModel, c.DInner()
	return []Linear{{path + ".q", d, inner}, {path + ".k", d, inner}, {path + ".v", d, inner}, {path + ".o", inner, d}}
}

func (c *Config) feedForward(path string) []Linear {
	if !c.Gated {
		return []Linear{{path + ".wi", c.DModel, c.DFF}, {path + ".wo", c.DFF, c.DModel}}
	}
	return []Linear{{path + ".wi_0", c.DModel, c.DFF}, {path + ".wi_1", c.DModel, c.DFF}, {path + ".wo", c.DFF, c.DModel}}
}

// Weights lists every tensor that a checkpoint must hold. A tied head is
// shared.weight itself and is not listed twice.
func (c *Config) Weights() []Weight {
	d := int64(c.DModel)
	out := []Weight{{"shared.weight", []int64{int64(c.VocabSize), d}}}
	for _, l := range c.Linears() {
		out = append(out, l.Weight())
	}
	for _, st := range c.stacks() {
		out = append(out, Weight{
			st.name + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight",
			[]int64{int64(c.Buckets), int64(c.Heads)},
		})
		norms := 2
		if st.decoder {
			norms = 3
		}
		for i := range st.layers {
			for j := range norms {
				out = append(out, Weight{fmt.Sprintf("%s.block.%d.layer.%d.layer_norm.weight", st.name, i, j), []int64{d}})
			}
		}
		out = append(out, Weight{st.name + ".final_layer_norm.weight", []int64{d}})
	}
	if !c.TiedHead {
		out = append(out, Weight{"lm_head.weight", []int64{int64(c.VocabSize), d}})
	}
	return out
}

// Parameters counts the elements of all weights, each once.
func (c *Config) Parameters() int64 {
	var n int64
	for _, w := range c.Weights() {
		k := int64(1)
		for _, s := range w.Shape {
			k *= s
		}
		n += k
	}
	return n
}
