// Package sugar lets programs built on github.com/sugarme/tokenizer use Valence's tokenizer: its model, normaliser and
// pre-tokeniser as parts of their pipeline, and its encodings in their types.
//
// Valence itself does not encode through that pipeline. With these three parts in it, the pipeline gives the ids of
// [tokenizer.Tokenizer.Encode] for texts without added tokens; but it matches added tokens in the order of their ids
// rather than the longest first, keeps two slices for every byte of a text and so makes some two thousand allocations a
// sentence, and ends the process on some errors. A server's hot path can have none of that.
package sugar

import (
	"errors"
	"fmt"
	"unicode/utf8"

	sugarme "github.com/sugarme/tokenizer"
	"github.com/sugarme/tokenizer/normalizer"

	"valence/runtime/tokenizer"
)

var (
	_ sugarme.Model         = Model{}
	_ normalizer.Normalizer = Normalizer{}
	_ sugarme.PreTokenizer  = PreTokenizer{}
)

// ErrSave reports that a model cannot be saved apart from the tokenizer.json that it came from.
var ErrSave = errors.New("saving is not supported")

// New returns a pipeline of the three parts, without added tokens, template and decoder.
func New(t *tokenizer.Tokenizer) *sugarme.Tokenizer {
	p := sugarme.NewTokenizer(Model{t})
	p.WithNormalizer(Normalizer{t})
	p.WithPreTokenizer(PreTokenizer{t})
	return p
}

// Model is the Unigram model of a tokenizer.
type Model struct{ Tokenizer *tokenizer.Tokenizer }

// Tokenize segments one pre-tokenised unit. The value of a token is its text, also where its id is the unknown token's.
func (m Model) Tokenize(sequence string) ([]sugarme.Token, error) {
	e, err := m.Tokenizer.Tokenize(sequence)
	if err != nil {
		return nil, err
	}
	tokens := make([]sugarme.Token, len(e.IDs))
	for i, id := range e.IDs {
		start, end := int(e.Offsets[i].Start), int(e.Offsets[i].End)
		tokens[i] = sugarme.NewToken(int(id), sequence[start:end], []int{start, end})
	}
	return tokens, nil
}

// TokenToId returns the id of a piece or added token.
func (m Model) TokenToId(token string) (id int, ok bool) {
	n, ok := m.Tokenizer.ID(token)
	return int(n), ok
}

// IdToToken returns the piece or added token with an id.
func (m Model) IdToToken(id int) (token string, ok bool) {
	if int(int32(id)) != id {
		return "", false
	}
	return m.Tokenizer.Piece(int32(id))
}

// GetVocab returns a new map of all pieces and added tokens.
func (m Model) GetVocab() map[string]int {
	vocab := make(map[string]int, m.GetVocabSize())
	for id := range m.GetVocabSize() {
		piece, _ := m.IdToToken(id)
		vocab[piece] = id
	}
	return vocab
}

// GetVocabSize returns the number of pieces and added tokens.
func (m Model) GetVocabSize() int { return m.Tokenizer.VocabSize() }

// Save fails with ErrSave.
func (m Model) Save(path string, _ ...string) error {
	return fmt.Errorf("save model to %s: %w", path, ErrSave)
}

// Normalizer is the normaliser of a tokenizer.
type Normalizer struct{ Tokenizer *tokenizer.Tokenizer }

// Normalize returns a new normalised string; n is unchanged. It fails with tokenizer.ErrTextTooLong, and with
// tokenizer.ErrText for text that is not UTF-8, to which sugarme's alignments do not fit. Its pipeline ends the process
// on either, so check texts before they go there.
func (z Normalizer) Normalize(n *normalizer.NormalizedString) (*normalizer.NormalizedString, error) {
	if text := n.GetNormalized(); !utf8.ValidString(text) || len(n.Alignments()) != len(text) {
		return nil, fmt.Errorf("normalize: %w: not UTF-8", tokenizer.ErrText)
	}
	f, err := z.Tokenizer.Normalize(n.GetNormalized())
	if err != nil {
		return nil, err
	}
	return rebuild(n, 0, len(n.GetOriginal()), f.Text, originals(n, f.Spans)), nil
}

// PreTokenizer is the pre-tokeniser of a tokenizer.
type PreTokenizer struct{ Tokenizer *tokenizer.Tokenizer }

// PreTokenize cuts every part that has no tokens yet into units, word markers included.
func (p PreTokenizer) PreTokenize(s *sugarme.PreTokenizedString) (*sugarme.PreTokenizedString, error) {
	var failed error
	s = s.Split(func(_ int, n *normalizer.NormalizedString) []sugarme.SplitIdx {
		units, err := p.split(n)
		failed = errors.Join(failed, err)
		return units
	})
	return s, failed
}

func (p PreTokenizer) split(n *normalizer.NormalizedString) ([]sugarme.SplitIdx, error) {
	shift := int32(n.Shift())
	spans := make([]tokenizer.Span, len(n.Alignments()))
	for i, a := range n.Alignments() {
		spans[i] = tokenizer.Span{Start: shift + int32(a[0]), End: shift + int32(a[1])}
	}
	units, err := p.Tokenizer.PreTokenize(tokenizer.Fragment{Text: n.GetNormalized(), Spans: spans})
	if err != nil {
		return nil, err
	}
	splits := make([]sugarme.SplitIdx, len(units))
	for i, u := range units {
		alignments := make([][]int, len(u.Spans))
		for k, s := range u.Spans {
			alignments[k] = []int{int(s.Start - shift), int(s.End - shift)}
		}
		start, end := alignments[0][0], alignments[len(alignments)-1][1]
		splits[i].Normalized = rebuild(n, start, end, u.Text, alignments)
	}
	return splits, nil
}

// originals turns spans of n's normalised text into alignments with n's original.
func originals(n *normalizer.NormalizedString, spans []tokenizer.Span) [][]int {
	known := n.Alignments()
	alignments := make([][]int, len(spans))
	for i, s := range spans {
		alignments[i] = []int{known[s.Start][0], known[s.End-1][1]}
	}
	return alignments
}

// rebuild returns the part of n's original from start to end with a new normalised text; alignments are in n's original.
func rebuild(n *normalizer.NormalizedString, start, end int, text string, alignments [][]int) *normalizer.NormalizedString {
	reverse := make([][]int, end-start)
	for i, a := range alignments {
		a[0], a[1] = a[0]-start, a[1]-start
		for k := a[0]; k < a[1]; k++ {
			if reverse[k] == nil {
				reverse[k] = []int{i, i}
			}
			reverse[k][1] = i + 1
		}
	}
	at := 0 // a removed byte stands where the ones before it end
	for k, r := range reverse {
		if r == nil {
			reverse[k] = []int{at, at}
		} else {
			at = r[1]
		}
	}
	return normalizer.NewNormalizedString(n.GetOriginal()[start:end], text, alignments, reverse, n.Shift()+start)
}
