package tokenizer

import (
	"slices"
	"strings"
	"testing"
)

// wordTexts returns the texts of words, joined by "|".
func wordTexts(text string, words []Word) string {
	var parts []string
	for _, w := range words {
		parts = append(parts, text[w.Start:w.End])
	}
	return strings.Join(parts, "|")
}

func TestWords(t *testing.T) {
	split, spaced := loadTokenizer(t, "testdata/tokenizer.json"), layoutNamed(t, "converted with add_prefix_space")
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"   ", ""},
		{"The service", "The|service"},
		{"  The   service\tis \n good  ", "The|service|is|good"},
		{"unbelievably good!", "unbelievably|good!"},
		{"naïve\u3000café\u00a0x", "naïve|café|x"},
		{"x</s>y z", "x</s>y|z"},
		{"日本語 テキスト", "日本語|テキスト"},
		{"a\xff b", "a\xff|b"},
	} {
		for name, tok := range map[string]*Tokenizer{"white-space split": split, "Metaspace": spaced} {
			e, err := tok.Encode(c.text, Options{AddSpecial: true})
			if err != nil {
				t.Fatal(err)
			}
			words := e.Words(c.text)
			if got := wordTexts(c.text, words); got != c.want {
				t.Errorf("%s: words of %q = %q, want %q", name, c.text, got, c.want)
			}
			next, end := e.Body()
			for _, w := range words {
				if w.FirstToken != next || w.EndToken <= w.FirstToken {
					t.Errorf("%s: words of %q: tokens %d to %d after %d", name, c.text, w.FirstToken, w.EndToken, next)
				}
				next = w.EndToken
			}
			if len(words) > 0 && next != end {
				t.Errorf("%s: words of %q: tokens from %d on belong to none", name, c.text, next)
			}
		}
	}
}

func TestWordsOfTruncated(t *testing.T) {
	tok := loadTokenizer(t, "testdata/tokenizer.json")
	const text = "one two three four five six seven"
	e, err := tok.Encode(text, Options{AddSpecial: true, MaxTokens: 4})
	if err != nil {
		t.Fatal(err)
	}
	got := wordTexts(text, e.Words(text))
	if !e.Truncated || got == "" || !strings.HasPrefix("one|two|three", got) {
		t.Errorf("words %q, truncated %v", got, e.Truncated)
	}
}

func TestWordsOfTrailingSpace(t *testing.T) {
	// A layout that does not strip has a token for the white space at the end, which counts for the last word.
	tok := layoutNamed(t, "charsmap alone")
	const text = "good  "
	e, err := tok.Encode(text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	words := e.Words(text)
	if got := wordTexts(text, words); got != "good" || words[0].EndToken != len(e.IDs) {
		t.Errorf("words %q with tokens to %d of %d", got, words[0].EndToken, len(e.IDs))
	}
	if last := e.Offsets[len(e.Offsets)-1]; !slices.Equal([]int32{last.Start, last.End}, []int32{5, 6}) {
		t.Errorf("last token stands for %v, want the last space", last)
	}
}
