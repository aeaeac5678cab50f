package table

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// parquetColumn is a column at the top of the schema, and where its reading is.
type parquetColumn struct {
	name     string
	leaf     int // number among the leaves of the schema
	optional bool
	nested   bool
	boolean  bool
	cells    cellReader

	in         *bufio.Reader // of the row group
	codec      int64
	left       int64 // values in the row group that are in no page yet
	dictionary []Cell
	page       struct {
		left   int64
		levels *runs // nil if no value can be null
		values values
	}
	packed, unpacked []byte // kept to be used again
	zstd             *zstd.Decoder
}

// maxHeader bounds a page's header, which may hold statistics.
const maxHeader = 1 << 16

// open begins with a row group.
func (c *parquetColumn) open(in io.ReaderAt, size int64, g *rowGroup) error {
	chunk := g.chunks[c.leaf]
	switch {
	case chunk.elsewhere:
		return errors.New("its values are in another file")
	case chunk.values != g.rows:
		return fmt.Errorf("%w: it has %d values in %d rows", errThrift, chunk.values, g.rows)
	case chunk.start < 0 || chunk.bytes < 0 || chunk.start > size-chunk.bytes:
		return fmt.Errorf("%w: it is said to stand beyond the file's end", errThrift)
	}
	c.in = bufio.NewReaderSize(io.NewSectionReader(in, chunk.start, chunk.bytes), maxHeader)
	c.codec, c.left, c.dictionary = chunk.codec, chunk.values, nil
	c.page.left = 0
	return nil
}

// next gives the next value of the row group. There must be one.
func (c *parquetColumn) next(maxPage int64) (Cell, error) {
	for c.page.left == 0 {
		if err := c.nextPage(maxPage); err != nil {
			return Cell{}, err
		}
	}
	c.page.left--
	if c.page.levels != nil {
		level, err := c.page.levels.next()
		if err != nil {
			return Cell{}, err
		}
		if level == 0 {
			return Cell{Kind: Null}, nil
		}
	}
	return c.page.values.next()
}

func (c *parquetColumn) nextPage(maxPage int64) error {
	head, err := c.in.Peek(maxHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrRead, err)
	}
	h, length, err := parsePageHeader(head)
	if err != nil {
		return fmt.Errorf("header of a page: %w", err)
	}
	if h.size < 0 || h.packed < 0 || h.values < 0 {
		return fmt.Errorf("%w: it has %d bytes and %d values", errPage, h.size, h.values)
	}
	if max(h.size, h.packed) > maxPage {
		return fmt.Errorf("a page has %d bytes; at most %d are allowed: write the file with smaller pages or row groups", max(h.size, h.packed), maxPage)
	}
	_, _ = c.in.Discard(length) // it was peeked at
	data := resize(&c.packed, h.packed)
	if _, err := io.ReadFull(c.in, data); err != nil {
		return fmt.Errorf("%w: it is cut: %w", errPage, err)
	}
	if h.checked && crc32.ChecksumIEEE(data) != h.checksum {
		return fmt.Errorf("%w: its checksum is another", errPage)
	}
	return c.openPage(&h, data)
}

func resize(buffer *[]byte, n int64) []byte {
	if int64(cap(*buffer)) < n {
		*buffer = make([]byte, n)
	}
	return (*buffer)[:n]
}

func (c *parquetColumn) openPage(h *pageHeader, data []byte) error {
	switch h.kind {
	case dictionaryPage:
		return c.readDictionary(h, data)
	case dataPage, dataPageV2:
	case indexPage:
		return nil
	default:
		return fmt.Errorf("%w: there are no pages of kind %d", errPage, h.kind)
	}
	if c.left -= h.values; c.left < 0 {
		return fmt.Errorf("%w: the pages have more values than the row group", errPage)
	}
	split := c.splitV1
	if h.kind == dataPageV2 {
		split = c.splitV2
	}
	levels, data, err := split(h, data)
	if err != nil {
		return err
	}
	c.page.left, c.page.levels = h.values, nil
	if c.optional {
		c.page.levels = &runs{data: levels, width: 1}
	}
	c.page.values, err = c.decode(h, data)
	return err
}

// splitV1 parts levels and values of a page that is packed as a whole.
func (c *parquetColumn) splitV1(h *pageHeader, data []byte) (levels, values []byte, err error) {
	if values, err = c.unpack(data, h.size); err != nil || !c.optional {
		return nil, values, err
	}
	if h.levelEncoding != encodingRLE {
		return nil, nil, fmt.Errorf("nulls are marked in encoding %d, which is not supported; write the file with a newer program", h.levelEncoding)
	}
	return prefixed(values)
}

// splitV2 parts levels and values where only values are packed.
func (c *parquetColumn) splitV2(h *pageHeader, data []byte) (levels, values []byte, err error) {
	if h.repetition < 0 || h.definition < 0 || h.repetition+h.definition > min(int64(len(data)), h.size) {
		return nil, nil, fmt.Errorf("%w: its levels are longer than it", errPage)
	}
	levels, values = data[h.repetition:h.repetition+h.definition], data[h.repetition+h.definition:]
	if !h.uncompressedValues {
		values, err = c.unpack(values, h.size-h.repetition-h.definition)
	}
	return levels, values, err
}

// prefixed parts bytes from others by the length that stands before them.
func prefixed(data []byte) (first, rest []byte, err error) {
	if len(data) < 4 || int64(binary.LittleEndian.Uint32(data)) > int64(len(data)-4) {
		return nil, nil, fmt.Errorf("%w: it is shorter than its parts", errPage)
	}
	n := 4 + binary.LittleEndian.Uint32(data)
	return data[4:n], data[n:], nil
}

// Encodings of values.
const (
	encodingPlain           = 0
	encodingPlainDictionary = 2
	encodingRLE             = 3
	encodingRLEDictionary   = 8
)

func (c *parquetColumn) decode(h *pageHeader, data []byte) (values, error) {
	switch {
	case c.cells == nil && !c.boolean:
		return others{}, nil
	case h.encoding == encodingPlain && c.boolean:
		return &bits{unpacker{data: data, width: 1}}, nil
	case h.encoding == encodingPlain:
		return &plainValues{data, c.cells}, nil
	case h.encoding == encodingRLE && c.boolean:
		data, _, err := prefixed(data)
		return &flags{runs{data: data, width: 1}}, err
	case h.encoding == encodingRLEDictionary || h.encoding == encodingPlainDictionary:
		if len(data) == 0 {
			return &chosen{}, nil // all are null
		}
		width := int(data[0])
		if width > 32 {
			return nil, fmt.Errorf("%w: numbers of %d bits", errPage, width)
		}
		return &chosen{c.dictionary, runs{data: data[1:], width: width}}, nil
	default:
		return nil, fmt.Errorf("its values have encoding %d, which is not supported; write the file with plain or dictionary encoding", h.encoding)
	}
}

func (c *parquetColumn) readDictionary(h *pageHeader, data []byte) error {
	data, err := c.unpack(data, h.size)
	if err != nil || c.cells == nil {
		return err
	}
	c.dictionary = nil
	plain := plainValues{data, c.cells}
	for range h.values {
		cell, err := plain.next()
		if err != nil {
			return fmt.Errorf("dictionary: %w", err)
		}
		c.dictionary = append(c.dictionary, cell)
	}
	return nil
}

// unpack gives the bytes of a page, which must be as many as its header says.
func (c *parquetColumn) unpack(data []byte, size int64) ([]byte, error) {
	const plain, snappyCodec, gzipCodec, zstdCodec = 0, 1, 2, 6
	var out []byte
	var err error
	switch {
	case len(data) == 0 && size == 0: // of a page of nulls
	case c.codec == plain:
		out = data
	case c.codec == snappyCodec:
		out, err = unpackSnappy(data, resize(&c.unpacked, size))
	case c.codec == gzipCodec:
		out, err = unpackGzip(data, resize(&c.unpacked, size))
	case c.codec == zstdCodec:
		out, err = c.unpackZstd(data, resize(&c.unpacked, size))
	default:
		return nil, fmt.Errorf("it is packed by codec %d, which is not supported; write the file with snappy, gzip, zstd or none", c.codec)
	}
	if err == nil && int64(len(out)) != size {
		err = errors.New("it has another size")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: unpacked: %w", errPage, err)
	}
	return out, nil
}

func unpackSnappy(data, into []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(data)
	if err == nil && n != len(into) {
		err = errors.New("it has another size")
	}
	if err != nil {
		return nil, err
	}
	return snappy.Decode(into, data)
}

func unpackGzip(data, into []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(r, into); err != nil {
		return nil, err
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return nil, errors.Join(errors.New("it goes on after its end"), err)
	}
	return into, nil
}

func (c *parquetColumn) unpackZstd(data, into []byte) (_ []byte, err error) {
	if c.zstd == nil {
		if c.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true)); err != nil {
			return nil, err
		}
	}
	return c.zstd.DecodeAll(data, into[:0:len(into)])
}
