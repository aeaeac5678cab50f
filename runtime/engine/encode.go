package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"valence/runtime/tokenizer"
)

// userText are the options for text that users wrote: it must not be able to
// spell the end marker.
var userText = tokenizer.Options{AddSpecial: true, ForbidSpecial: true}

// encode gives the ids of text within the task's template, at most
// Options.MaxTokens of them, and tells whether text had to be cut for it.
func (e *Engine) encode(task *Task, text string, truncate bool) (ids []int32, cut bool, err error) {
	if err := checkText(text); err != nil {
		return nil, false, err
	}
	o := userText
	if truncate && task.template == (template{}) {
		o.MaxTokens = e.opts.MaxTokens // the tokenizer cuts as transformers does
	}
	enc, err := e.tokenize(task.template.fill(text), o)
	if err != nil {
		return nil, false, err
	}
	cut = enc.Truncated
	if n := len(enc.IDs); n > e.opts.MaxTokens {
		if !truncate {
			return nil, false, &TooLongError{Tokens: n, Limit: e.opts.MaxTokens}
		}
		if enc, err = e.shorten(task, text, enc); err != nil {
			return nil, false, err
		}
		cut = true
	}
	if slices.Equal(enc.IDs, task.blank) {
		return nil, false, ErrEmptyText
	}
	return enc.IDs, cut, nil
}

func checkText(text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("%w: byte %d is not UTF-8", ErrInvalidText, invalidAt(text))
	}
	if strings.TrimSpace(text) == "" {
		return ErrEmptyText
	}
	return nil
}

// invalidAt is the offset of the first byte that is not UTF-8.
func invalidAt(text string) int {
	for i, r := range text {
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD") {
			return i
		}
	}
	return len(text)
}

func (e *Engine) tokenize(text string, o tokenizer.Options) (*tokenizer.Encoding, error) {
	enc, err := e.tok.Encode(text, o)
	switch {
	case errors.Is(err, tokenizer.ErrTextTooLong):
		return nil, fmt.Errorf("%w: %w", ErrTooLong, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrInvalidText, err)
	}
	return enc, nil
}

// shorten cuts the end of text, not of the template, until both fit. enc is
// their encoding. The cut lies where a token begins. What is left is encoded
// again, since its last word may now be read otherwise; each round takes one
// token or more, so few rounds are needed and all end.
func (e *Engine) shorten(task *Task, text string, enc *tokenizer.Encoding) (*tokenizer.Encoding, error) {
	tokens := len(enc.IDs)
	for len(enc.IDs) > e.opts.MaxTokens {
		text = text[:cutAt(enc, len(task.template.before), len(text), len(enc.IDs)-e.opts.MaxTokens)]
		if text == "" {
			return nil, &TooLongError{Tokens: tokens, Limit: e.opts.MaxTokens}
		}
		var err error
		if enc, err = e.tokenize(task.template.fill(text), userText); err != nil {
			return nil, err
		}
	}
	return enc, nil
}

// cutAt is the offset, in a text of size bytes that begins at byte start of what
// was encoded, at which the n-th last of its tokens begins; 0 if it has fewer.
func cutAt(enc *tokenizer.Encoding, start, size, n int) int {
	for _, span := range slices.Backward(enc.Offsets) {
		at := int(span.Start) - start
		if at < 0 || at >= size || span.Start == span.End {
			continue
		}
		if n--; n == 0 {
			return at
		}
	}
	return 0
}
