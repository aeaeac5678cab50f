package pickle

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// opStop ends a pickle.
const opStop = '.'

// operations are those that torch.save writes in protocol 2, by their codes in
// CPython's Lib/pickletools.py; nil for all others.
var operations = [256]func(*machine) error{
	0x80: (*machine).proto,
	'c':  (*machine).global,
	'R':  (*machine).reduce,
	'b':  (*machine).build,
	'Q':  (*machine).persistentID,

	'(':  func(m *machine) error { m.marks++; return m.push(mark{}) },
	'N':  func(m *machine) error { return m.push(nil) },
	0x88: func(m *machine) error { return m.push(true) },
	0x89: func(m *machine) error { return m.push(false) },
	')':  func(m *machine) error { return m.push(tuple{}) },
	']':  func(m *machine) error { return m.push(&list{}) },
	'}':  func(m *machine) error { return m.push(&dict{}) },

	'K':  func(m *machine) error { return m.pushInteger(1) },
	'M':  func(m *machine) error { return m.pushInteger(2) },
	'J':  (*machine).int32,
	0x8a: (*machine).long,
	'X':  (*machine).text,

	't':  (*machine).tuple,
	0x85: func(m *machine) error { return m.tupleOf(1) },
	0x86: func(m *machine) error { return m.tupleOf(2) },
	0x87: func(m *machine) error { return m.tupleOf(3) },
	'a':  (*machine).appendOne,
	'e':  (*machine).appendMarked,
	's':  (*machine).setItem,
	'u':  (*machine).setItems,

	'q': func(m *machine) error { return m.put(1) },
	'r': func(m *machine) error { return m.put(4) },
	'h': func(m *machine) error { return m.get(1) },
	'j': func(m *machine) error { return m.get(4) },
}

func (m *machine) proto() error {
	v, err := m.byte()
	if err == nil && v != protocol {
		err = fmt.Errorf("the pickle has protocol %d; only %d, torch.save's default, is supported", v, protocol)
	}
	return err
}

// global pushes a name, if it is known.
func (m *machine) global() error {
	module, err := m.line()
	if err != nil {
		return err
	}
	name, err := m.line()
	if err != nil {
		return err
	}
	g := global{module, name}
	if err := g.check(); err != nil {
		return err
	}
	return m.push(g)
}

// line reads up to the end of a line, which is dropped.
func (m *machine) line() (string, error) {
	rest := m.data[m.pos:]
	n := bytes.IndexByte(rest[:min(len(rest), maxString)], '\n')
	if n < 0 {
		return "", fmt.Errorf("a name does not end within %d bytes", maxString)
	}
	b, err := m.read(n + 1)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

// reduce makes an OrderedDict or a tensor: nothing else can be called.
func (m *machine) reduce() error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	callee, err := m.pop()
	if err != nil {
		return err
	}
	args, ok := v.(tuple)
	if !ok {
		return fmt.Errorf("the arguments of a call are %s, not a tuple", kind(v))
	}
	switch callee {
	case orderedDict:
		if len(args) != 0 {
			return fmt.Errorf("an OrderedDict is made of %d arguments; only an empty one is supported", len(args))
		}
		return m.push(&dict{ordered: true})
	case rebuildTensor:
		t, err := newTensor(args)
		if err != nil {
			return err
		}
		return m.push(t)
	}
	return fmt.Errorf("it calls %s", kind(callee))
}

// build gives an OrderedDict its attributes, such as the _metadata of a state
// dict. They do not tell of tensors and are dropped.
func (m *machine) build() error {
	state, err := m.pop()
	if err != nil {
		return err
	}
	target, err := m.top()
	if err != nil {
		return err
	}
	if d, ok := target.(*dict); !ok || !d.ordered {
		return fmt.Errorf("it sets the state of %s; only an OrderedDict has one", kind(target))
	}
	if _, ok := state.(*dict); !ok {
		return fmt.Errorf("the state of an OrderedDict is %s, not a dict", kind(state))
	}
	return nil
}

func (m *machine) persistentID() error {
	id, err := m.pop()
	if err != nil {
		return err
	}
	s, err := m.storages.load(id)
	if err != nil {
		return err
	}
	return m.push(s)
}

func (m *machine) pushInteger(bytes int) error {
	v, err := m.integer(bytes)
	if err != nil {
		return err
	}
	return m.push(int64(v))
}

func (m *machine) int32() error {
	v, err := m.integer(4)
	if err != nil {
		return err
	}
	return m.push(int64(int32(v)))
}

// long reads an integer of up to 8 bytes in two's complement, which is more than
// any size needs.
func (m *machine) long() error {
	n, err := m.byte()
	if err != nil {
		return err
	}
	if n > 8 {
		return fmt.Errorf("an integer of %d bytes is not supported", n)
	}
	b, err := m.read(int(n))
	if err != nil {
		return err
	}
	var v int64
	for i, x := range b {
		v |= int64(x) << (8 * i)
	}
	unused := 64 - 8*len(b)
	return m.push(v << unused >> unused) // the shift back extends the sign
}

func (m *machine) text() error {
	n, err := m.integer(4)
	if err != nil {
		return err
	}
	if n > maxString {
		return fmt.Errorf("a string of %d bytes is longer than the limit of %d", n, maxString)
	}
	b, err := m.read(int(n))
	if err != nil {
		return err
	}
	if !utf8.Valid(b) {
		return fmt.Errorf("string %q is not valid UTF-8", b)
	}
	return m.push(string(b))
}

// put keeps the value on top of the stack, under an index of n bytes.
func (m *machine) put(n int) error {
	i, err := m.integer(n)
	if err != nil {
		return err
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	if i >= maxMemo {
		return fmt.Errorf("memo index %d is above the limit of %d", i, maxMemo-1)
	}
	m.memo[i] = v
	return nil
}

// get pushes a value that has been kept, under an index of n bytes.
func (m *machine) get(n int) error {
	i, err := m.integer(n)
	if err != nil {
		return err
	}
	v, ok := m.memo[i]
	if !ok {
		return fmt.Errorf("memo %d is empty", i)
	}
	return m.push(v)
}
