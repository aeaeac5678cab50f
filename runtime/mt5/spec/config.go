// Package spec describes a T5 or mT5 model without holding a tensor of it: its
// configuration, the names and shapes of its weights, the places where IA3
// vectors act, and the vectors themselves. It is pure Go, so that everything
// that only reasons about a model builds without libtorch.
package spec

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrConfig is wrapped by every error about a config.json that this project
// cannot run.
var ErrConfig = errors.New("spec: model configuration")

// Activation names the non-linearity of the feed-forward layers.
type Activation string

// The activations of published T5 and mT5 checkpoints.
const (
	ReLU    Activation = "relu"
	GELUNew Activation = "gelu_new" // tanh approximation, as transformers' NewGELUActivation
	SiLU    Activation = "silu"
)

// Config is the architecture of one checkpoint, read from transformers'
// config.json. Sizes are in elements.
type Config struct {
	ModelType     string // "t5" or "mt5"
	VocabSize     int
	DModel        int // width of the residual stream
	DKV           int // width of one attention head
	DFF           int // width of the feed-forward layer
	EncoderLayers int
	DecoderLayers int
	Heads         int
	Buckets       int // relative position buckets
	MaxDistance   int // distance from which all positions share the last bucket
	Epsilon       float64
	Dropout       float64 // rate at which the base was trained
	Gated         bool    // wi_0 and wi_1 instead of wi
	Activation    Activation
	TiedHead      bool // logits read from shared.weight, hidden states scaled by DModel^-0.5
	PadID         int32
	EOSID         int32
	StartID       int32 // first decoder token
	// WideInt8 asks for activations of 16 bits beside weights of 8: a base whose weights lie on
	// a grid of 8 bits then loses next to nothing. In the file it is a field of this project's
	// own, "int8_activation_bits", 8 where absent.
	WideInt8 bool
}

// DInner is the width of all heads together.
func (c *Config) DInner() int { return c.Heads * c.DKV }

// rawConfig mirrors config.json. Pointers tell an absent field from a zero, since
// transformers' defaults are not zero.
type rawConfig struct {
	ModelType       string   `json:"model_type"`
	VocabSize       *int     `json:"vocab_size"`
	DModel          *int     `json:"d_model"`
	DKV             *int     `json:"d_kv"`
	DFF             *int     `json:"d_ff"`
	NumLayers       *int     `json:"num_layers"`
	NumDecoder      *int     `json:"num_decoder_layers"`
	NumHeads        *int     `json:"num_heads"`
	Buckets         *int     `json:"relative_attention_num_buckets"`
	MaxDistance     *int     `json:"relative_attention_max_distance"`
	Epsilon         *float64 `json:"layer_norm_epsilon"`
	Dropout         *float64 `json:"dropout_rate"`
	FeedForwardProj *string  `json:"feed_forward_proj"`
	Tied            *bool    `json:"tie_word_embeddings"`
	PadID           *int32   `json:"pad_token_id"`
	EOSID           *int32   `json:"eos_token_id"`
	StartID         *int32   `json:"decoder_start_token_id"`
	Int8Activations *int     `json:"int8_activation_bits,omitempty"`
}

// family holds the defaults that transformers 4.57.6 gives an absent field.
type family struct {
	vocab, dModel, dKV, dFF, layers, heads int
	proj                                   string
	tied                                   bool
}

var families = map[string]family{
	"t5":  {32128, 512, 64, 2048, 6, 8, "relu", true},
	"mt5": {250112, 512, 64, 1024, 8, 6, "gated-gelu", false},
}

// ParseConfig reads a config.json. Absent fields take the defaults of
// transformers 4.57.6; in particular an absent tie_word_embeddings is true for
// t5 and false for mt5. Errors wrap ErrConfig and name the field.
func ParseConfig(data []byte) (*Config, error) {
	var raw rawConfig
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("%w: config.json: %w", ErrConfig, err)
	}
	fam, ok := families[raw.ModelType]
	if !ok {
		return nil, fmt.Errorf("%w: model_type is %q; only \"t5\" and \"mt5\" are supported", ErrConfig, raw.ModelType)
	}
	c := &Config{
		ModelType:     raw.ModelType,
		VocabSize:     or(raw.VocabSize, fam.vocab),
		DModel:        or(raw.DModel, fam.dModel),
		DKV:           or(raw.DKV, fam.dKV),
		DFF:           or(raw.DFF, fam.dFF),
		EncoderLayers: or(raw.NumLayers, fam.layers),
		Heads:         or(raw.NumHeads, fam.heads),
		Buckets:       or(raw.Buckets, 32),
		MaxDistance:   or(raw.MaxDistance, 128),
		Epsilon:       or(raw.Epsilon, 1e-6),
		Dropout:       or(raw.Dropout, 0.1),
		TiedHead:      or(raw.Tied, fam.tied),
		PadID:         or(raw.PadID, 0),
		EOSID:         or(raw.EOSID, 1),
	}
	c.DecoderLayers = or(raw.NumDecoder, c.EncoderLayers)
	c.StartID = or(raw.StartID, c.PadID)
	switch bits := or(raw.Int8Activations, narrow); bits {
	case narrow, wide:
		c.WideInt8 = bits == wide
	default:
		return nil, fmt.Errorf("%w: int8_activation_bits is %d; it must be %d or %d", ErrConfig, bits, narrow, wide)
	}
	if err := c.setActivation(or(raw.FeedForwardProj, fam.proj)); err != nil {
		return nil, err
	}
	return c, c.validate()
}

// narrow and wide are the bits of activations that int8_activation_bits can ask for.
const narrow, wide = 8, 16

func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

// setActivation reads feed_forward_proj. "gated-gelu" means gelu_new, as
// transformers treats it for backward compatibility.
func (c *Config) setActivation(proj string) error {
	switch proj {
	case "relu":
		c.Activation = ReLU
	case "gated-gelu", "gated-gelu_new":
		c.Activation, c.Gated = GELUNew, true
	case "gated-silu":
		c.Activation, c.Gated = SiLU, true
	case "gated-relu":
		c.Activation, c.Gated = ReLU, true
	case "gelu_new":
		c.Activation = GELUNew
	case "silu":
		c.Activation = SiLU
	default:
		return fmt.Errorf("%w: feed_forward_proj %q is not supported (relu, gelu_new, silu, or one of them with \"gated-\" before it)", ErrConfig, proj)
	}
	return nil
}

// maxDim bounds every size, so that no product of two overflows.
const maxDim = 1 << 24

func (c *Config) validate() error {
	for _, f := range []struct {
		name string
		v    int
	}{
		{"vocab_size", c.VocabSize}, {"d_model", c.DModel}, {"d_kv", c.DKV}, {"d_ff", c.DFF},
		{"num_layers", c.EncoderLayers}, {"num_decoder_layers", c.DecoderLayers}, {"num_heads", c.Heads},
		{"relative_attention_max_distance", c.MaxDistance},
	} {
		if f.v < 1 || f.v > maxDim {
			return fmt.Errorf("%w: %s is %d; it must be from 1 to %d", ErrConfig, f.name, f.v, maxDim)
		}
	}
	if c.Buckets < 4 || c.Buckets%4 != 0 || c.Buckets > maxDim {
		return fmt.Errorf("%w: relative_attention_num_buckets is %d; it must be a multiple of 4", ErrConfig, c.Buckets)
	}
	if c.MaxDistance <= c.Buckets/2 {
		return fmt.Errorf("%w: relative_attention_max_distance is %d; it must exceed half of the %d buckets", ErrConfig, c.MaxDistance, c.Buckets)
	}
	if !(c.Epsilon > 0 && c.Epsilon < 1) {
		return fmt.Errorf("%w: layer_norm_epsilon is %v; it must lie between 0 and 1", ErrConfig, c.Epsilon)
	}
	if !(c.Dropout >= 0 && c.Dropout < 1) {
		return fmt.Errorf("%w: dropout_rate is %v; it must be at least 0 and below 1", ErrConfig, c.Dropout)
	}
	for _, f := range []struct {
		name string
		v    int32
	}{{"pad_token_id", c.PadID}, {"eos_token_id", c.EOSID}, {"decoder_start_token_id", c.StartID}} {
		if f.v < 0 || int(f.v) >= c.VocabSize {
			return fmt.Errorf("%w: %s is %d, outside the vocabulary of %d", ErrConfig, f.name, f.v, c.VocabSize)
		}
	}
	return nil
}
