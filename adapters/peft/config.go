package peft

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrAdapter is wrapped by every error about an adapter that cannot be used.
var ErrAdapter = errors.New("peft: adapter")

// Config is an adapter_config.json. Only the three choices of modules change what
// an adapter does; the other fields inform.
type Config struct {
	Target      Modules // target_modules: projections that are scaled
	FeedForward Modules // feedforward_modules: those of them whose input is scaled, not the output
	Exclude     Modules // exclude_modules: projections that are left alone whatever Target says
	TaskType    string  // task_type, or "" for null
	BaseModel   string  // base_model_name_or_path, or "" for null
	Revision    string  // revision of the base model, or "" for null
	PEFTVersion string  // peft_version, or "" for null
}

// field is a member of adapter_config.json.
type field struct {
	name  string
	value any // *Modules or *string
}

// fields are those that c holds.
func (c *Config) fields() []field {
	return []field{
		{"target_modules", &c.Target},
		{"feedforward_modules", &c.FeedForward},
		{"exclude_modules", &c.Exclude},
		{"task_type", &c.TaskType},
		{"base_model_name_or_path", &c.BaseModel},
		{"revision", &c.Revision},
		{"peft_version", &c.PEFTVersion},
	}
}

// refusedFields change what an adapter does in a way that is not supported, unless
// they are absent, null, false or empty. Every other unknown field is ignored, as
// PEFT ignores it.
var refusedFields = [...]struct{ name, why string }{
	{"modules_to_save", "whole modules beside the vectors are not supported"},
	{"fan_in_fan_out", "the projections of T5 and mT5 store their weights as (out, in)"},
	{"layers_to_transform", "choose layers by a regular expression in target_modules"},
	{"layers_pattern", "choose layers by a regular expression in target_modules"},
	{"layer_replication", "layers cannot be repeated"},
	{"rank_pattern", "IA3 vectors have no rank"},
	{"alpha_pattern", "IA3 vectors have no alpha"},
	{"target_parameters", "only projections can be scaled"},
	{"trainable_token_indices", "embeddings cannot be adapted"},
}

// ParseConfig reads an adapter_config.json. Errors wrap ErrAdapter and name the
// field. Choices of modules are checked by Sites, which knows the model.
func ParseConfig(data []byte) (*Config, error) {
	c := &Config{}
	if err := c.parse(data); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrAdapter, configFile, err)
	}
	return c, nil
}

func (c *Config) parse(data []byte) error {
	// A map finds fields by their exact name, which a struct does not.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	var peftType string
	for _, f := range append(c.fields(), field{"peft_type", &peftType}) {
		if value, ok := fields[f.name]; ok {
			if err := json.Unmarshal(value, f.value); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
	}
	if peftType != "IA3" {
		return fmt.Errorf("peft_type is %q; only \"IA3\" is supported", peftType)
	}
	return refuse(fields)
}

func refuse(fields map[string]json.RawMessage) error {
	for _, f := range refusedFields {
		value, ok := fields[f.name]
		if !ok {
			continue
		}
		var v any
		if err := json.Unmarshal(value, &v); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if isSet(v) {
			return fmt.Errorf("%s is set: %s", f.name, f.why)
		}
	}
	return nil
}

// isSet tells whether Python takes a value read from JSON for true, save for a
// number, which counts even where it is zero: layer 0 is a layer.
func isSet(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}
