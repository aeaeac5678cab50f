package handlers

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"

	"valence/adapters/datasets/table"
)

// decodeText gives a text of an encoding, by any of the names that the web knows it by,
// in UTF-8. "" is UTF-8, which is handed on as it is. Reading fails where a byte stands
// for nothing in the encoding, with an error that wraps table.ErrEncoding.
func decodeText(r io.Reader, name string) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return r, nil
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil, fmt.Errorf("%.100q is no known encoding; windows-1252, iso-8859-1, utf-16, shift_jis and gb18030 are some", name)
	}
	return &decodedText{r: transform.NewReader(r, e.NewDecoder()), name: name, line: 1}, nil
}

// decodedText refuses the character that decoders write for what they cannot read.
type decodedText struct {
	r    io.Reader
	name string
	line int
	rest []byte // beginning of a character at the end of what was read
}

func (d *decodedText) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	text := append(d.rest, p[:n]...)
	if i := bytes.IndexRune(text, utf8.RuneError); i >= 0 && bytes.HasPrefix(text[i:], replacement) {
		d.line += bytes.Count(text[min(len(d.rest), i):i], []byte{'\n'})
		return 0, fmt.Errorf("%w: line %d: it holds what is no character of %s", table.ErrEncoding, d.line, d.name)
	}
	d.line += bytes.Count(text[len(d.rest):], []byte{'\n'})
	d.rest = append([]byte(nil), text[max(0, len(text)-len(replacement)+1):]...)
	return n, err
}

var replacement = []byte(string(utf8.RuneError))
