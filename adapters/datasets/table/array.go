package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// arrayScanner gives the elements of one JSON array. Past a mistake in it nothing more
// can be told apart.
type arrayScanner struct {
	decoder *jsontext.Decoder
	budget  *budget
	lines   *lineCounter
}

func newArrayScanner(in *textInput, line int) (*arrayScanner, error) {
	counter := &lineCounter{r: in, line: line}
	s := &arrayScanner{
		// Whether names are there twice, and UTF-8, is each object's own matter.
		decoder: jsontext.NewDecoder(counter, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)),
		budget:  in.budget, lines: counter,
	}
	if _, err := s.decoder.ReadToken(); err != nil {
		return nil, fmt.Errorf("%w: line %d: %w", ErrFile, line, err)
	}
	return s, nil
}

func (s *arrayScanner) next() ([]byte, int, error) {
	s.budget.renew()
	if s.decoder.PeekKind() == ']' {
		return nil, 0, s.end()
	}
	value, err := s.decoder.ReadValue()
	offset := s.decoder.InputOffset()
	if err != nil {
		if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
			offset = syntax.ByteOffset
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, s.lines.at(offset), fmt.Errorf("the array of rows is broken: %w", err)
	}
	return value, s.lines.at(offset - int64(len(value))), nil
}

// end checks that nothing follows the array.
func (s *arrayScanner) end() error {
	if _, err := s.decoder.ReadToken(); err != nil {
		return err
	}
	_, err := s.decoder.ReadToken()
	if _, syntax := errors.AsType[*jsontext.SyntacticError](err); err == nil || syntax {
		return errors.New("something follows the array of rows")
	}
	return err
}

// lineCounter tells the line of an offset of what is read through it. It remembers the
// line ends between the last offset asked for and what was read.
type lineCounter struct {
	r    io.Reader
	read int64
	line int     // of the last offset asked for
	ends []int64 // offsets of line ends after it
}

func (c *lineCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i := 0; i < n; i++ {
		next := bytes.IndexByte(p[i:n], '\n')
		if next < 0 {
			break
		}
		i += next
		c.ends = append(c.ends, c.read+int64(i))
	}
	c.read += int64(n)
	return n, err
}

// at gives the line of an offset that is not before the last one asked for.
func (c *lineCounter) at(offset int64) int {
	passed := 0
	for passed < len(c.ends) && c.ends[passed] < offset {
		passed++
	}
	c.line += passed
	c.ends = c.ends[passed:]
	return c.line
}
