package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// valueScanner gives JSON values one after another.
type valueScanner interface {
	// next gives a value, which is valid until the next call, and the line where it
	// begins, or io.EOF.
	next() (value []byte, line int, err error)
}

type jsonReader struct {
	values  valueScanner
	objects objectParser
	chosen  []string
	first   *Record // read already, to learn the keys
	members members // of first
	row     int
}

// members are an object's values, by key, as they are written.
type members []member

type member struct {
	key   string
	value jsontext.Value
}

func (m members) get(key string) (jsontext.Value, bool) {
	i := slices.IndexFunc(m, func(m member) bool { return m.key == key })
	if i < 0 {
		return nil, false
	}
	return m[i].value, true
}

func openJSON(in *textInput) (*jsonReader, error) {
	j := &jsonReader{}
	in.budget.renew()
	start, line, err := skipSpace(in)
	switch {
	case errors.Is(err, io.EOF):
		return nil, ErrEmpty
	case err != nil:
		return nil, fmt.Errorf("%w: line %d: %w", ErrFile, line, err)
	case start == '[':
		j.values, err = newArrayScanner(in, line)
	default:
		lines := newLines(in)
		lines.number = line - 1
		j.values = &lineScanner{lines}
	}
	if err != nil {
		return nil, err
	}
	j.first, j.members, err = j.read()
	if errors.Is(err, io.EOF) {
		return nil, ErrEmpty
	}
	return j, err
}

// skipSpace gives the first character that is no space, which is not read, and its line.
func skipSpace(in *textInput) (c byte, line int, err error) {
	for line = 1; ; {
		c, err := in.ReadByte()
		switch {
		case err != nil:
			return 0, line, err
		case c == '\n':
			line++
		case c != ' ' && c != '\t' && c != '\r':
			return c, line, in.UnreadByte()
		}
	}
}

// Columns are the keys of the first row; none, if that is broken.
func (j *jsonReader) Columns() []string {
	if j.first == nil {
		return nil
	}
	return slices.Clone(j.first.Keys)
}

// Select accepts every name: objects may differ in their keys.
func (j *jsonReader) Select(names ...string) error {
	j.chosen = names
	return nil
}

func (j *jsonReader) Next() (*Record, error) {
	r, m := j.first, j.members
	j.first, j.members = nil, nil
	if r == nil {
		var err error
		if r, m, err = j.read(); err != nil {
			return nil, err
		}
	}
	if r.Err == nil {
		r.Err = fill(r, m, j.chosen)
	}
	return r, nil
}

func (j *jsonReader) read() (*Record, members, error) {
	value, line, err := j.values.next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil, io.EOF
	case err != nil:
		return nil, nil, fmt.Errorf("%w: line %d: %w", ErrFile, line, err)
	}
	j.row++
	r := &Record{Row: j.row, Line: line}
	if err := checkUTF8(string(value)); err != nil {
		r.Err = err
		return r, nil, nil
	}
	m, err := j.objects.parse(value)
	if err != nil {
		r.Err = fmt.Errorf("not a JSON object: %w", err)
		return r, nil, nil
	}
	r.Object = slices.Clone(value)
	for _, member := range m {
		r.Keys = append(r.Keys, member.key)
	}
	return r, m, nil
}

func fill(r *Record, m members, chosen []string) error {
	r.Cells = make([]Cell, len(chosen))
	for i, name := range chosen {
		value, ok := m.get(name)
		if !ok {
			r.Cells[i].Kind = Missing
			continue
		}
		cell, err := cellOf(value)
		if err != nil {
			return &CellError{name, err}
		}
		r.Cells[i] = cell
	}
	return nil
}

func cellOf(value jsontext.Value) (Cell, error) {
	switch value.Kind() {
	case '"':
		text, err := jsontext.AppendUnquote(nil, value)
		return Cell{Text, string(text)}, err
	case '0':
		return Cell{Number, string(value)}, nil
	case 't', 'f':
		return Cell{Boolean, string(value)}, nil
	case 'n':
		return Cell{Kind: Null}, nil
	default:
		return Cell{Kind: Other}, nil
	}
}

// objectParser splits objects into their members. Names that are there twice are an error.
type objectParser struct {
	input   bytes.Reader
	decoder *jsontext.Decoder
}

func (p *objectParser) parse(value []byte) (members, error) {
	p.input.Reset(value)
	if p.decoder == nil {
		p.decoder = jsontext.NewDecoder(&p.input)
	} else {
		p.decoder.Reset(&p.input)
	}
	if kind := p.decoder.PeekKind(); kind != '{' && kind != 0 {
		return nil, fmt.Errorf("it is a %s", kindName(kind))
	}
	if _, err := p.decoder.ReadToken(); err != nil {
		return nil, err
	}
	var out members
	for p.decoder.PeekKind() != '}' {
		key, err := p.decoder.ReadToken()
		if err != nil {
			return nil, err
		}
		name := key.String() // the token is not valid after the next call
		value, err := p.decoder.ReadValue()
		if err != nil {
			return nil, err
		}
		out = append(out, member{name, value.Clone()})
	}
	if _, err := p.decoder.ReadToken(); err != nil {
		return nil, err
	}
	if _, err := p.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return out, nil
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '[':
		return "list"
	case '"':
		return "text"
	case '0':
		return "number"
	default:
		return k.String()
	}
}

// lineScanner takes each line for a value. Lines without any are skipped.
type lineScanner struct{ lines *lines }

func (s *lineScanner) next() ([]byte, int, error) {
	for {
		line, err := s.lines.next()
		if err != nil {
			return nil, s.lines.number, err
		}
		if len(bytes.TrimSpace(line)) > 0 {
			return line, s.lines.number, nil
		}
	}
}
