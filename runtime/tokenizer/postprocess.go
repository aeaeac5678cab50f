package tokenizer

import "fmt"

// template is the file's TemplateProcessing for one sequence, such as "$A </s>" or "<s> $A </s>": the special tokens
// before and after it. Templates for pairs are not used, since pairs cannot be encoded.
type template struct{ prefix, suffix []int32 }

// templateItem is either the place of the sequence or a special token.
type templateItem struct {
	Sequence *struct {
		ID     string
		TypeID int `json:"type_id"`
	}
	SpecialToken *struct {
		ID     string
		TypeID int `json:"type_id"`
	}
}

type templateToken struct {
	ID     string
	IDs    []int32
	Tokens []string
}

func newTemplate(c *component, vocabSize int) (template, error) {
	if c == nil || c.Type != "TemplateProcessing" {
		return template{}, fmt.Errorf("%w: only TemplateProcessing is implemented", ErrUnsupported)
	}
	var f struct {
		Single, Pair  []templateItem
		SpecialTokens map[string]templateToken `json:"special_tokens"`
	}
	if err := c.decode(&f); err != nil {
		return template{}, err
	}
	var t template
	side, sequences := &t.prefix, 0
	for _, item := range f.Single {
		switch {
		case item.Sequence != nil && item.Sequence.ID == "A":
			side = &t.suffix
			sequences++
		case item.SpecialToken != nil:
			token, ok := f.SpecialTokens[item.SpecialToken.ID]
			if !ok {
				return template{}, fmt.Errorf("%w: no ids for %q", ErrFormat, item.SpecialToken.ID)
			}
			*side = append(*side, token.IDs...)
		default:
			return template{}, fmt.Errorf("%w: template with other items than $A and special tokens", ErrUnsupported)
		}
	}
	if sequences != 1 || len(t.suffix) == 0 {
		return template{}, fmt.Errorf("%w: template other than [tokens] $A tokens", ErrUnsupported)
	}
	for _, id := range append(t.prefix[:len(t.prefix):len(t.prefix)], t.suffix...) {
		if id < 0 || int(id) >= vocabSize {
			return template{}, fmt.Errorf("%w: special token with the id %d, the vocabulary has %d", ErrFormat, id, vocabSize)
		}
	}
	return t, nil
}
