package spec

import "encoding/json"

// MarshalJSON writes a config.json that ParseConfig reads back as the same Config, and
// transformers as the same architecture.
func (c *Config) MarshalJSON() ([]byte, error) {
	proj := c.feedForwardProj()
	raw := rawConfig{
		ModelType: c.ModelType,
		VocabSize: &c.VocabSize, DModel: &c.DModel, DKV: &c.DKV, DFF: &c.DFF,
		NumLayers: &c.EncoderLayers, NumDecoder: &c.DecoderLayers, NumHeads: &c.Heads,
		Buckets: &c.Buckets, MaxDistance: &c.MaxDistance, Epsilon: &c.Epsilon, Dropout: &c.Dropout,
		FeedForwardProj: &proj, Tied: &c.TiedHead,
		PadID: &c.PadID, EOSID: &c.EOSID, StartID: &c.StartID,
	}
	if c.WideInt8 {
		bits := wide
		raw.Int8Activations = &bits
	}
	return json.Marshal(raw)
}

// feedForwardProj is what setActivation reads. transformers takes "gated-gelu" for
// gelu_new, and no other spelling of it.
func (c *Config) feedForwardProj() string {
	switch {
	case !c.Gated:
		return string(c.Activation)
	case c.Activation == GELUNew:
		return "gated-gelu"
	default:
		return "gated-" + string(c.Activation)
	}
}
