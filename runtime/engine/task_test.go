package engine

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestNewTaskRefuses(t *testing.T) {
	e := start(t, hashed(), Options{MaxTokens: 8})
	many := make([]Label, MaxLabels+1)
	for i := range many {
		many[i] = Label{fmt.Sprint("l", i), fmt.Sprint("v", i)}
	}
	two := func(a, b Label) func(*TaskSpec) { return func(s *TaskSpec) { s.Labels = []Label{a, b} } }
	good := Label{"positive", "good"}
	tests := []struct {
		name   string
		change func(*TaskSpec)
		says   []string
	}{
		{"no labels", func(s *TaskSpec) { s.Labels = nil }, []string{"0 labels"}},
		{"one label", func(s *TaskSpec) { s.Labels = s.Labels[:1] }, []string{"1 labels", "2 to 64"}},
		{"too many labels", func(s *TaskSpec) { s.Labels = many }, []string{"65 labels"}},
		{"same name", two(good, Label{"positive", "fine"}), []string{"labels[1]", `"positive"`}},
		{"blank name", two(good, Label{" ", "bad"}), []string{"labels[1]", "name is empty"}},
		{"long name", two(good, Label{strings.Repeat("x", 129), "bad"}), []string{"labels[1]", "129 bytes"}},
		{"name not UTF-8", two(good, Label{"\xff", "bad"}), []string{"labels[1]", "UTF-8"}},
		{"blank verbaliser", two(good, Label{"negative", " \t"}), []string{`"negative"`, "empty"}},
		{"same tokens", two(good, Label{"negative", "good "}), []string{`"positive"`, `"negative"`, "same tokens"}},
		{"unknown token", two(good, Label{"negative", "bad ?"}), []string{`"negative"`, "vocabulary"}},
		{"end marker inside", two(good, Label{"negative", "bad </s> x"}), []string{`"negative"`, "end marker"}},
		{"long verbaliser", two(good, Label{"negative", strings.Repeat("a ", 64)}), []string{`"negative"`, "65 tokens"}},
		{"temperature 0", func(s *TaskSpec) { s.Temperature = 0 }, []string{"temperature is 0"}},
		{"temperature below 0", func(s *TaskSpec) { s.Temperature = -1 }, []string{"temperature is -1"}},
		{"temperature NaN", func(s *TaskSpec) { s.Temperature = math.NaN() }, []string{"temperature is NaN"}},
		{"temperature infinite", func(s *TaskSpec) { s.Temperature = math.Inf(1) }, []string{"temperature is +Inf"}},
		{"template without text", func(s *TaskSpec) { s.Template = "Review:" }, []string{"{text}"}},
		{"template with two texts", func(s *TaskSpec) { s.Template = "{text} {text}" }, []string{"{text} once"}},
		{"template with a special token", func(s *TaskSpec) { s.Template = "x {text} </s>" }, []string{"special token"}},
		{"template too long", func(s *TaskSpec) { s.Template = "{text} a b c d e f g" }, []string{"8 tokens", "no room"}},
		{"template far too long", func(s *TaskSpec) { s.Template = strings.Repeat("a", 1<<17) + "{text}" }, []string{"template: "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := sentiments()
			tt.change(&s)
			_, err := e.NewTask(s)
			if !errors.Is(err, ErrTask) {
				t.Fatalf("got %v", err)
			}
			for _, part := range tt.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestVerbaliserMayBeginAnother(t *testing.T) {
	e := start(t, hashed(), Options{})
	s := sentiments()
	s.Labels = append(s.Labels, Label{"very positive", "good good"})
	if out := one(t, e, Request{Text: "x", Task: task(t, e, s)}); out.Err != nil || len(out.LogProbs) != 4 {
		t.Errorf("got %+v", out)
	}
}

func TestTrieOf(t *testing.T) {
	e := start(t, hashed(), Options{})
	tk := task(t, e, sentiments())
	for _, tt := range []struct {
		name  string
		names []string
		err   error
		says  string
	}{
		{"unknown", []string{"negative", "sad"}, ErrUnknownLabel, `"sad"; the labels are ["negative" "neutral" "positive"]`},
		{"twice", []string{"negative", "negative"}, ErrInvalidRequest, `"negative" is named twice`},
		{"one", []string{"negative"}, ErrInvalidRequest, "1 labels"},
		{"none", []string{}, ErrInvalidRequest, "0 labels"},
	} {
		_, err := tk.trieOf(tt.names)
		if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if tr, err := tk.trieOf([]string{"positive", "neutral", "negative"}); err != nil || tr != tk.all {
		t.Errorf("all by name: %v, %v", tr, err)
	}
	first, err := tk.trieOf([]string{"positive", "negative"})
	if err != nil || !slices.Equal(first.names, []string{"negative", "positive"}) {
		t.Fatalf("got %v, %v", first, err)
	}
	if again, _ := tk.trieOf([]string{"negative", "positive"}); again != first {
		t.Error("the same labels in another order make another trie")
	}
}

func TestSubsetCacheIsBounded(t *testing.T) {
	e := start(t, hashed(), Options{})
	s := TaskSpec{Temperature: 1}
	for i := range MaxLabels {
		s.Labels = append(s.Labels, Label{fmt.Sprint("l", i), fmt.Sprint("v", i)})
	}
	tk := task(t, e, s)
	for i := range MaxLabels - 1 {
		tr, err := tk.trieOf([]string{fmt.Sprint("l", i), "l63"})
		if err != nil || !slices.Equal(tr.names, []string{fmt.Sprint("l", i), "l63"}) {
			t.Fatalf("%v, %v", tr, err)
		}
	}
	if n := tk.subsets.Len(); n != maxSubsets {
		t.Errorf("%d tries are kept", n)
	}
}
