package pickle

import (
	"fmt"

	"valence/runtime/safetensors"
)

// The machine's values are nil for None, bool, int64, string and the types below.
// Values can hold each other in cycles: nothing here walks through them.
type (
	// mark separates the items of a collection from what lies below them.
	mark  struct{}
	tuple []any
	list  struct{ items []any }
	// dict is a dict, or an OrderedDict whose attributes are dropped.
	dict struct {
		ordered bool
		items   map[string]any // nil while empty
	}
	// global is one of the names in globals.
	global struct{ module, name string }
)

func (g global) String() string { return g.module + "." + g.name }

var (
	orderedDict   = global{"collections", "OrderedDict"}
	rebuildTensor = global{"torch._utils", "_rebuild_tensor_v2"}
)

// storageTypes are the names of PyTorch's storages that can be read.
var storageTypes = map[global]safetensors.DType{
	{"torch", "DoubleStorage"}:   safetensors.F64,
	{"torch", "FloatStorage"}:    safetensors.F32,
	{"torch", "HalfStorage"}:     safetensors.F16,
	{"torch", "BFloat16Storage"}: safetensors.BF16,
}

// check refuses every name that is not known.
func (g global) check() error {
	if _, ok := storageTypes[g]; ok || g == orderedDict || g == rebuildTensor {
		return nil
	}
	return fmt.Errorf("it names %q; only tensors of float64, float32, float16 or bfloat16 and plain dicts are read, and no code is run", g)
}

// set adds an entry. A name that comes twice is refused: which one counts would
// depend on the reader.
func (d *dict) set(key, value any) error {
	name, ok := key.(string)
	if !ok {
		return fmt.Errorf("a key of a dict is %s, not a string", kind(key))
	}
	if _, ok := d.items[name]; ok {
		return fmt.Errorf("key %q comes twice", name)
	}
	if d.items == nil {
		d.items = map[string]any{}
	}
	d.items[name] = value
	return nil
}

// isEmpty tells whether v is None or a dict without entries.
func isEmpty(v any) bool {
	d, ok := v.(*dict)
	return v == nil || ok && len(d.items) == 0
}

// kind names the type of a value for an error.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "a boolean"
	case int64:
		return "an integer"
	case string:
		return "a string"
	case mark:
		return "a mark"
	case tuple:
		return "a tuple"
	case *list:
		return "a list"
	case *dict:
		return "a dict"
	case global:
		return v.String()
	case *storage:
		return "a storage"
	case *tensor:
		return "a tensor"
	}
	return fmt.Sprintf("a %T", v)
}
