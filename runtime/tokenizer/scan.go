package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// scanner walks a JSON document once, so that the quarter of a million entries of a vocabulary are read without an
// intermediate form and without the two passes that encoding/json makes over a document before it decodes any of it.
// It checks what it reads; values that it skips are left to encoding/json.
type scanner struct {
	data []byte
	pos  int
}

var errEnd = errors.New("unexpected end")

// peek returns the next byte that is not white space, or 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\n', '\r', '\t':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) expect(c byte) error {
	got := s.peek()
	switch {
	case s.pos >= len(s.data):
		return errEnd
	case got != c:
		return fmt.Errorf("byte %d is %q, want %q", s.pos, got, c)
	}
	s.pos++
	return nil
}

// list reads OPEN item, item ... CLOSE.
func (s *scanner) list(open, end byte, item func() error) error {
	if err := s.expect(open); err != nil {
		return err
	}
	if s.peek() == end {
		s.pos++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.pos++
			continue
		}
		return s.expect(end)
	}
}

// object calls member with each key, the scanner being at its value. A key that comes twice is an error.
func (s *scanner) object(member func(key string) error) error {
	seen := map[string]bool{}
	return s.list('{', '}', func() error {
		raw, err := s.rawString()
		if err != nil {
			return err
		}
		var key string
		if err := json.Unmarshal(raw, &key); err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("key %q comes twice", key)
		}
		seen[key] = true
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := member(key); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
}

// rawString returns a string as it stands, quotes included.
func (s *scanner) rawString() ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	start := s.pos - 1
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case '"':
			s.pos++
			return s.data[start:s.pos], nil
		case '\\':
			s.pos++
		}
		s.pos++
	}
	return nil, errEnd
}

// rawValue returns a value as it stands. Only its extent is found: brackets are counted, strings are passed over.
func (s *scanner) rawValue() ([]byte, error) {
	s.peek()
	start, depth := s.pos, 0
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case '"':
			if _, err := s.rawString(); err != nil {
				return nil, err
			}
			continue
		case '{', '[':
			depth++
		case '}', ']', ',':
			if depth == 0 {
				return s.data[start:s.pos], nil
			}
			if c != ',' {
				depth--
			}
		}
		s.pos++
	}
	if depth > 0 {
		return nil, errEnd
	}
	return s.data[start:], nil
}

// appendString appends the string at the scanner to dst.
func (s *scanner) appendString(dst []byte) ([]byte, error) {
	raw, err := s.rawString()
	if err != nil {
		return nil, err
	}
	body := raw[1 : len(raw)-1]
	plain := true
	for _, c := range body {
		if c == '\\' || c < ' ' {
			plain = false
		}
	}
	if plain && utf8.Valid(body) {
		return append(dst, body...), nil
	}
	var text string
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("string %q is not UTF-8", body)
	}
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, err
	}
	return append(dst, text...), nil
}

// number reads a number as the oracle does; see parseScore.
func (s *scanner) number() (float64, error) {
	s.peek()
	start := s.pos
	for s.pos < len(s.data) && isNumberByte(s.data[s.pos]) {
		s.pos++
	}
	v, err := parseScore(s.data[start:s.pos])
	if err != nil {
		return 0, fmt.Errorf("byte %d: %w", start, err)
	}
	return v, nil
}

func isNumberByte(c byte) bool {
	return c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}
