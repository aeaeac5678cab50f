package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

var errPage = errors.New("a page is damaged")

// values gives cells one after another.
type values interface{ next() (Cell, error) }

// cellReader reads a value in the plain encoding from the beginning of some bytes, and
// gives the bytes that it took. Nil stands for values that are not looked at.
type cellReader func(data []byte) (Cell, int, error)

// plainValues are written one behind the other.
type plainValues struct {
	data []byte
	read cellReader
}

func (p *plainValues) next() (Cell, error) {
	c, n, err := p.read(p.data)
	if err != nil {
		return Cell{}, err
	}
	p.data = p.data[n:]
	return c, nil
}

// bits are truth values in the plain encoding.
type bits struct{ unpacker }

func (b *bits) next() (Cell, error) {
	v, err := b.unpacker.next()
	return Cell{Boolean, strconv.FormatBool(v != 0)}, err
}

// flags are truth values in the run-length encoding.
type flags struct{ runs }

func (f *flags) next() (Cell, error) {
	v, err := f.runs.next()
	return Cell{Boolean, strconv.FormatBool(v != 0)}, err
}

// chosen are numbers of values in a dictionary.
type chosen struct {
	dictionary []Cell
	numbers    runs
}

func (c *chosen) next() (Cell, error) {
	n, err := c.numbers.next()
	if err != nil {
		return Cell{}, err
	}
	if uint64(n) >= uint64(len(c.dictionary)) {
		return Cell{}, fmt.Errorf("%w: it has no value %d among %d", errPage, n, len(c.dictionary))
	}
	return c.dictionary[n], nil
}

// others are values that are not looked at.
type others struct{}

func (others) next() (Cell, error) { return Cell{Kind: Other}, nil }

// unpacker reads numbers of the same few bits, the lowest first.
type unpacker struct {
	data  []byte
	width int // bits
	at    int // bit
}

func (u *unpacker) next() (uint32, error) {
	if u.at+u.width > 8*len(u.data) {
		return 0, fmt.Errorf("%w: it ends in the middle of a value", errPage)
	}
	var v uint64
	for i := range (u.at%8 + u.width + 7) / 8 {
		v |= uint64(u.data[u.at/8+i]) << (8 * i)
	}
	v = v >> (u.at % 8) & (1<<u.width - 1)
	u.at += u.width
	return uint32(v), nil
}

// runs reads the hybrid of run lengths and packed bits that levels and numbers of a
// dictionary are written in. No run is written out, however long it says it is.
type runs struct {
	data   []byte
	width  int // bits of a number, 32 at most
	left   uint64
	value  uint32 // of a run
	packed *unpacker
}

func (r *runs) next() (uint32, error) {
	for r.left == 0 {
		if err := r.begin(); err != nil {
			return 0, err
		}
	}
	r.left--
	if r.packed != nil {
		return r.packed.next()
	}
	return r.value, nil
}

func (r *runs) begin() error {
	header, n := binary.Uvarint(r.data)
	if n <= 0 {
		return fmt.Errorf("%w: it has too few values", errPage)
	}
	r.data = r.data[n:]
	r.left, r.packed = header>>1, nil
	if header&1 == 0 {
		size := (r.width + 7) / 8
		if size > len(r.data) {
			return fmt.Errorf("%w: a run has no value", errPage)
		}
		var value [4]byte
		copy(value[:], r.data[:size])
		r.value, r.data = binary.LittleEndian.Uint32(value[:]), r.data[size:]
		return nil
	}
	size := len(r.data) // the last group may be cut where its values end
	if groups := r.left; r.width > 0 && groups <= uint64(size/r.width) {
		size = int(groups) * r.width
	}
	r.packed = &unpacker{data: r.data[:size], width: r.width}
	if r.width == 0 {
		size = 0
	}
	r.data = r.data[size:]
	if r.left > math.MaxUint64/8 {
		return fmt.Errorf("%w: a run is too long", errPage)
	}
	r.left *= 8
	return nil
}

// cells gives the reader of an element's values; nil for truth values, which are bits,
// and for types that are not looked at.
func (e *schemaElement) cells() cellReader {
	if !e.plain() {
		return nil
	}
	unsigned := e.unsigned || e.converted >= 11 && e.converted <= 14
	switch {
	case e.physical == physicalByteArray:
		return readText
	case e.physical == physicalInt32 && unsigned:
		return fixed(4, func(b []byte) string { return strconv.FormatUint(uint64(binary.LittleEndian.Uint32(b)), 10) })
	case e.physical == physicalInt32:
		return fixed(4, func(b []byte) string { return strconv.FormatInt(int64(int32(binary.LittleEndian.Uint32(b))), 10) })
	case e.physical == physicalInt64 && unsigned:
		return fixed(8, func(b []byte) string { return strconv.FormatUint(binary.LittleEndian.Uint64(b), 10) })
	case e.physical == physicalInt64:
		return fixed(8, func(b []byte) string { return strconv.FormatInt(int64(binary.LittleEndian.Uint64(b)), 10) })
	case e.physical == physicalFloat:
		return fixed(4, func(b []byte) string {
			return strconv.FormatFloat(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 'g', -1, 32)
		})
	case e.physical == physicalDouble:
		return fixed(8, func(b []byte) string {
			return strconv.FormatFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)), 'g', -1, 64)
		})
	default:
		return nil
	}
}

// plain tells whether values mean what their physical type says: they are no times, no
// decimal numbers and no packed structures. Texts without the annotation that they are
// UTF-8, as old programs write them, are texts.
func (e *schemaElement) plain() bool {
	if e.logical >= 0 {
		return slices.Contains([]int{1, 4, 10, 12}, e.logical) // STRING, ENUM, INTEGER, JSON
	}
	return slices.Contains([]int{-1, 0, 4, 11, 12, 13, 14, 15, 16, 17, 18, 19}, e.converted) // none, UTF8, ENUM, UINT_8 to INT_64, JSON
}

func readText(data []byte) (Cell, int, error) {
	if len(data) < 4 {
		return Cell{}, 0, fmt.Errorf("%w: it has too few values", errPage)
	}
	size := int64(binary.LittleEndian.Uint32(data))
	if size > int64(len(data)-4) {
		return Cell{}, 0, fmt.Errorf("%w: a text of %d bytes is longer than the page", errPage, size)
	}
	return Cell{Text, string(data[4 : 4+size])}, int(4 + size), nil
}

func fixed(size int, text func([]byte) string) cellReader {
	return func(data []byte) (Cell, int, error) {
		if len(data) < size {
			return Cell{}, 0, fmt.Errorf("%w: it has too few values", errPage)
		}
		return Cell{Number, text(data[:size])}, size, nil
	}
}
