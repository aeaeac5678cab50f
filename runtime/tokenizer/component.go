package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// component is a normaliser, pre-tokeniser, post-processor or decoder of a tokenizer.json: an object with a type.
type component struct {
	Type string
	raw  json.RawMessage
}

// UnmarshalJSON keeps the object for decode.
func (c *component) UnmarshalJSON(raw []byte) error {
	var head struct{ Type string }
	if err := json.Unmarshal(raw, &head); err != nil {
		return err
	}
	c.Type, c.raw = head.Type, bytes.Clone(raw)
	return nil
}

// decode reads the component into v, a struct with a field for each member but type. Other members are an error:
// they could change what the component does.
func (c *component) decode(v any) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(c.raw, &members); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, c.Type, err)
	}
	delete(members, "type")
	rest, err := json.Marshal(members)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, c.Type, err)
	}
	dec := json.NewDecoder(bytes.NewReader(rest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, c.Type, err)
	}
	return nil
}

func (c *component) unsupported() error { return fmt.Errorf("%w: %s", ErrUnsupported, c.Type) }

// flatten returns the components of a Sequence, or c alone, or nothing for nil.
func (c *component) flatten() ([]*component, error) {
	if c == nil {
		return nil, nil
	}
	if c.Type != "Sequence" {
		return []*component{c}, nil
	}
	var seq struct {
		Normalizers   []*component
		Pretokenizers []*component
	}
	if err := c.decode(&seq); err != nil {
		return nil, err
	}
	var all []*component
	for _, member := range append(seq.Normalizers, seq.Pretokenizers...) {
		if member == nil {
			return nil, fmt.Errorf("%w: Sequence with a null member", ErrFormat)
		}
		inner, err := member.flatten()
		if err != nil {
			return nil, err
		}
		all = append(all, inner...)
	}
	return all, nil
}

// newNormalizer reads Precompiled, then any Strip and Replace of runs of spaces.
func newNormalizer(c *component) (normalizer, error) {
	list, err := c.flatten()
	if err != nil {
		return normalizer{}, err
	}
	if len(list) == 0 || list[0].Type != "Precompiled" {
		return normalizer{}, fmt.Errorf("%w: it does not begin with Precompiled", ErrUnsupported)
	}
	var pre struct {
		Charsmap string `json:"precompiled_charsmap"`
	}
	if err := list[0].decode(&pre); err != nil {
		return normalizer{}, err
	}
	m, err := parseCharsmap(pre.Charsmap)
	if err != nil {
		return normalizer{}, err
	}
	n := normalizer{charsmap: m}
	for _, c := range list[1:] {
		step, err := newNormStep(c)
		if err != nil {
			return normalizer{}, err
		}
		n.steps = append(n.steps, step)
	}
	return n, nil
}

func newNormStep(c *component) (normStep, error) {
	switch c.Type {
	case "Strip":
		var strip struct {
			Left  bool `json:"strip_left"`
			Right bool `json:"strip_right"`
		}
		if err := c.decode(&strip); err != nil {
			return nil, err
		}
		return stripSpaces{strip.Left, strip.Right}, nil
	case "Replace":
		var replace struct {
			Pattern struct{ Regex, String string }
			Content string
		}
		if err := c.decode(&replace); err != nil {
			return nil, err
		}
		if replace.Pattern.Regex != " {2,}" || replace.Content != " " && replace.Content != wordMarker {
			return nil, fmt.Errorf("%w: Replace of %+v by %q", ErrUnsupported, replace.Pattern, replace.Content)
		}
		return collapseSpaces{replace.Content}, nil
	}
	return nil, c.unsupported()
}

// newPreTokenizer reads Metaspace, perhaps after WhitespaceSplit.
func newPreTokenizer(c *component) (preTokenizer, error) {
	list, err := c.flatten()
	if err != nil {
		return preTokenizer{}, err
	}
	var p preTokenizer
	if len(list) == 2 && list[0].Type == "WhitespaceSplit" {
		p.whitespaceSplit = true
		if err := list[0].decode(&struct{}{}); err != nil {
			return preTokenizer{}, err
		}
		list = list[1:]
	}
	if len(list) != 1 || list[0].Type != "Metaspace" {
		return preTokenizer{}, fmt.Errorf("%w: only Metaspace, alone or after WhitespaceSplit, is implemented", ErrUnsupported)
	}
	p.prepend, err = readMetaspace(list[0])
	return p, err
}

func newDecoder(c *component) (metaspaceDecoder, error) {
	if c == nil || c.Type != "Metaspace" {
		return metaspaceDecoder{}, fmt.Errorf("%w: only Metaspace is implemented", ErrUnsupported)
	}
	prepend, err := readMetaspace(c)
	return metaspaceDecoder{keepFirst: prepend == prependNever}, err
}

// readMetaspace returns the prepend scheme. Older files have add_prefix_space in its place, which
// the oracle checks but does not use.
func readMetaspace(c *component) (prependScheme, error) {
	var m struct {
		Replacement    string
		StrRep         string         `json:"str_rep"` // an old copy of replacement, not read by the oracle
		PrependScheme  *prependScheme `json:"prepend_scheme"`
		AddPrefixSpace *bool          `json:"add_prefix_space"`
		Split          *bool
	}
	if err := c.decode(&m); err != nil {
		return "", err
	}
	switch {
	case m.Replacement != wordMarker:
		return "", fmt.Errorf("%w: Metaspace with the replacement %q", ErrUnsupported, m.Replacement)
	case m.Split != nil && !*m.Split:
		return "", fmt.Errorf("%w: Metaspace without split", ErrUnsupported)
	}
	scheme := prependAlways
	if m.PrependScheme != nil {
		scheme = *m.PrependScheme
	}
	switch scheme {
	case prependAlways, prependFirst, prependNever:
	default:
		return "", fmt.Errorf("%w: Metaspace with the prepend_scheme %q", ErrUnsupported, scheme)
	}
	if m.AddPrefixSpace != nil && !*m.AddPrefixSpace && scheme != prependNever {
		return "", fmt.Errorf("%w: Metaspace with add_prefix_space false and the prepend_scheme %q", ErrFormat, scheme)
	}
	return scheme, nil
}
