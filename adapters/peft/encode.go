package peft

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"unicode/utf16"

	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
)

// Version is the release of PEFT whose folders are written.
const Version = "0.18.0"

// DefaultConfig is the configuration that PEFT's IA3Config gives an adapter of the
// model, for text to text. BaseModel is left to the caller.
func DefaultConfig(model *spec.Config) Config {
	target, feedForward := model.DefaultTargets()
	return Config{
		Target: Modules{Names: target}, FeedForward: Modules{Names: feedForward},
		TaskType: "SEQ_2_SEQ_LM", PEFTVersion: Version,
	}
}

// Encode gives the files of the folder by their names: adapter_config.json and
// adapter_model.safetensors as PEFT 0.18.0 writes them, with the vectors in float32,
// and valence.json where there is a sidecar. Reading them gives f again, with the
// same digest: what would not come back as it is is an error that wraps ErrAdapter
// and names the field or tensor.
func (f *Folder) Encode() (map[string][]byte, error) {
	files, err := f.encode()
	if err != nil {
		return nil, fmt.Errorf("%w: encode: %w", ErrAdapter, err)
	}
	return files, nil
}

func (f *Folder) encode() (map[string][]byte, error) {
	digest, err := Digest(f.Vectors, f.Sidecar)
	if err != nil {
		return nil, err
	}
	if digest != f.Digest {
		return nil, fmt.Errorf("the digest is %q; the vectors and sidecar have %q", f.Digest, digest)
	}
	config, err := f.Config.encode()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", configFile, err)
	}
	weights, err := encodeVectors(f.Vectors)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", weightsFile, err)
	}
	files := map[string][]byte{configFile: config, weightsFile: weights}
	if f.Sidecar != nil {
		files[sidecarFile] = f.Sidecar
	}
	return files, checkSizes(files)
}

// checkSizes applies the bounds of reading.
func checkSizes(files map[string][]byte) error {
	for name, limit := range map[string]int{configFile: maxConfig, weightsFile: maxWeights, sidecarFile: maxSidecar} {
		if n := len(files[name]); n > limit {
			return fmt.Errorf("%s: its %d bytes are above the limit of %d", name, n, limit)
		}
	}
	return nil
}

func encodeVectors(v *spec.Vectors) ([]byte, error) {
	tensors := make([]safetensors.Tensor, 0, len(v.Sites))
	for s, values := range vectorsOf(v) {
		if err := checkFinite(values); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", s.Key(), err)
		}
		tensors = append(tensors, safetensors.Tensor{Name: s.Key(), DType: safetensors.F32, Shape: s.Shape(), Data: safetensors.Float32Bytes(values)})
	}
	var out bytes.Buffer
	if err := safetensors.Write(&out, tensors, map[string]string{"format": "pt"}); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// encode writes the fields of PEFT's IA3Config as its save_pretrained does.
func (c *Config) encode() ([]byte, error) {
	values := map[string]any{
		"auto_mapping":     nil,
		"fan_in_fan_out":   false,
		"inference_mode":   true,
		"init_ia3_weights": true,
		"modules_to_save":  nil,
		"peft_type":        "IA3",
	}
	for _, f := range c.fields() {
		values[f.name] = f.plain()
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(values); err != nil {
		return nil, err
	}
	text := escapeToASCII(bytes.TrimSuffix(out.Bytes(), []byte("\n")))
	return text, c.checkText(text)
}

// plain is what encoding/json writes for the field.
func (f field) plain() any {
	switch v := f.value.(type) {
	case *Modules:
		return v.value()
	case *string:
		if *v != "" {
			return *v
		}
	}
	return nil
}

// checkText tells whether c can be read back from its text. Strings that are not
// UTF-8, and lists that PEFT would not accept, cannot.
func (c *Config) checkText(text []byte) error {
	back := &Config{}
	if err := back.parse(text); err != nil {
		return err
	}
	if err := c.checkSubset(); err != nil {
		return err
	}
	read := back.fields()
	for i, f := range c.fields() {
		if !reflect.DeepEqual(f.value, read[i].value) {
			return fmt.Errorf("%s: it would not be read back as it is", f.name)
		}
	}
	return nil
}

// escapeToASCII writes what is not printable ASCII in a JSON text as PEFT does, whose
// reader decodes the file by the locale.
func escapeToASCII(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if r < 0x7f {
			out = append(out, byte(r))
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return out
}
