package train

import (
	"fmt"
	"strconv"
	"strings"

	"valence/runtime/tokenizer"
)

// wordTokenizer reads numbers as token ids: 1 is the end marker, 2 what is unknown.
type wordTokenizer struct{}

func (wordTokenizer) Encode(text string, o tokenizer.Options) (*tokenizer.Encoding, error) {
	e := &tokenizer.Encoding{}
	for _, word := range strings.Fields(text) {
		id, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%w: %q is not a number", tokenizer.ErrText, word)
		}
		e.IDs = append(e.IDs, int32(id))
	}
	if o.AddSpecial && o.MaxTokens > 0 && len(e.IDs) > o.MaxTokens-1 {
		e.IDs, e.Truncated = e.IDs[:o.MaxTokens-1], true
	}
	if o.AddSpecial {
		e.IDs = append(e.IDs, 1)
	}
	return e, nil
}

func (wordTokenizer) Decode(ids []int32, skipSpecial bool) string {
	var out []string
	for _, id := range ids {
		if !skipSpecial || id != 1 {
			out = append(out, strconv.Itoa(int(id)))
		}
	}
	return strings.Join(out, " ")
}

func (wordTokenizer) EOS() int32 { return 1 }
func (wordTokenizer) UNK() int32 { return 2 }

// words is the text of ids that end in the end marker.
func words(ids []int32) string { return wordTokenizer{}.Decode(ids, true) }
