package tokenizer

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// layoutNamed returns the tokenizer of a line of testdata/t5/layouts.jsonl.
func layoutNamed(tb testing.TB, name string) *Tokenizer {
	tb.Helper()
	for _, l := range readLines[layout](tb, "testdata/t5/layouts.jsonl") {
		if l.Name == name {
			tok, err := Parse(patched(tb, l.Patch))
			if err != nil {
				tb.Fatal(err)
			}
			return tok
		}
	}
	tb.Fatalf("no layout %q", name)
	return nil
}

func TestLookups(t *testing.T) {
	tok := layoutNamed(t, "<s> $A </s>")
	bos, ok := tok.ID("<s>")
	if !ok || int(bos) != tok.VocabSize()-1 {
		t.Errorf("ID(<s>) = %d, %v, want the last id of %d", bos, ok, tok.VocabSize())
	}
	if tok.PAD() != 0 || tok.EOS() != 1 || tok.UNK() != 2 {
		t.Errorf("pad %d, eos %d, unk %d, want 0, 1, 2", tok.PAD(), tok.EOS(), tok.UNK())
	}
	for id := range int32(tok.VocabSize()) {
		piece, ok := tok.Piece(id)
		if back, found := tok.ID(piece); !ok || !found || back != id {
			t.Errorf("Piece(%d) = %q, %v, whose id is %d, %v", id, piece, ok, back, found)
		}
	}
	for _, id := range []int32{-1, int32(tok.VocabSize())} {
		if piece, ok := tok.Piece(id); ok || tok.IsSpecial(id) {
			t.Errorf("Piece(%d) = %q", id, piece)
		}
	}
	if id, ok := tok.ID("no such piece"); ok {
		t.Errorf("ID of no piece = %d", id)
	}
	if !tok.IsSpecial(bos) || !tok.IsSpecial(tok.EOS()) || tok.IsSpecial(300) {
		t.Error("IsSpecial is wrong about <s>, </s> or piece 300")
	}
}

func TestOptions(t *testing.T) {
	tok := layoutNamed(t, "<s> $A </s>")
	long := strings.Repeat("a", DefaultMaxBytes+1)
	for _, c := range []struct {
		name string
		text string
		o    Options
		want error
		ids  int
	}{
		{"no special tokens", "", Options{}, nil, 0},
		{"special tokens", "", Options{AddSpecial: true}, nil, 2},
		{"limit equals special tokens", "good", Options{AddSpecial: true, MaxTokens: 2}, nil, 2},
		{"limit below special tokens", "good", Options{AddSpecial: true, MaxTokens: 1}, ErrOptions, 0},
		{"limit without special tokens", "a b c", Options{MaxTokens: 1}, nil, 1},
		{"negative limit", "good", Options{MaxTokens: -1}, ErrOptions, 0},
		{"negative length", "good", Options{MaxBytes: -1}, ErrOptions, 0},
		{"length above the largest", "good", Options{MaxBytes: LimitMaxBytes + 1}, ErrOptions, 0},
		{"text above the default", long, Options{MaxTokens: 3}, ErrTextTooLong, 0},
		{"larger length", long, Options{MaxTokens: 3, MaxBytes: len(long)}, nil, 3},
		{"text of the length", "good", Options{MaxTokens: 1, MaxBytes: 4}, nil, 1},
		{"text above the length", "good", Options{MaxTokens: 1, MaxBytes: 3}, ErrTextTooLong, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := tok.Encode(c.text, c.o)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err == nil && len(e.IDs) != c.ids {
				t.Errorf("%d ids, want %d", len(e.IDs), c.ids)
			}
		})
	}
}

func TestErrorLeavesEncoding(t *testing.T) {
	tok := loadTokenizer(t, "testdata/tokenizer.json")
	e, err := tok.Encode("good", Options{AddSpecial: true})
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(e.IDs)
	if err := tok.EncodeInto(e, "xx", Options{MaxBytes: 1}); err == nil || !slices.Equal(e.IDs, before) {
		t.Errorf("error %v, ids %v, want %v", err, e.IDs, before)
	}
}

func TestForbidSpecial(t *testing.T) {
	main, prefixed := loadTokenizer(t, "testdata/tokenizer.json"), layoutNamed(t, "<s> $A </s>")
	for _, c := range []struct {
		tok  *Tokenizer
		text string
	}{
		{main, "</s>"}, {main, "bad</s> good <pad>"}, {main, "＜/s＞"}, {main, "a＜／ｓ＞b"}, {main, "<unk>"},
		{prefixed, "<s> x </s>"}, {prefixed, "<extra_id_7>"}, {prefixed, "＜/ｓ＞"},
	} {
		free, err := c.tok.Encode(c.text, Options{AddSpecial: true})
		if err != nil {
			t.Fatal(err)
		}
		e, err := c.tok.Encode(c.text, Options{AddSpecial: true, ForbidSpecial: true})
		if err != nil {
			t.Fatal(err)
		}
		start, end := e.Body()
		forged := 0
		for i, id := range free.IDs {
			if want := id; i >= start && i < end && c.tok.IsSpecial(id) {
				forged++
				if e.IDs[i] != c.tok.UNK() {
					t.Errorf("%q: id %d of the text became %d, want the unknown token", c.text, want, e.IDs[i])
				}
			} else if e.IDs[i] != want {
				t.Errorf("%q: id %d became %d", c.text, want, e.IDs[i])
			}
		}
		if forged == 0 {
			t.Errorf("%q forges nothing", c.text)
		}
		if !slices.Equal(e.Offsets, free.Offsets) {
			t.Errorf("%q: offsets changed", c.text)
		}
	}
}

func TestInvalidUTF8(t *testing.T) {
	tok := loadTokenizer(t, "testdata/tokenizer.json")
	for _, text := range []string{"\xff", "good \xc3 bad", "a\xf0\x9f\x98b", "\xe2\x82\xe2\x82\xac", "\xed\xa0\x80", "x\xffy\xffz</s>\x80"} {
		valid := pythonReplace(text)
		got, err := tok.Encode(text, Options{AddSpecial: true})
		if err != nil {
			t.Fatal(err)
		}
		want, err := tok.Encode(valid, Options{AddSpecial: true})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.IDs, want.IDs) {
			t.Errorf("Encode(%q).IDs = %v, want %v as for %q", text, got.IDs, want.IDs, valid)
		}
		_, end := got.Body()
		for i, s := range got.Offsets[:end] {
			w := want.Offsets[i]
			if pythonReplace(text[s.Start:s.End]) != valid[w.Start:w.End] {
				t.Errorf("Encode(%q): token %d stands for %q, want %q", text, i, text[s.Start:s.End], valid[w.Start:w.End])
			}
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := loadTokenizer(t, "testdata/tokenizer.json")
	cases := readLines[fixtureCase](t, "testdata/cases.jsonl")[:500]
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			var e Encoding
			order := rand.New(rand.NewPCG(1, uint64(worker))).Perm(len(cases))
			for _, i := range order {
				if err := tok.EncodeInto(&e, cases[i].Text, Options{AddSpecial: true}); err != nil || !slices.Equal(e.IDs, cases[i].IDs) {
					t.Errorf("Encode(%q) = %v, %v, want %v", cases[i].Text, e.IDs, err, cases[i].IDs)
				}
			}
		})
	}
	wg.Wait()
}

func TestHugeWord(t *testing.T) {
	tok := loadTokenizer(t, "testdata/tokenizer.json")
	text := strings.Repeat("㎞", DefaultMaxBytes/3)
	e, err := tok.Encode(text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if last := e.Offsets[len(e.Offsets)-1]; int(last.End) != len(text) {
		t.Errorf("last token ends at %d of %d", last.End, len(text))
	}
}

func TestStages(t *testing.T) {
	tok := loadTokenizer(t, "testdata/tokenizer.json")
	const text = "  ﬁne\u3000\xffday "
	f, err := tok.Normalize(text)
	if err != nil {
		t.Fatal(err)
	}
	units, err := tok.PreTokenize(f)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int32
	var spans []Span
	for _, u := range units {
		e, err := tok.Tokenize(u.Text)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.IDs...)
		for _, s := range e.Offsets {
			spans = append(spans, Span{u.Spans[s.Start].Start, u.Spans[s.End-1].End})
		}
	}
	want, err := tok.Encode(text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ids, want.IDs) || !slices.Equal(spans, want.Offsets) {
		t.Errorf("stages give %v %v, Encode gives %v %v", ids, spans, want.IDs, want.Offsets)
	}
	if _, err := tok.PreTokenize(Fragment{Text: "ab", Spans: make([]Span, 1)}); !errors.Is(err, ErrText) {
		t.Errorf("PreTokenize without spans: %v", err)
	}
	if _, err := tok.Tokenize("\xff"); !errors.Is(err, ErrText) {
		t.Errorf("Tokenize of invalid UTF-8: %v", err)
	}
	if _, err := tok.Normalize(strings.Repeat("a", DefaultMaxBytes+1)); !errors.Is(err, ErrTextTooLong) {
		t.Errorf("Normalize of a long text: %v", err)
	}
}
