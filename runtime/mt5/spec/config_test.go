package spec

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"
)

// mt0Large is the part of bigscience/mt0-large's config.json that shapes it.
const mt0Large = `{"model_type":"mt5","vocab_size":250112,"d_model":1024,"d_kv":64,"d_ff":2816,"num_layers":24,
	"num_decoder_layers":24,"num_heads":16,"relative_attention_num_buckets":32,"relative_attention_max_distance":128,
	"feed_forward_proj":"gated-gelu","layer_norm_epsilon":1e-6,"tie_word_embeddings":false,
	"pad_token_id":0,"eos_token_id":1,"decoder_start_token_id":0}`

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := ParseConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The numbers are what PEFT's print_trainable_parameters says of mt0-large.
func TestMT0LargeCounts(t *testing.T) {
	c := parse(t, mt0Large)
	trainable := Total(c.DefaultSites())
	if trainable != 282_624 || c.Parameters()+int64(trainable) != 1_229_863_936 {
		t.Errorf("trainable %d, all %d", trainable, c.Parameters()+int64(trainable))
	}
	if n := len(c.DefaultSites()); n != 24*3+24*5 {
		t.Errorf("%d sites", n)
	}
}

func TestDefaultsFollowTheFamily(t *testing.T) {
	t5, mt5 := parse(t, `{"model_type":"t5"}`), parse(t, `{"model_type":"mt5"}`)
	if !t5.TiedHead || t5.Gated || t5.Activation != ReLU || t5.DecoderLayers != 6 || t5.VocabSize != 32128 {
		t.Errorf("t5: %+v", t5)
	}
	if mt5.TiedHead || !mt5.Gated || mt5.Activation != GELUNew || mt5.Heads != 6 || mt5.EOSID != 1 {
		t.Errorf("mt5: %+v", mt5)
	}
	if c := parse(t, `{"model_type":"t5","num_layers":3,"feed_forward_proj":"gated-silu","tie_word_embeddings":false}`); c.DecoderLayers != 3 || c.Activation != SiLU || c.TiedHead {
		t.Errorf("t5 v1.1: %+v", c)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for _, tc := range []struct{ change, want string }{
		{`{"model_type":"bert"}`, `model_type is "bert"`},
		{`{"model_type":"umt5"}`, "umt5"},
		{`{"feed_forward_proj":"gated-tanh"}`, "feed_forward_proj"},
		{`{"d_model":0}`, "d_model is 0"},
		{`{"num_heads":-1}`, "num_heads is -1"},
		{`{"d_ff":9000000000}`, "d_ff"},
		{`{"d_kv":"64"}`, "d_kv"},
		{`{"relative_attention_num_buckets":6}`, "relative_attention_num_buckets"},
		{`{"relative_attention_max_distance":16}`, "relative_attention_max_distance"},
		{`{"layer_norm_epsilon":0}`, "layer_norm_epsilon"},
		{`{"eos_token_id":250112}`, "eos_token_id"},
		{`{"decoder_start_token_id":-1}`, "decoder_start_token_id"},
		{`{"int8_activation_bits":4}`, "int8_activation_bits is 4"},
	} {
		fields := map[string]any{}
		for _, text := range []string{mt0Large, tc.change} {
			var part map[string]any
			if err := json.Unmarshal([]byte(text), &part); err != nil {
				t.Fatal(err)
			}
			maps.Copy(fields, part)
		}
		data, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseConfig(data); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.change, err)
		}
	}
	if _, err := ParseConfig([]byte(`{"model_type":`)); !errors.Is(err, ErrConfig) {
		t.Errorf("broken JSON: %v", err)
	}
}

// TestWeightsAreTheCheckpoints compares the names with those of files that
// transformers wrote.
func TestWeightsAreTheCheckpoints(t *testing.T) {
	for _, variant := range []string{"mt5", "t5", "t5v11", "mt5-fp16-tied"} {
		dir := "../testdata/" + variant
		config, err := os.ReadFile(dir + "/config.json")
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(dir + "/model.safetensors")
		if err != nil {
			t.Fatal(err)
		}
		header := map[string]json.RawMessage{}
		if err := json.Unmarshal(file[8:8+int(file[0])+int(file[1])<<8], &header); err != nil {
			t.Fatal(err)
		}
		delete(header, "__metadata__")
		for _, w := range parse(t, string(config)).Weights() {
			if _, ok := header[w.Name]; !ok {
				t.Errorf("%s: %s is not in the file", variant, w.Name)
			}
			delete(header, w.Name)
		}
		for name := range header {
			t.Errorf("%s: the file's %s is not expected", variant, name)
		}
	}
}

// TestConfigIsWrittenAsItIsRead holds every activation and both families.
func TestConfigIsWrittenAsItIsRead(t *testing.T) {
	for _, text := range []string{
		mt0Large, `{"model_type":"t5"}`, `{"model_type":"mt5","num_decoder_layers":1,"decoder_start_token_id":7,"tie_word_embeddings":true}`,
		`{"model_type":"t5","feed_forward_proj":"gated-silu"}`, `{"model_type":"t5","feed_forward_proj":"gated-relu"}`,
		`{"model_type":"t5","feed_forward_proj":"silu"}`, `{"model_type":"t5","feed_forward_proj":"gelu_new","dropout_rate":0}`,
		`{"model_type":"mt5","int8_activation_bits":16}`,
	} {
		want := parse(t, text)
		written, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := parse(t, string(written)); *got != *want {
			t.Errorf("%s: read %+v, written %s", text, want, written)
		}
	}
}

func TestInt8ActivationBits(t *testing.T) {
	for text, want := range map[string]bool{`{"model_type":"mt5"}`: false, `{"model_type":"mt5","int8_activation_bits":8}`: false, `{"model_type":"t5","int8_activation_bits":16}`: true} {
		if got := parse(t, text).WideInt8; got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
