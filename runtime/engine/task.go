package engine

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	lru "github.com/hashicorp/golang-lru/v2"

	"valence/runtime/mt5/spec"
	"valence/runtime/tokenizer"
)

// Bounds of a task. A set of at most 64 labels has its subsets named by the bits
// of a uint64.
const (
	MinLabels    = 2
	MaxLabels    = 64
	MaxNameBytes = 128 // of a label's name
)

// maxSubsets bounds the tries that a task keeps for requests that name some of
// its labels.
const maxSubsets = 32

// Label is a class that texts are told apart by.
type Label struct {
	Name       string
	Verbaliser string // what the model writes for it
}

// TaskSpec says how texts are read and what they are scored for.
type TaskSpec struct {
	Vectors     *spec.Vectors // nil means the base as it is
	Labels      []Label       // MinLabels to MaxLabels
	Template    string        // "", or a text that holds {text} once
	Temperature float64       // divides the labels' log-probabilities; 1 leaves them as they are
	// Digest names all of the above: equal digests, equal answers. Rows of a task without
	// one are answered anew each time.
	Digest string
}

// Validate checks what can be told without a vocabulary. Errors wrap ErrTask and
// name the field.
func (s *TaskSpec) Validate() error {
	if n := len(s.Labels); n < MinLabels || n > MaxLabels {
		return fmt.Errorf("%w: there are %d labels; there must be %d to %d", ErrTask, n, MinLabels, MaxLabels)
	}
	for i, l := range s.Labels {
		if err := l.validate(); err != nil {
			return fmt.Errorf("%w: labels[%d]: %w", ErrTask, i, err)
		}
		if slices.ContainsFunc(s.Labels[:i], func(o Label) bool { return o.Name == l.Name }) {
			return fmt.Errorf("%w: labels[%d]: the name %q is taken", ErrTask, i, l.Name)
		}
	}
	if _, err := parseTemplate(s.Template); err != nil {
		return fmt.Errorf("%w: %w", ErrTask, err)
	}
	if t := s.Temperature; !(t > 0) || math.IsInf(t, 0) {
		return fmt.Errorf("%w: temperature is %v; it must be above 0 and finite", ErrTask, t)
	}
	return nil
}

func (l Label) validate() error {
	switch {
	case strings.TrimSpace(l.Name) == "":
		return fmt.Errorf("the name is empty")
	case len(l.Name) > MaxNameBytes:
		return fmt.Errorf("the name has %d bytes; at most %d are allowed", len(l.Name), MaxNameBytes)
	case !utf8.ValidString(l.Name) || !utf8.ValidString(l.Verbaliser):
		return fmt.Errorf("label %q is not UTF-8", l.Name)
	case strings.TrimSpace(l.Verbaliser) == "":
		return fmt.Errorf("the verbaliser of %q is empty", l.Name)
	}
	return nil
}

// Task is a TaskSpec compiled for one engine. It is immutable and safe for
// concurrent use. A row that runs holds its task until its batch is done, even
// if its caller has left before.
type Task struct {
	vectors     *spec.Vectors
	names       []string
	paths       [][]int32 // token ids of the verbalisers, each ending in the end marker
	written     []string  // the verbalisers as the model writes them, after normalisation
	template    template
	blank       []int32 // ids of the template around no text
	temperature float64
	digest      string
	all         *trie
	subsets     *lru.Cache[uint64, *trie] // by the labels' bits
}

// NewTask compiles the labels' verbalisers into a trie. Errors wrap ErrTask and
// name the label or field.
func (e *Engine) NewTask(s TaskSpec) (*Task, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	t := &Task{vectors: s.Vectors, temperature: s.Temperature, digest: s.Digest}
	if err := e.compileLabels(t, s.Labels); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTask, err)
	}
	if err := e.compileTemplate(t, s.Template); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTask, err)
	}
	t.all = newTrie(t.names, t.paths)
	t.all.bits = math.MaxUint64
	var err error
	t.subsets, err = lru.New[uint64, *trie](maxSubsets)
	return t, err
}

func (e *Engine) compileLabels(t *Task, labels []Label) error {
	for i, l := range labels {
		path, err := e.path(l.Verbaliser)
		if err != nil {
			return fmt.Errorf("label %q: verbaliser %q %w", l.Name, l.Verbaliser, err)
		}
		if j := slices.IndexFunc(t.paths, func(p []int32) bool { return slices.Equal(p, path) }); j >= 0 {
			return fmt.Errorf("labels %q and %q: the verbalisers %q and %q have the same tokens",
				labels[j].Name, l.Name, labels[j].Verbaliser, labels[i].Verbaliser)
		}
		t.names, t.paths = append(t.names, l.Name), append(t.paths, path)
		t.written = append(t.written, strings.TrimSpace(e.tok.Decode(path, true)))
	}
	return nil
}

// labelOf is the label whose verbaliser the model has written, or "".
func (t *Task) labelOf(generated string) string {
	if i := slices.Index(t.written, strings.TrimSpace(generated)); i >= 0 {
		return t.names[i]
	}
	return ""
}

// path gives the ids the model writes for a verbaliser: those of a training
// target, the end marker last. The error completes "verbaliser x ...".
func (e *Engine) path(verbaliser string) ([]int32, error) {
	enc, err := e.tok.Encode(verbaliser, tokenizer.Options{AddSpecial: true})
	if err != nil {
		return nil, fmt.Errorf("cannot be tokenised: %w", err)
	}
	ids, n := enc.IDs, len(enc.IDs)
	switch {
	case n == 0 || slices.Index(ids, e.tok.EOS()) != n-1:
		return nil, fmt.Errorf("does not end in the end marker, or holds it before")
	case n == 1:
		return nil, fmt.Errorf("has no token")
	case n > MaxNewTokens:
		return nil, fmt.Errorf("has %d tokens; a model writes at most %d", n, MaxNewTokens)
	case slices.Contains(ids, e.tok.UNK()):
		return nil, fmt.Errorf("holds a token that the vocabulary lacks; use other words")
	}
	return ids, nil
}

// compileTemplate checks that the template leaves room for a text and spells no
// special token, which the options for users' texts would turn into an unknown one.
func (e *Engine) compileTemplate(t *Task, s string) error {
	var err error
	if t.template, err = parseTemplate(s); err != nil {
		return err
	}
	for _, part := range []string{t.template.before, t.template.after} {
		free, err := e.tok.Encode(part, tokenizer.Options{})
		if err != nil {
			return fmt.Errorf("template: %w", err)
		}
		guarded, err := e.tok.Encode(part, tokenizer.Options{ForbidSpecial: true})
		if err != nil {
			return fmt.Errorf("template: %w", err)
		}
		if !slices.Equal(free.IDs, guarded.IDs) {
			return fmt.Errorf("template: %q holds a special token", part)
		}
	}
	blank, err := e.tok.Encode(t.template.fill(""), userText)
	if err != nil {
		return fmt.Errorf("template: %w", err)
	}
	if n := len(blank.IDs); n >= e.opts.MaxTokens {
		return fmt.Errorf("template: it has %d tokens, which leaves no room for a text within %d", n, e.opts.MaxTokens)
	}
	t.blank = blank.IDs
	return nil
}

// trieOf gives the trie of the named labels, or of all if names is nil.
func (t *Task) trieOf(names []string) (*trie, error) {
	if names == nil {
		return t.all, nil
	}
	chosen, err := t.bits(names)
	if err != nil {
		return nil, err
	}
	if len(names) == len(t.names) {
		return t.all, nil
	}
	if sub, ok := t.subsets.Get(chosen); ok {
		return sub, nil
	}
	sub := t.restricted(chosen)
	t.subsets.Add(chosen, sub)
	return sub, nil
}

// bits names a set of labels: bit i stands for the task's label i.
func (t *Task) bits(names []string) (chosen uint64, err error) {
	for _, name := range names {
		i := slices.Index(t.names, name)
		if i < 0 {
			return 0, fmt.Errorf("%w %q; the labels are %q", ErrUnknownLabel, name, t.names)
		}
		if chosen&(1<<i) != 0 {
			return 0, fmt.Errorf("%w: label %q is named twice", ErrInvalidRequest, name)
		}
		chosen |= 1 << i
	}
	if len(names) < MinLabels {
		return 0, fmt.Errorf("%w: %d labels are named; at least %d are needed", ErrInvalidRequest, len(names), MinLabels)
	}
	return chosen, nil
}

func (t *Task) restricted(chosen uint64) *trie {
	var names []string
	var paths [][]int32
	for i, name := range t.names {
		if chosen&(1<<i) != 0 {
			names, paths = append(names, name), append(paths, t.paths[i])
		}
	}
	sub := newTrie(names, paths)
	sub.bits = chosen
	return sub
}
