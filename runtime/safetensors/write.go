package safetensors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Write writes tensors in one file. The same tensors in any order give the same
// bytes: those that the safetensors library 0.8.0 for Python writes, which sorts by
// element type, widest first, then by name. With several metadata entries that
// library's order is random; here the keys are sorted. A nil metadata is left out.
//
// Errors wrap ErrFormat and name the tensor where a name is not valid UTF-8,
// reserved or given twice, an element type is not supported, or a shape does not
// fit its data; nothing has been written then. Other errors are w's.
func Write(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	sorted := slices.SortedFunc(slices.Values(tensors), func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(b.DType.rank(), a.DType.rank()), cmp.Compare(a.Name, b.Name))
	})
	if err := checkAll(sorted, metadata); err != nil {
		return fmt.Errorf("%w: write: %w", ErrFormat, err)
	}
	head := appendHeader(nil, sorted, metadata)
	if len(head) > maxHeader {
		return fmt.Errorf("%w: write: the header needs %d bytes, above the limit of %d", ErrFormat, len(head), maxHeader)
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(head)))); err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, t := range sorted {
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}

func checkAll(tensors []Tensor, metadata map[string]string) error {
	seen := make(map[string]bool, len(tensors))
	for _, t := range tensors {
		err := t.check()
		switch {
		case !utf8.ValidString(t.Name):
			err = errors.New("the name is not valid UTF-8")
		case t.Name == metadataKey:
			err = errors.New("the name is reserved")
		case seen[t.Name]:
			err = errors.New("the name is given twice")
		}
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		seen[t.Name] = true
	}
	for k, v := range metadata {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("metadata %q: not valid UTF-8", k)
		}
	}
	return nil
}

// appendHeader writes the JSON header, padded with spaces to a multiple of eight
// bytes so that the data begins aligned.
func appendHeader(b []byte, sorted []Tensor, metadata map[string]string) []byte {
	b = append(b, '{')
	if metadata != nil {
		b = appendMetadata(b, metadata)
	}
	var begin int64
	for _, t := range sorted {
		end := begin + int64(len(t.Data))
		b = appendString(separate(b), t.Name)
		b = append(b, `:{"dtype":"`...)
		b = append(b, t.DType...)
		b = append(b, `","shape":`...)
		b = appendIntegers(b, t.Shape)
		b = append(b, `,"data_offsets":`...)
		b = appendIntegers(b, []int64{begin, end})
		b = append(b, '}')
		begin = end
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	return b
}

func appendMetadata(b []byte, metadata map[string]string) []byte {
	b = append(appendString(b, metadataKey), `:{`...)
	for _, k := range slices.Sorted(maps.Keys(metadata)) {
		b = append(appendString(separate(b), k), ':')
		b = appendString(b, metadata[k])
	}
	return append(b, '}')
}

// separate appends a comma, unless an object has just begun.
func separate(b []byte) []byte {
	if b[len(b)-1] == '{' {
		return b
	}
	return append(b, ',')
}

func appendIntegers(b []byte, values []int64) []byte {
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, v, 10)
	}
	return append(b, ']')
}

// appendString quotes s as the reference implementation's JSON library does. Unlike
// encoding/json it leaves everything from the space on as it is, U+2028 included.
func appendString(b []byte, s string) []byte {
	const short = "\bb\tt\nn\ff\rr\"\"\\\\" // pairs of a character and its escape
	b = append(b, '"')
next:
	for i := range len(s) {
		c := s[i]
		for j := 0; j < len(short); j += 2 {
			if c == short[j] {
				b = append(b, '\\', short[j+1])
				continue next
			}
		}
		if c < ' ' {
			b = fmt.Appendf(b, `\u%04x`, c)
			continue
		}
		b = append(b, c)
	}
	return append(b, '"')
}
