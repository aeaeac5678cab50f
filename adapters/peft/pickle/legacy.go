package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A file of torch.save before the zip archive, or with
// _use_new_zipfile_serialization=False, begins with the pickles of PyTorch's magic
// number and of the format's version.
const (
	legacyMagic   = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." // 0x1950a86a20f9469cfc6c
	legacyVersion = "\x80\x02M\xe9\x03."                                        // 1001
)

// parseLegacy gives the object of such a file, its storages filled. After the
// version come the pickles of a dict that tells of the machine, of the object and
// of the list of the storages' keys; then for each storage the number of its
// elements in 8 bytes and its data. PyTorch writes numbers and data little-endian
// on every machine, and looks at none of what the dict tells.
func parseLegacy(data []byte, s *storages) (any, error) {
	rest := data[len(legacyMagic):]
	if len(rest) < len(legacyVersion) || string(rest[:len(legacyVersion)]) != legacyVersion {
		return nil, errors.New("the version of the format before the zip archive is not 1001")
	}
	rest = rest[len(legacyVersion):]
	var objects [3]any
	for i, name := range [...]string{"machine", "object", "keys"} {
		object, n, err := unpickle(rest, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		objects[i], rest = object, rest[n:]
	}
	keys, ok := objects[2].(*list)
	if !ok {
		return nil, fmt.Errorf("keys: %s, not a list", kind(objects[2]))
	}
	return objects[1], s.fillInOrder(keys.items, rest)
}

// fillInOrder gives each storage its part of data, which must end with the last.
func (s *storages) fillInOrder(keys []any, data []byte) error {
	if len(keys) != len(s.byKey) {
		return fmt.Errorf("keys: there are %d for %d storages", len(keys), len(s.byKey))
	}
	for _, k := range keys {
		key, ok := k.(string)
		if !ok {
			return fmt.Errorf("keys: one is %s, not a string", kind(k))
		}
		x, ok := s.byKey[key]
		if !ok || x.data != nil {
			return fmt.Errorf("keys: %q comes twice or names no storage", key)
		}
		n, err := x.take(data)
		if err != nil {
			return err
		}
		data = data[n:]
	}
	if len(data) != 0 {
		return fmt.Errorf("%d bytes follow the last storage", len(data))
	}
	return nil
}

// take fills the storage from the beginning of data and tells how much it took.
func (s *storage) take(data []byte) (int64, error) {
	const count = 8
	end := count + s.elements*s.elementSize()
	if int64(len(data)) < end {
		return 0, fmt.Errorf("storage %q is truncated", s.key)
	}
	if n := binary.LittleEndian.Uint64(data); n != uint64(s.elements) {
		return 0, fmt.Errorf("storage %q has %d elements; the pickle says %d", s.key, n, s.elements)
	}
	return end, s.fill(data[count:end])
}
