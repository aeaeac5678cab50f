package pickle

import (
	"errors"
	"fmt"
)

// Bounds of a pickle. An IA3 adapter for the largest mT5 with every projection
// scaled needs a fifth of them at most.
const (
	maxPickle = 1 << 20 // bytes
	maxStack  = 1 << 16 // values
	maxMemo   = 1 << 16 // values
	maxString = 1 << 12 // bytes
	protocol  = 2       // of pickle, which torch.save has always written
)

// machine runs one pickle.
type machine struct {
	data     []byte // the pickle, and maybe more after it
	pos      int    // of the next byte
	stack    []any
	marks    int // how many of the values on the stack are marks
	memo     map[uint32]any
	storages *storages
}

// unpickle runs the pickle at the beginning of data and gives its object and
// length.
func unpickle(data []byte, s *storages) (object any, length int, err error) {
	m := &machine{data: data, memo: map[uint32]any{}, storages: s}
	for stopped := false; !stopped; {
		at := m.pos
		if stopped, err = m.step(); err != nil {
			return nil, 0, fmt.Errorf("byte %d of the pickle: %w", at, err)
		}
	}
	if len(m.stack) != 1 {
		return nil, 0, fmt.Errorf("the pickle leaves %d values on the stack, not 1", len(m.stack))
	}
	object, err = m.pop()
	return object, m.pos, err
}

// step runs one operation and tells whether it was the last one.
func (m *machine) step() (stopped bool, err error) {
	op, err := m.byte()
	if err != nil || op == opStop {
		return op == opStop, err
	}
	do := operations[op]
	if do == nil {
		return false, fmt.Errorf("operation %#02x (%q) is not supported", op, op)
	}
	return false, do(m)
}

// read gives the next n bytes, which alias the file.
func (m *machine) read(n int) ([]byte, error) {
	end := m.pos + n
	if end > maxPickle {
		return nil, fmt.Errorf("the pickle is longer than the limit of %d bytes", maxPickle)
	}
	if end > len(m.data) {
		return nil, errors.New("the pickle is truncated")
	}
	b := m.data[m.pos:end]
	m.pos = end
	return b, nil
}

func (m *machine) byte() (byte, error) {
	b, err := m.read(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// integer reads an unsigned little-endian integer of n bytes.
func (m *machine) integer(n int) (uint32, error) {
	b, err := m.read(n)
	var v uint32
	for i, x := range b {
		v |= uint32(x) << (8 * i)
	}
	return v, err
}

func (m *machine) push(v any) error {
	if len(m.stack) == maxStack {
		return fmt.Errorf("the stack is deeper than the limit of %d", maxStack)
	}
	m.stack = append(m.stack, v)
	return nil
}

// top is the value on top of the stack, which stays.
func (m *machine) top() (any, error) {
	if len(m.stack) == 0 {
		return nil, errors.New("the stack is empty")
	}
	v := m.stack[len(m.stack)-1]
	if _, ok := v.(mark); ok {
		return nil, errors.New("a mark stands where a value should")
	}
	return v, nil
}

func (m *machine) pop() (any, error) {
	v, err := m.top()
	if err == nil {
		m.stack = m.stack[:len(m.stack)-1]
	}
	return v, err
}

// popMarked takes the values above the last mark, and the mark. They are a view of
// the stack, valid until the next push.
func (m *machine) popMarked() ([]any, error) {
	if m.marks == 0 {
		return nil, errors.New("there is no mark")
	}
	at := len(m.stack) - 1
	for ; m.stack[at] != (mark{}); at-- {
	}
	items := m.stack[at+1:]
	m.stack = m.stack[:at]
	m.marks--
	return items, nil
}
