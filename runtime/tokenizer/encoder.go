package tokenizer

import (
	"math"
	"unicode/utf8"
)

const (
	noLimit = math.MaxInt
	// maxPooledBytes is the most normalised text whose buffers (about 25 bytes for each of its bytes) go back to the
	// pool: one huge text must not keep its buffers for ever.
	maxPooledBytes = 1 << 16
)

// encoder is the state of one EncodeInto call; its buffers are pooled.
type encoder struct {
	t     *Tokenizer
	e     *Encoding
	limit int // tokens of the text to keep, or noLimit

	norm    aligned
	word    aligned
	lattice []node
	path    []step
	repair  repairer
}

func (t *Tokenizer) encoder(e *Encoding, limit int) *encoder {
	enc, _ := t.pool.Get().(*encoder)
	if enc == nil {
		enc = &encoder{t: t}
	}
	e.IDs, e.Offsets, e.Truncated = e.IDs[:0], e.Offsets[:0], false
	e.bodyStart, e.bodyEnd = 0, 0
	enc.e, enc.limit = e, limit
	return enc
}

func (t *Tokenizer) release(enc *encoder) {
	enc.e = nil
	if max(cap(enc.norm.text), cap(enc.word.text)) <= maxPooledBytes {
		t.pool.Put(enc)
	}
}

func (enc *encoder) emit(id int32, s Span) {
	enc.e.IDs = append(enc.e.IDs, id)
	enc.e.Offsets = append(enc.e.Offsets, s)
}

func (enc *encoder) addSpecial(ids []int32) {
	for _, id := range ids {
		enc.emit(id, Span{})
	}
}

// full tells that more tokens than the limit are written, so that the rest of the text cannot matter.
func (enc *encoder) full() bool { return len(enc.e.IDs)-enc.e.bodyStart > enc.limit }

// body writes the tokens of text itself.
func (enc *encoder) body(text string, forbidSpecial bool) {
	e := enc.e
	e.bodyStart = len(e.IDs)
	valid := utf8.ValidString(text)
	if !valid {
		text = enc.repair.run(text)
	}
	enc.splitAdded(text)
	if enc.full() {
		n := e.bodyStart + enc.limit
		e.IDs, e.Offsets, e.Truncated = e.IDs[:n], e.Offsets[:n], true
	}
	e.bodyEnd = len(e.IDs)
	if !valid {
		enc.repair.restore(e.Offsets[e.bodyStart:])
	}
	if forbidSpecial {
		enc.forbidSpecial(e.IDs[e.bodyStart:])
	}
}

func (enc *encoder) forbidSpecial(ids []int32) {
	for i, id := range ids {
		if enc.t.IsSpecial(id) {
			ids[i] = enc.t.UNK()
		}
	}
}

// segment encodes a part of the text that holds no added token and begins at byte off of it.
func (enc *encoder) segment(s string, off int) {
	enc.t.norm.run(&enc.norm, &enc.word, s, int32(off))
	enc.t.pre.split(&enc.norm, &enc.word, func(text []byte, spans []Span) bool {
		enc.viterbi(text, spans)
		return !enc.full()
	})
}
