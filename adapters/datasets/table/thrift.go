package table

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// thrift reads the compact protocol of Apache Thrift, in which Parquet writes what it
// says about itself. What is said to be there is believed only as far as there are bytes
// for it. The first error stays, and nothing is read after it.
type thrift struct {
	data []byte // what is not read yet
	deep int
	err  error
}

// kind is a type of the protocol.
type kind byte

const (
	kindTrue kind = iota + 1
	kindFalse
	kindByte
	kindInt16
	kindInt32
	kindInt64
	kindDouble
	kindBinary
	kindList
	kindSet
	kindMap
	kindStruct
	kindUUID
)

var errThrift = errors.New("its description of itself is damaged")

func (t *thrift) fail(format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf("%w: %s", errThrift, fmt.Sprintf(format, args...))
		t.data = nil
	}
}

// take gives the next n bytes.
func (t *thrift) take(n int) []byte {
	if n < 0 || n > len(t.data) {
		t.fail("%d bytes are missing", n-len(t.data))
		return nil
	}
	taken := t.data[:n]
	t.data = t.data[n:]
	return taken
}

func (t *thrift) byte() byte {
	if b := t.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (t *thrift) varint() uint64 {
	n, size := binary.Uvarint(t.data)
	if size <= 0 {
		t.fail("a number does not end")
		return 0
	}
	t.data = t.data[size:]
	return n
}

func (t *thrift) zigzag() int64 {
	n := t.varint()
	return int64(n>>1) ^ -int64(n&1)
}

// int reads a whole number.
func (t *thrift) int(k kind) int64 {
	switch k {
	case kindByte:
		return int64(int8(t.byte()))
	case kindInt16, kindInt32, kindInt64:
		return t.zigzag()
	default:
		t.fail("type %d is not a whole number", k)
		return 0
	}
}

// bool reads a field's truth, which is its type.
func (t *thrift) bool(k kind) bool {
	if k != kindTrue && k != kindFalse {
		t.fail("type %d is not a truth value", k)
	}
	return k == kindTrue
}

func (t *thrift) text(k kind) string {
	if k != kindBinary {
		t.fail("type %d is not a text", k)
		return ""
	}
	return string(t.take(t.size()))
}

// size reads a number of bytes or of elements, each of which has one byte at least.
func (t *thrift) size() int {
	n := t.varint()
	if n > uint64(len(t.data)) {
		t.fail("%d bytes or elements cannot be there", n)
		return 0
	}
	return int(n)
}

// mostDeep bounds how deep structures are nested: Parquet's go six deep.
const mostDeep = 32

// fields reads a structure. Use reads a field, or gives false for one that it does not
// know.
func (t *thrift) fields(k kind, use func(id int, k kind) bool) {
	if k != kindStruct {
		t.fail("type %d is not a structure", k)
	}
	if t.deep++; t.deep > mostDeep {
		t.fail("it is nested too deep")
	}
	for id := 0; t.err == nil; {
		header := t.byte()
		if header == 0 {
			break
		}
		if delta := int(header >> 4); delta != 0 {
			id += delta
		} else {
			id = int(t.zigzag())
		}
		if k := kind(header & 15); t.err == nil && !use(id, k) {
			t.skip(k, false)
		}
	}
	t.deep--
}

// list reads a list, or a set. Use reads an element.
func (t *thrift) list(k kind, use func(k kind)) {
	if k != kindList && k != kindSet {
		t.fail("type %d is not a list", k)
	}
	if t.deep++; t.deep > mostDeep {
		t.fail("it is nested too deep")
	}
	header := t.byte()
	n := int(header >> 4)
	if n == 15 {
		n = t.size()
	}
	for i := 0; i < n && t.err == nil; i++ {
		use(kind(header & 15))
	}
	t.deep--
}

// skip reads a value of no interest. Truth values are one byte, but none in a field.
func (t *thrift) skip(k kind, element bool) {
	switch k {
	case kindTrue, kindFalse:
		if element {
			t.byte()
		}
	case kindByte, kindInt16, kindInt32, kindInt64:
		t.int(k)
	case kindDouble:
		t.take(8)
	case kindUUID:
		t.take(16)
	case kindBinary:
		t.take(t.size())
	case kindList, kindSet:
		t.list(k, func(k kind) { t.skip(k, true) })
	case kindMap:
		t.skipMap()
	case kindStruct:
		t.fields(k, func(int, kind) bool { return false })
	default:
		t.fail("there is no type %d", k)
	}
}

func (t *thrift) skipMap() {
	n := t.size()
	if n == 0 {
		return
	}
	kinds := t.byte()
	for i := 0; i < n && t.err == nil; i++ {
		t.skip(kind(kinds>>4), true)
		t.skip(kind(kinds&15), true)
	}
}
