package engine

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"valence/runtime/tokenizer"
)

func TestTextsRefused(t *testing.T) {
	e := start(t, hashed(), Options{MaxTokens: 6})
	tk := task(t, e, sentiments())
	for _, tt := range []struct {
		name, text string
		truncate   bool
		err        error
		says       string
	}{
		{"empty", "", true, ErrEmptyText, ""},
		{"white space", " \t\n\u00a0\u3000", true, ErrEmptyText, ""},
		{"not UTF-8", "a\uFFFD b\xff", true, ErrInvalidText, "byte 6"},
		{"truncated rune", "abc\xe2\x82", true, ErrInvalidText, "byte 3"},
		{"too long", "a b c d e f g", false, ErrTooLong, "8 tokens; at most 6"},
		{"too many bytes", strings.Repeat("a", 1<<17), true, ErrTooLong, ""},
	} {
		out := one(t, e, Request{Text: tt.text, Task: tk, Truncate: tt.truncate})
		if !errors.Is(out.Err, tt.err) || !strings.Contains(out.Err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, out.Err)
		}
	}
}

func TestTextThatNormalisesAwayIsEmpty(t *testing.T) {
	tok := words()
	tok.encode = func(text string, o tokenizer.Options) (*tokenizer.Encoding, error) {
		return encodeWords(strings.ReplaceAll(text, "\u200b", ""), o)
	}
	e := New(hashed(), tok, Options{}, slog.New(slog.DiscardHandler))
	defer e.Close(context.Background())
	for _, template := range []string{"", "Review: {text} Mood:"} {
		s := sentiments()
		s.Template = template
		if out := one(t, e, Request{Text: "\u200b", Task: task(t, e, s)}); !errors.Is(out.Err, ErrEmptyText) {
			t.Errorf("template %q: %v", template, out.Err)
		}
	}
}

func ids(t *testing.T, text string) []int32 {
	t.Helper()
	enc, err := encodeWords(text, userText)
	if err != nil {
		t.Fatal(err)
	}
	return enc.IDs
}

func TestTemplateAndTruncation(t *testing.T) {
	tests := []struct {
		name, template, text string
		want                 string // what the ids spell
		cut                  bool
	}{
		{"no template, fits", "", "a b c d e", "a b c d e", false},
		{"no template, cut", "", "a b c d e f g", "a b c d e", true},
		{"template, fits", "x {text} y", "a b c", "x a b c y", false},
		{"template's tail stays", "x {text} y", "a b c d e f", "x a b c y", true},
		{"nothing before", "{text} y", "a b c d e f", "a b c d y", true},
		{"nothing after", "x {text}", "a b c d e f", "x a b c d", true},
		{"a word is cut where a token begins", "x {text} y", "a bbbbcccc dddd", "x a bbbbcccc y", true},
		// "abbbbccccdddd" is read a bbbb cccc dddd and cut before dddd, where it is read a bbbb cccc again.
		{"a cut inside a word", "x {text} y", "abbbbccccdddd", "x abbbbcccc y", true},
		{"characters stay whole", "x {text} y", "ÄÄÄÄÖÖÖÖÜÜÜÜßßßß", "x ÄÄÄÄÖÖÖÖÜÜÜÜ y", true},
		{"the text is not a template", "x {text} y", "{text}", "x {text} y", false},
		{"forged end marker", "", "a </s> b", "a </s> b", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := start(t, hashed(), Options{MaxTokens: 6})
			s := sentiments()
			s.Template = tt.template
			got, cut, err := e.encode(task(t, e, s), tt.text, true)
			if err != nil {
				t.Fatal(err)
			}
			if want := ids(t, tt.want); !slices.Equal(got, want) || cut != tt.cut {
				t.Errorf("got %v %v, want %v %v", got, cut, want, tt.cut)
			}
			if i := slices.Index(got, eos); i != len(got)-1 {
				t.Errorf("the end marker is at %d of %d", i, len(got))
			}
		})
	}
}

func TestCharacterThatDoesNotFit(t *testing.T) {
	tok := words()
	tok.encode = func(text string, o tokenizer.Options) (*tokenizer.Encoding, error) {
		e, err := encodeWords(text, o)
		for i := strings.Index(text, "ﷺ"); i >= 0 && len(e.IDs) < 9; {
			e.IDs, e.Offsets = slices.Insert(e.IDs, 1, 77), slices.Insert(e.Offsets, 1, span(i, len("ﷺ")))
		}
		return e, err
	}
	e := New(hashed(), tok, Options{MaxTokens: 6}, slog.New(slog.DiscardHandler))
	defer e.Close(context.Background())
	s := sentiments()
	s.Template = "x {text} y"
	_, _, err := e.encode(task(t, e, s), "ﷺ", true)
	long, ok := errors.AsType[*TooLongError](err)
	if !ok || !errors.Is(err, ErrTooLong) || long.Limit != 6 || long.Tokens != 9 {
		t.Errorf("got %v", err)
	}
}

// TestTruncationWithRealTokenizer holds every length limit against every text
// with the tokenizer that the server uses.
func TestTruncationWithRealTokenizer(t *testing.T) {
	data, err := os.ReadFile("../tokenizer/testdata/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	const template = "Review: {text} Sentiment:"
	tail, err := tok.Encode(" Sentiment:", tokenizer.Options{AddSpecial: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"The food was cold and the waiter was rude, incomprehensibly so.",
		"㎞㍿ ﷺ が゛ e\u0301\u0301 👩‍👩‍👧‍👦👩‍👩‍👧‍👦 ไม่ดีเลยครับ",
		"Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen",
		strings.Repeat("词语 ", 300) + "</s>",
	} {
		for limit := 24; limit < 64; limit++ {
			e := New(hashed(), tok, Options{MaxTokens: limit}, slog.New(slog.DiscardHandler))
			s := sentiments()
			s.Template = template
			got, cut, err := e.encode(task(t, e, s), text, true)
			if err != nil {
				t.Fatalf("%q at %d: %v", text, limit, err)
			}
			if len(got) > limit || !slices.Equal(got[len(got)-len(tail.IDs):], tail.IDs) {
				t.Fatalf("%q at %d: %v (the tail is %v)", text, limit, got, tail.IDs)
			}
			if slices.Index(got, tok.EOS()) != len(got)-1 {
				t.Fatalf("%q at %d: an end marker inside %v", text, limit, got)
			}
			if !cut && limit < 40 && strings.HasPrefix(text, "词语") {
				t.Fatalf("%q at %d: not cut", text, limit)
			}
			// "ﷺ" is many tokens that only go together.
			if cut && len(got) < limit-3 && !strings.Contains(text, "ﷺ") {
				t.Errorf("%q at %d: only %d tokens are left", text, limit, len(got))
			}
			if err := e.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
}
