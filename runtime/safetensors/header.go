package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// maxHeader bounds the JSON header in bytes, as the reference implementation does.
const maxHeader = 100_000_000

// metadataKey is the header's one member that is not a tensor.
const metadataKey = "__metadata__"

// entry is what the header says of one tensor. The offsets count from the end of
// the header and are not negative.
type entry struct {
	name       string
	dtype      DType
	shape      []int64
	begin, end int64
}

// header is a parsed header that has not been held against the data.
type header struct {
	entries  []entry
	metadata map[string]string // nil where the file has none
}

// split cuts a file into its JSON header and its data.
func split(file []byte) (head, data []byte, err error) {
	if len(file) < 8 {
		return nil, nil, fmt.Errorf("%d bytes are too few for a header length; the file may be truncated", len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	rest := file[8:]
	switch {
	case n > maxHeader:
		return nil, nil, fmt.Errorf("header length %d is above the limit of %d bytes; this may not be a safetensors file", n, maxHeader)
	case n > uint64(len(rest)):
		return nil, nil, fmt.Errorf("header length %d reaches beyond the %d bytes that follow; the file may be truncated", n, len(rest))
	}
	return rest[:n], rest[n:], nil
}

// parseHeader reads the JSON header. The decoder refuses members that are given twice, and
// invalid UTF-8.
func parseHeader(head []byte) (*header, error) {
	d := jsontext.NewDecoder(bytes.NewReader(head))
	h := &header{}
	err := object(d, func(name string) (err error) {
		if name == metadataKey {
			h.metadata, err = metadata(d)
			return err
		}
		e, err := tensorEntry(d, name)
		h.entries = append(h.entries, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("header: something follows the JSON object")
	}
	return h, nil
}

// object reads one JSON object, calling member after each of its keys to read the
// value. Errors name the key.
func object(d *jsontext.Decoder, member func(key string) error) error {
	if err := begin(d, jsontext.KindBeginObject); err != nil {
		return err
	}
	for d.PeekKind() != jsontext.KindEndObject {
		t, err := d.ReadToken()
		if err != nil {
			return err
		}
		key := t.String()
		if err := member(key); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	_, err := d.ReadToken()
	return err
}

// begin reads the token that an object or array begins with.
func begin(d *jsontext.Decoder, want jsontext.Kind) error {
	t, err := d.ReadToken()
	if err == nil && t.Kind() != want {
		err = unexpected(string(rune(want)), t)
	}
	return err
}

func unexpected(want string, found jsontext.Token) error {
	return fmt.Errorf("expected %s, found %v", want, found)
}

// metadata reads an object of strings.
func metadata(d *jsontext.Decoder) (map[string]string, error) {
	out := map[string]string{}
	err := object(d, func(key string) (err error) {
		out[key], err = text(d)
		return err
	})
	return out, err
}

func text(d *jsontext.Decoder) (string, error) {
	t, err := d.ReadToken()
	if err != nil {
		return "", err
	}
	if t.Kind() != jsontext.KindString {
		return "", unexpected("a string", t)
	}
	return t.String(), nil
}

func tensorEntry(d *jsontext.Decoder, name string) (entry, error) {
	e := entry{name: name}
	var offsets []int64
	err := object(d, func(key string) (err error) {
		switch key {
		case "dtype":
			var s string
			s, err = text(d)
			e.dtype = DType(s)
		case "shape":
			e.shape, err = integers(d)
		case "data_offsets":
			offsets, err = integers(d)
		default:
			err = errors.New("unknown member (dtype, shape and data_offsets are known)")
		}
		return err
	})
	switch {
	case err != nil:
		return e, err
	case e.dtype.Size() == 0:
		return e, fmt.Errorf("dtype %q is not supported", e.dtype)
	case e.shape == nil:
		return e, errors.New("shape is missing")
	case len(offsets) != 2:
		return e, fmt.Errorf("data_offsets hold %d numbers instead of 2", len(offsets))
	}
	e.begin, e.end = offsets[0], offsets[1]
	return e, nil
}

// integers reads an array of integers that are not negative. The result is never
// nil without an error.
func integers(d *jsontext.Decoder) ([]int64, error) {
	if err := begin(d, jsontext.KindBeginArray); err != nil {
		return nil, err
	}
	out := []int64{}
	for d.PeekKind() != jsontext.KindEndArray {
		t, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseInt(t.String(), 10, 64)
		if err != nil || n < 0 || t.Kind() != jsontext.KindNumber {
			return nil, unexpected("an integer from 0 to 2^63-1", t)
		}
		out = append(out, n)
	}
	_, err := d.ReadToken()
	return out, err
}

// checkLayout sorts the entries by place and checks that they fill size bytes of
// data exactly, each as long as its shape asks, without overlap, gap or rest.
func (h *header) checkLayout(size int64) error {
	slices.SortFunc(h.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.name, b.name))
	})
	var next int64
	for _, e := range h.entries {
		if err := e.check(next, size); err != nil {
			return fmt.Errorf("tensor %q: data_offsets [%d, %d]: %w", e.name, e.begin, e.end, err)
		}
		next = e.end
	}
	if next != size {
		return fmt.Errorf("%d bytes follow the last tensor", size-next)
	}
	return nil
}

// check holds an entry against the place where it must begin and the size of the
// data.
func (e entry) check(begin, size int64) error {
	want, err := byteLen(e.dtype, e.shape)
	switch {
	case err != nil:
		return err
	case e.begin > e.end:
		return errors.New("the end lies before the beginning")
	case e.end > size:
		return fmt.Errorf("the end lies beyond the %d bytes of data; the file may be truncated", size)
	case e.begin < begin:
		return fmt.Errorf("overlaps the tensor that ends at %d", begin)
	case e.begin > begin:
		return fmt.Errorf("leaves a hole after %d", begin)
	case e.end-e.begin != want:
		return fmt.Errorf("shape %v of %s needs %d bytes, not %d", e.shape, e.dtype, want, e.end-e.begin)
	}
	return nil
}
