package tokenizer

import (
	"errors"
	"fmt"
	"sync"
)

// Errors of this package. All are wrapped with what was being read and what is wrong with it.
var (
	// ErrFormat reports a tokenizer.json that is damaged or contradicts itself.
	ErrFormat = errors.New("invalid tokenizer.json")
	// ErrUnsupported reports a component of a tokenizer.json that this package does not implement.
	ErrUnsupported = errors.New("unsupported tokenizer component")
	// ErrTextTooLong reports a text above Options.MaxBytes.
	ErrTextTooLong = errors.New("text too long")
	// ErrText reports a text that a single stage cannot take.
	ErrText = errors.New("invalid text")
	// ErrOptions reports Options that contradict each other or the tokenizer.
	ErrOptions = errors.New("invalid tokenizer options")
)

const (
	// DefaultMaxBytes is the longest text, in bytes, that is encoded when Options.MaxBytes is 0.
	DefaultMaxBytes = 1 << 20
	// LimitMaxBytes is the largest Options.MaxBytes. With the longest replacement that a character map may have, a
	// text of this size still normalises to less than 2 GiB, so that positions fit an int32.
	LimitMaxBytes = 4 << 20
)

// Tokenizer holds one tokenizer.json. It is immutable and safe for concurrent use.
type Tokenizer struct {
	vocab   vocabulary
	model   unigram
	added   addedTokens
	norm    normalizer
	pre     preTokenizer
	post    template
	decoder metaspaceDecoder
	skipped []bool // by id: the file's special tokens, which decoding may leave out
	special []bool // by id: those and the tokens of the template
	eos     int32
	pad     int32
	pool    sync.Pool // of *encoder
}

// Options says how one text is encoded.
type Options struct {
	// AddSpecial adds the special tokens of the file's template, such as </s>.
	AddSpecial bool
	// ForbidSpecial writes the unknown token for every special token that the text itself spells, be it outright
	// ("</s>") or by characters that normalise to one, so that a user's text cannot end the sequence.
	ForbidSpecial bool
	// MaxTokens cuts the text's last tokens so that the whole, added special tokens included, has at most this many
	// ids, as transformers does for truncation=True and this max_length. 0 means no limit. A limit below the number
	// of added special tokens is an error.
	MaxTokens int
	// MaxBytes refuses longer texts. 0 means DefaultMaxBytes; more than LimitMaxBytes is an error.
	MaxBytes int
}

// Span is a half-open range of bytes in the text that the caller gave.
type Span struct{ Start, End int32 }

// Encoding is one encoded text.
type Encoding struct {
	// IDs are the token ids, the template's special tokens included.
	IDs []int32
	// Offsets has for each id the bytes of the text that it stands for. A special token added by the template has
	// the span {0, 0}. Starts never decrease within the text's own tokens, and both ends of a span lie on character
	// boundaries. As the oracle has it, the span of a word's first token may hold the space before the word.
	Offsets []Span
	// Truncated tells that MaxTokens cut tokens off.
	Truncated bool

	bodyStart, bodyEnd int
}

// Body returns the half-open range of indices of the tokens that stand for the text itself, which leaves out the
// special tokens that the template added.
func (e *Encoding) Body() (start, end int) { return e.bodyStart, e.bodyEnd }

// Encode returns the ids and offsets of text. Each maximal invalid part of text that is not UTF-8 counts as one
// U+FFFD, as in Python's errors="replace"; offsets are still those of the bytes given.
//
// It fails with ErrTextTooLong or ErrOptions.
func (t *Tokenizer) Encode(text string, o Options) (*Encoding, error) {
	e := &Encoding{}
	if err := t.EncodeInto(e, text, o); err != nil {
		return nil, err
	}
	return e, nil
}

// EncodeInto is Encode into e, whose buffers it reuses: once they have grown, encoding valid UTF-8 allocates nothing.
// On error e is unchanged. Calls with different encodings may run at the same time.
func (t *Tokenizer) EncodeInto(e *Encoding, text string, o Options) error {
	limit, err := t.bodyLimit(text, o)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	enc := t.encoder(e, limit)
	defer t.release(enc)
	if o.AddSpecial {
		enc.addSpecial(t.post.prefix)
	}
	enc.body(text, o.ForbidSpecial)
	if o.AddSpecial {
		enc.addSpecial(t.post.suffix)
	}
	return nil
}

// bodyLimit checks o and text and returns how many tokens of the text itself may be kept.
func (t *Tokenizer) bodyLimit(text string, o Options) (int, error) {
	maxBytes := o.MaxBytes
	switch {
	case maxBytes < 0 || maxBytes > LimitMaxBytes:
		return 0, fmt.Errorf("%w: MaxBytes is %d, allowed are 0 to %d", ErrOptions, maxBytes, LimitMaxBytes)
	case maxBytes == 0:
		maxBytes = DefaultMaxBytes
	}
	if len(text) > maxBytes {
		return 0, fmt.Errorf("%w: %d bytes, at most %d are encoded", ErrTextTooLong, len(text), maxBytes)
	}
	if o.MaxTokens == 0 {
		return noLimit, nil
	}
	added := 0
	if o.AddSpecial {
		added = len(t.post.prefix) + len(t.post.suffix)
	}
	if o.MaxTokens < added || o.MaxTokens < 0 {
		return 0, fmt.Errorf("%w: MaxTokens is %d, but %d special tokens are added", ErrOptions, o.MaxTokens, added)
	}
	return o.MaxTokens - added, nil
}

// ID returns the id of a piece or added token, spelled as in the vocabulary (a word's first piece begins with ▁).
func (t *Tokenizer) ID(piece string) (int32, bool) {
	if k := t.added.trie.exact([]byte(piece)); k >= 0 {
		return t.added.list[k].ID, true
	}
	id := t.model.trie.exact([]byte(piece))
	return id, id >= 0
}

// Piece returns the piece or added token with this id.
func (t *Tokenizer) Piece(id int32) (string, bool) {
	if id < 0 || int(id) >= t.vocab.size() {
		return "", false
	}
	return t.vocab.piece(id), true
}

// VocabSize returns the number of ids, added tokens included. A checkpoint's embedding may have more rows.
func (t *Tokenizer) VocabSize() int { return t.vocab.size() }

// EOS returns the id of the token that ends a sequence: the last one of the file's template.
func (t *Tokenizer) EOS() int32 { return t.eos }

// UNK returns the id of the unknown token.
func (t *Tokenizer) UNK() int32 { return t.model.unk }

// PAD returns the id of the piece <pad>.
func (t *Tokenizer) PAD() int32 { return t.pad }

// IsSpecial tells whether id is one of the file's special tokens or is added by its template.
func (t *Tokenizer) IsSpecial(id int32) bool {
	return id >= 0 && int(id) < len(t.special) && t.special[id]
}
