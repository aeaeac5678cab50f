package pickle

import (
	"errors"
	"fmt"

	"valence/runtime/safetensors"
)

// storage is a run of elements that tensors view.
type storage struct {
	key      string // its name within the file
	dtype    safetensors.DType
	elements int64
	data     []byte // little-endian; nil until the pickle has been read
}

func (s *storage) elementSize() int64 { return int64(s.dtype.Size()) }

// storages are those that a pickle has named.
type storages struct {
	limit int64 // bytes of the file, which none of them can exceed
	byKey map[string]*storage
}

// load finds the storage for a persistent id: ("storage", type, key, location,
// elements), followed by None in the format before the zip archive.
func (s *storages) load(id any) (*storage, error) {
	parts, ok := id.(tuple)
	if !ok || len(parts) != 5 && len(parts) != 6 || parts[0] != "storage" {
		return nil, errors.New(`a persistent id must be a tuple that begins with "storage" and has 5 or 6 parts`)
	}
	if len(parts) == 6 && parts[5] != nil {
		return nil, errors.New("a storage that views another one is not supported; load the file with PyTorch and save it again")
	}
	t, _ := parts[1].(global)
	dtype, ok := storageTypes[t]
	if !ok {
		return nil, fmt.Errorf("the type of a storage is %s", kind(parts[1]))
	}
	key, ok := parts[2].(string)
	if !ok {
		return nil, fmt.Errorf("the key of a storage is %s, not a string", kind(parts[2]))
	}
	if _, ok := parts[3].(string); !ok {
		return nil, fmt.Errorf("the location of storage %q is %s, not a string", key, kind(parts[3]))
	}
	elements, err := natural(parts[4])
	if err != nil {
		return nil, fmt.Errorf("the elements of storage %q: %w", key, err)
	}
	return s.add(storage{key: key, dtype: dtype, elements: elements})
}

// add keeps a storage, or finds the one that it repeats.
func (s *storages) add(x storage) (*storage, error) {
	if x.elements > s.limit/x.elementSize() {
		return nil, fmt.Errorf("storage %q of %d elements is larger than the file", x.key, x.elements)
	}
	if old, ok := s.byKey[x.key]; ok {
		if old.dtype != x.dtype || old.elements != x.elements {
			return nil, fmt.Errorf("storage %q is once %d elements of %s, once %d of %s", x.key, old.elements, old.dtype, x.elements, x.dtype)
		}
		return old, nil
	}
	if s.byKey == nil {
		s.byKey = map[string]*storage{}
	}
	s.byKey[x.key] = &x
	return &x, nil
}

// fill gives a storage its bytes, which must be as many as it has been said to
// have.
func (s *storage) fill(data []byte) error {
	if want := s.elements * s.elementSize(); int64(len(data)) != want {
		return fmt.Errorf("storage %q has %d bytes; %d elements of %s need %d", s.key, len(data), s.elements, s.dtype, want)
	}
	s.data = data
	return nil
}
