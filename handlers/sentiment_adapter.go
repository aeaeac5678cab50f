package handlers

import (
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"valence/adapters"
)

// Bounds of what one row may ask of adapters.
const (
	minBlend    = 2
	maxBlend    = 8
	weightSlack = 1e-6 // what decimals leave between the weights' sum and 1
)

// adapterChoice is the "adapter" of a request: an id as a string, or an object of
// several ids with the weights with which they are blended.
type adapterChoice struct {
	parts []adapters.QueryPart // in the order of the object
	blend bool                 // written as an object
}

// UnmarshalJSONFrom reads either form.
func (c *adapterChoice) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch kind := dec.PeekKind(); kind {
	case '"':
		part := adapters.QueryPart{Weight: 1}
		err := json.UnmarshalDecode(dec, &part.Ref)
		c.parts = []adapters.QueryPart{part}
		return err
	case '{':
		c.blend = true
		return c.readBlend(dec)
	default:
		return wrongKind(dec, kind)
	}
}

func (c *adapterChoice) readBlend(dec *jsontext.Decoder) error {
	if _, err := dec.ReadToken(); err != nil { // the "{"
		return err
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		part := adapters.QueryPart{Ref: name.String()}
		if err := json.UnmarshalDecode(dec, &part.Weight); err != nil {
			return err
		}
		c.parts = append(c.parts, part)
	}
	_, err := dec.ReadToken()
	return err
}

// faults lists what is wrong with a choice at a JSON pointer; nil has no faults.
func (c *adapterChoice) faults(at string) []fieldError {
	if c == nil {
		return nil
	}
	if !c.blend {
		return shortRef(c.parts[0].Ref, at)
	}
	switch n := len(c.parts); {
	case n < minBlend:
		return []fieldError{{Pointer: at, Code: "too_few", Detail: "must blend at least " + strconv.Itoa(minBlend) + " adapters; name a single one by a string"}}
	case n > maxBlend:
		return []fieldError{{Pointer: at, Code: "too_many", Detail: "must blend at most " + strconv.Itoa(maxBlend) + " adapters"}}
	}
	return c.weightFaults(at)
}

func (c *adapterChoice) weightFaults(at string) []fieldError {
	var out []fieldError
	sum := 0.0
	for _, p := range c.parts {
		pointer := at + "/" + pointerToken(p.Ref)
		out = append(out, shortRef(p.Ref, pointer)...)
		if !(p.Weight > 0 && p.Weight <= 1) {
			out = append(out, fieldError{Pointer: pointer, Code: "out_of_range", Detail: "must be above 0 and at most 1"})
		}
		sum += p.Weight
	}
	if len(out) == 0 && math.Abs(sum-1) > weightSlack {
		detail := "the weights sum to " + strconv.FormatFloat(sum, 'g', 7, 64) + "; they must sum to 1"
		out = append(out, fieldError{Pointer: at, Code: codeWeights, Detail: detail})
	}
	return out
}

// codeWeights is the code of weights that do not sum to 1.
const codeWeights = "weights_sum"

func shortRef(ref, at string) []fieldError {
	if ref != "" {
		return nil
	}
	return []fieldError{{Pointer: at, Code: "too_short", Detail: "must have at least 1 character"}}
}

// pointerToken escapes a name for a JSON pointer (RFC 6901, section 3).
func pointerToken(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// queryKey tells queries apart.
func queryKey(q adapters.Query) string {
	var b strings.Builder
	for _, p := range q.Parts {
		b.WriteString(strconv.Quote(p.Ref))
		b.WriteString(strconv.FormatFloat(p.Weight, 'g', -1, 64))
	}
	b.WriteByte('*')
	b.WriteString(strconv.FormatFloat(q.Strength, 'g', -1, 64))
	return b.String()
}
