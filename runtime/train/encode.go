package train

import (
	"fmt"
	"slices"
	"strings"

	"valence/runtime/mt5/spec"
	"valence/runtime/tokenizer"
)

// Tokenizer turns text into ids and back.
type Tokenizer interface {
	Encode(text string, o tokenizer.Options) (*tokenizer.Encoding, error)
	Decode(ids []int32, skipSpecial bool) string
	EOS() int32
	UNK() int32
}

// row is one example as the model reads it.
type row struct {
	ids   []int32
	label int
	at    int // Example.Row
}

// target is one label as the model writes it.
type target struct {
	path []int32
	// learnt are the choices of the objective, spoken all that judge it by the whole
	// vocabulary.
	learnt, spoken []spec.Choice
}

// placeholder stands for the text in a template.
const placeholder = "{text}"

// encoder reads texts as the model will be asked about them.
type encoder struct {
	tok           Tokenizer
	before, after string // of the template
	max           int
}

func newEncoder(tok Tokenizer, template string, maxTokens int) (*encoder, error) {
	e := &encoder{tok: tok, max: maxTokens}
	if template == "" {
		return e, nil
	}
	if strings.Count(template, placeholder) != 1 {
		return nil, fmt.Errorf("%w: the template %q must hold %s once, or be empty", ErrData, template, placeholder)
	}
	e.before, e.after, _ = strings.Cut(template, placeholder)
	return e, nil
}

// encode gives at most max ids. With a template it is the text that is cut, where
// a character begins.
func (e *encoder) encode(text string) (ids []int32, cut bool, err error) {
	o := tokenizer.Options{AddSpecial: true, ForbidSpecial: true}
	if e.before+e.after == "" {
		o.MaxTokens = e.max
	}
	enc, err := e.tok.Encode(e.before+text+e.after, o)
	if err != nil {
		return nil, false, err
	}
	if len(enc.IDs) <= e.max {
		return enc.IDs, enc.Truncated, nil
	}
	runes := []rune(text)
	low, high := 0, len(runes) // low fits, or nothing does
	for low+1 < high {
		mid := (low + high) / 2
		enc, err := e.tok.Encode(e.before+string(runes[:mid])+e.after, o)
		if err != nil {
			return nil, false, err
		}
		if len(enc.IDs) > e.max {
			high = mid
		} else {
			low, ids = mid, enc.IDs
		}
	}
	if ids == nil {
		return nil, false, fmt.Errorf("%w: the template leaves no room for a text within %d tokens", ErrData, e.max)
	}
	return ids, true, nil
}

// rows encodes all examples.
func (d *Data) rows(tok Tokenizer, r *Recipe, labels []int, f *findings) ([]row, error) {
	enc, err := newEncoder(tok, d.Template, r.MaxTokens)
	if err != nil {
		return nil, err
	}
	blank, _, err := enc.encode("")
	if err != nil {
		return nil, err
	}
	all := slices.Concat(d.Examples, d.Validation)
	rows := make([]row, len(all))
	for i, e := range all {
		ids, cut, err := enc.encode(e.Text)
		if err != nil {
			return nil, fmt.Errorf("%w: row %d: %w", ErrData, e.Row, err)
		}
		if cut {
			f.add(TruncatedText, false, fmt.Sprintf("a text has more than %d tokens and is cut; raise max_tokens if its end matters", r.MaxTokens), e.Row)
		}
		if slices.Equal(ids, blank) {
			f.add(EmptyText, true, "a text is empty; remove its row", e.Row)
		}
		rows[i] = row{ids, labels[i], e.Row}
	}
	return rows, nil
}

// targets encodes the labels. Where a verbaliser is cut, written is what is left of
// it: the text that answers must be looked for.
func (d *Data) targets(tok Tokenizer, r *Recipe, f *findings) (targets []target, written []Label, trie *spec.Trie) {
	paths := make([][]int32, len(d.Labels))
	written = slices.Clone(d.Labels)
	for i, l := range d.Labels {
		enc, err := tok.Encode(l.Verbaliser, tokenizer.Options{AddSpecial: true, MaxTokens: r.LabelTokens})
		if err != nil {
			f.add(BadLabels, true, fmt.Sprintf("verbaliser %q cannot be tokenised: %v", l.Verbaliser, err))
			continue
		}
		paths[i] = enc.IDs
		if enc.Truncated {
			written[i].Verbaliser = tok.Decode(enc.IDs, true)
			f.add(ShortLabel, false, fmt.Sprintf("verbaliser %q has more than %d tokens and is cut to %q", l.Verbaliser, r.LabelTokens, written[i].Verbaliser))
		}
		d.checkPath(tok, i, paths, written[i].Verbaliser, f)
	}
	if f.err() != nil {
		return nil, written, nil
	}
	trie = spec.NewTrie(paths)
	targets = make([]target, len(paths))
	for i, path := range paths {
		targets[i] = newTarget(path, trie, i, r.Objective)
	}
	return targets, written, trie
}

// checkPath wants label i to be one that answers can be scored for.
func (d *Data) checkPath(tok Tokenizer, i int, paths [][]int32, written string, f *findings) {
	path, n := paths[i], len(paths[i])
	bad := func(why string) {
		f.add(BadLabels, true, fmt.Sprintf("verbaliser %q %s", d.Labels[i].Verbaliser, why))
	}
	switch {
	case n < 2 || slices.Index(path, tok.EOS()) != n-1:
		bad("has no token, or does not end in the end marker, or holds it before")
		return
	case slices.Contains(path, tok.UNK()):
		bad("holds a token that the vocabulary lacks; use other words")
		return
	}
	if j := slices.IndexFunc(paths[:i], func(p []int32) bool { return slices.Equal(p, path) }); j >= 0 {
		bad(fmt.Sprintf("has the same tokens as %q; use other words, or raise max_label_tokens", d.Labels[j].Verbaliser))
	}
	if enc, err := tok.Encode(written, tokenizer.Options{AddSpecial: true}); err != nil || !slices.Equal(enc.IDs, path) {
		bad("is cut where no word ends; use another one, or raise max_label_tokens")
	}
}

func newTarget(path []int32, trie *spec.Trie, label int, o Objective) target {
	t := target{path: path}
	for i, id := range path {
		t.spoken = append(t.spoken, spec.Choice{Prefix: path[:i], Truth: int(id)})
	}
	if t.learnt = t.spoken; o == LabelTrie {
		t.learnt = nil
		for _, s := range trie.Steps[label] {
			node := trie.Nodes[s.Node]
			t.learnt = append(t.learnt, spec.Choice{Prefix: node.Prefix, Among: node.Next, Truth: s.Child})
		}
	}
	return t
}
