package tokenizer

import (
	"fmt"
	"unicode/utf8"
)

// Fragment is a text between two stages, with the span that each of its bytes stands for; all bytes of a character
// have the same span.
type Fragment struct {
	Text  string
	Spans []Span
}

// Normalize runs only the normaliser on text, as one piece: added tokens are not looked for. Invalid UTF-8 is handled as
// in Encode. It fails with ErrTextTooLong for a text above DefaultMaxBytes.
//
// Normalize, PreTokenize and Tokenize exist for pipelines other than this package's; Encode does not allocate so much.
func (t *Tokenizer) Normalize(text string) (Fragment, error) {
	if _, err := t.bodyLimit(text, Options{}); err != nil {
		return Fragment{}, fmt.Errorf("normalize: %w", err)
	}
	var r repairer
	valid := utf8.ValidString(text)
	if !valid {
		text = r.run(text)
	}
	var a, spare aligned
	t.norm.run(&a, &spare, text, 0)
	if !valid {
		r.restore(a.spans)
	}
	return Fragment{string(a.text), a.spans}, nil
}

// PreTokenize cuts a normalised text into the units for Tokenize, with the word markers in them. It fails with ErrText
// unless f is UTF-8 and has a span for each byte.
func (t *Tokenizer) PreTokenize(f Fragment) ([]Fragment, error) {
	if len(f.Text) != len(f.Spans) || !utf8.ValidString(f.Text) {
		return nil, fmt.Errorf("pre-tokenize: %w: %d bytes with %d spans", ErrText, len(f.Text), len(f.Spans))
	}
	var units []Fragment
	var buf aligned
	t.pre.split(&aligned{[]byte(f.Text), f.Spans}, &buf, func(text []byte, spans []Span) bool {
		units = append(units, Fragment{string(text), append([]Span(nil), spans...)})
		return true
	})
	return units, nil
}

// Tokenize runs only the model on one unit; offsets are in the unit. It fails with ErrTextTooLong for a unit above
// DefaultMaxBytes, and with ErrText for one that is not UTF-8.
func (t *Tokenizer) Tokenize(unit string) (*Encoding, error) {
	if _, err := t.bodyLimit(unit, Options{}); err != nil {
		return nil, fmt.Errorf("tokenize: %w", err)
	}
	if !utf8.ValidString(unit) {
		return nil, fmt.Errorf("tokenize: %w: not UTF-8", ErrText)
	}
	e := &Encoding{}
	enc := t.encoder(e, noLimit)
	defer t.release(enc)
	var a aligned
	for i, r := range unit {
		a.appendRune(r, Span{int32(i), int32(i + utf8.RuneLen(r))})
	}
	enc.viterbi(a.text, a.spans)
	e.bodyEnd = len(e.IDs)
	return e, nil
}
