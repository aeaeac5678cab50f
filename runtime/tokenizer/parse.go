package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// document is a tokenizer.json, its parts still undecoded but for the vocabulary.
type document struct {
	vocab vocabulary
	model map[string]json.RawMessage // without vocab
	parts map[string]json.RawMessage // without model
}

// Parse reads a tokenizer.json of the T5 or mT5 family. Any component that it does not implement is an error that
// wraps ErrUnsupported and names the component; damage is an error that wraps ErrFormat.
func Parse(data []byte) (*Tokenizer, error) {
	d, err := readDocument(data)
	if err != nil {
		return nil, fmt.Errorf("parse tokenizer: %w: %w", ErrFormat, err)
	}
	t, err := d.tokenizer()
	if err != nil {
		return nil, fmt.Errorf("parse tokenizer: %w", err)
	}
	return t, nil
}

func readDocument(data []byte) (*document, error) {
	d := &document{}
	s := &scanner{data: data}
	err := s.object(func(key string) error {
		if key != "model" {
			return keep(s, &d.parts, key)
		}
		return s.object(func(key string) (err error) {
			if key != "vocab" || s.peek() != '[' {
				return keep(s, &d.model, key)
			}
			d.vocab, err = readVocabulary(s)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if s.peek(); s.pos < len(data) {
		return nil, fmt.Errorf("byte %d follows the end of the document", s.pos)
	}
	return d, nil
}

func keep(s *scanner, into *map[string]json.RawMessage, key string) error {
	raw, err := s.rawValue()
	if err != nil {
		return err
	}
	if *into == nil {
		*into = map[string]json.RawMessage{}
	}
	(*into)[key] = raw
	return nil
}

// take decodes a member into v, if it is there, and removes it from the members left.
func take(members map[string]json.RawMessage, key string, v any) error {
	raw, ok := members[key]
	if !ok {
		return nil
	}
	delete(members, key)
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, key, err)
	}
	return nil
}

// components are the decoded parts of a document other than its model.
type components struct {
	Added         []addedToken
	Normalizer    *component
	PreTokenizer  *component
	PostProcessor *component
	Decoder       *component
}

// readParts decodes the parts. Truncation and padding are not components: see the package comment.
func (d *document) readParts() (components, error) {
	var c components
	var ignored json.RawMessage
	err := errors.Join(
		take(d.parts, "added_tokens", &c.Added),
		take(d.parts, "normalizer", &c.Normalizer),
		take(d.parts, "pre_tokenizer", &c.PreTokenizer),
		take(d.parts, "post_processor", &c.PostProcessor),
		take(d.parts, "decoder", &c.Decoder),
		take(d.parts, "version", &ignored),
		take(d.parts, "truncation", &ignored),
		take(d.parts, "padding", &ignored),
	)
	return c, errors.Join(err, leftOver(d.parts, "tokenizer"))
}

// readModel checks the model's settings and returns the id of the unknown token.
func (d *document) readModel() (int32, error) {
	var kind string
	var unk *int64
	var byteFallback bool
	if err := take(d.model, "type", &kind); err != nil {
		return 0, err
	}
	// Older files have no type; only Unigram has a list for its vocabulary.
	if kind != "Unigram" && (kind != "" || d.vocab.size() == 0) {
		return 0, fmt.Errorf("%w: model %q, only Unigram is implemented", ErrUnsupported, kind)
	}
	err := errors.Join(take(d.model, "unk_id", &unk), take(d.model, "byte_fallback", &byteFallback), leftOver(d.model, "model"))
	switch {
	case err != nil:
		return 0, err
	case byteFallback:
		return 0, fmt.Errorf("%w: model: byte_fallback", ErrUnsupported)
	case unk == nil:
		return 0, fmt.Errorf("%w: model without unk_id", ErrUnsupported)
	case *unk < 0 || *unk >= int64(d.vocab.size()):
		return 0, fmt.Errorf("%w: unk_id %d, the vocabulary has %d pieces", ErrFormat, *unk, d.vocab.size())
	}
	return int32(*unk), nil
}

// leftOver reports the members that nothing took.
func leftOver(members map[string]json.RawMessage, of string) error {
	if len(members) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s has the unknown members %q", ErrUnsupported, of, slices.Sorted(maps.Keys(members)))
}

// tokenizer puts the parts together.
func (d *document) tokenizer() (*Tokenizer, error) {
	unk, err := d.readModel()
	if err != nil {
		return nil, err
	}
	parts, err := d.readParts()
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{model: newUnigram(&d.vocab, unk), vocab: d.vocab}
	if t.norm, err = newNormalizer(parts.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if t.pre, err = newPreTokenizer(parts.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if t.decoder, err = newDecoder(parts.Decoder); err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	if err := t.setAdded(parts.Added); err != nil {
		return nil, fmt.Errorf("added_tokens: %w", err)
	}
	if t.post, err = newTemplate(parts.PostProcessor, t.vocab.size()); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	if err := t.setSpecial(); err != nil {
		return nil, err
	}
	return t, nil
}

// setAdded takes the added tokens over. The oracle does not believe the ids of the file: a token that is a piece has
// the piece's id, and others are numbered from the size of the model's vocabulary on. A file that says otherwise is
// refused, since the ids of the checkpoint could not be told.
func (t *Tokenizer) setAdded(list []addedToken) error {
	next := int32(t.vocab.size())
	seen := map[string]bool{}
	var beyond []string
	for i, a := range list {
		if err := a.check(); err != nil {
			return err
		}
		if seen[a.Content] {
			return fmt.Errorf("%w: %q comes twice", ErrFormat, a.Content)
		}
		seen[a.Content] = true
		id := t.model.trie.exact([]byte(a.Content))
		if id < 0 {
			id = next
			next++
			beyond = append(beyond, a.Content)
		}
		if a.ID != id {
			return fmt.Errorf("%w: %q has the id %d, but its place is %d", ErrFormat, a.Content, a.ID, id)
		}
		list[i].ID = id
	}
	t.vocab.add(beyond)
	t.added = newAddedTokens(list)
	return nil
}

// setSpecial notes the ids with a meaning of their own.
func (t *Tokenizer) setSpecial() error {
	t.skipped = make([]bool, t.vocab.size())
	for _, a := range t.added.list {
		t.skipped[a.ID] = a.Special
	}
	t.special = slices.Clone(t.skipped)
	for _, id := range slices.Concat(t.post.prefix, t.post.suffix) {
		t.special[id] = true
	}
	t.eos = t.post.suffix[len(t.post.suffix)-1]
	pad, ok := t.ID("<pad>")
	if !ok {
		return fmt.Errorf("%w: vocabulary without the piece <pad>", ErrUnsupported)
	}
	t.pad = pad
	return nil
}
