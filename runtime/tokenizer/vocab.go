package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// maxPieces bounds the vocabulary, so that a double array of it stays below 2^31 units.
const maxPieces = 1 << 24

// vocabulary is the pieces of the model, then the added tokens that are not among them.
type vocabulary struct {
	text   string    // all pieces, one after the other
	ends   []uint32  // where each ends in text
	scores []float64 // of the model's pieces
}

func (v *vocabulary) size() int { return len(v.ends) }

func (v *vocabulary) piece(id int32) string {
	start := uint32(0)
	if id > 0 {
		start = v.ends[id-1]
	}
	return v.text[start:v.ends[id]]
}

// add appends tokens that have no score.
func (v *vocabulary) add(tokens []string) {
	end := len(v.text)
	for _, tok := range tokens {
		end += len(tok)
		v.ends = append(v.ends, uint32(end))
	}
	v.text += strings.Join(tokens, "")
}

// readVocabulary reads [["piece", score], ...].
func readVocabulary(s *scanner) (vocabulary, error) {
	var v vocabulary
	var text []byte
	err := s.list('[', ']', func() error {
		if len(v.ends) == maxPieces {
			return fmt.Errorf("more than %d pieces", maxPieces)
		}
		var err error
		if text, err = v.readPiece(s, text); err != nil {
			return fmt.Errorf("piece %d: %w", len(v.ends), err)
		}
		return nil
	})
	if err != nil {
		return vocabulary{}, err
	}
	if len(v.ends) == 0 {
		return vocabulary{}, errors.New("no pieces")
	}
	v.text = string(text)
	return v, nil
}

func (v *vocabulary) readPiece(s *scanner, text []byte) ([]byte, error) {
	if err := s.expect('['); err != nil {
		return nil, err
	}
	text, err := s.appendString(text)
	if err != nil {
		return nil, err
	}
	if len(text) > math.MaxInt32 {
		return nil, errors.New("the pieces have more than 2 GiB")
	}
	if err := s.expect(','); err != nil {
		return nil, err
	}
	score, err := s.number()
	if err != nil {
		return nil, err
	}
	if err := s.expect(']'); err != nil {
		return nil, err
	}
	v.ends = append(v.ends, uint32(len(text)))
	v.scores = append(v.scores, score)
	return text, nil
}
