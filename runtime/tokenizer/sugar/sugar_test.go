package sugar

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	sugarme "github.com/sugarme/tokenizer"
	"github.com/sugarme/tokenizer/normalizer"

	"valence/runtime/tokenizer"
)

func load(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	data, err := os.ReadFile("../testdata/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// texts returns the texts of the fixture that hold no added token.
func texts(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("../testdata/cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range bytes.Lines(data) {
		var c struct{ Text string }
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		added := func(s string) bool { return strings.Contains(c.Text, s) }
		if c.Text != "" && !slices.ContainsFunc([]string{"<pad>", "</s>", "<unk>"}, added) {
			all = append(all, c.Text)
		}
	}
	return all
}

func TestPipelineAgreesWithEncode(t *testing.T) {
	tok := load(t)
	pipeline := New(tok)
	n := 0
	for _, text := range texts(t) {
		want, err := tok.Encode(text, tokenizer.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := pipeline.EncodeSingle(text)
		if err != nil {
			t.Errorf("EncodeSingle(%q): %v", text, err)
			continue
		}
		as := Encoding(tok, want, text)
		if !slices.Equal(got.Ids, as.Ids) {
			t.Errorf("EncodeSingle(%q).Ids = %v, want %v", text, got.Ids, as.Ids)
		}
		if !slices.EqualFunc(got.Offsets, as.Offsets, slices.Equal[[]int]) {
			t.Errorf("EncodeSingle(%q).Offsets = %v, want %v", text, got.Offsets, as.Offsets)
		}
		n++
	}
	if n < 4000 {
		t.Errorf("only %d texts", n)
	}
}

func TestEncoding(t *testing.T) {
	tok := load(t)
	const text = "The account  Überprüfung"
	e, err := tok.Encode(text, tokenizer.Options{AddSpecial: true})
	if err != nil {
		t.Fatal(err)
	}
	got := Encoding(tok, e, text)
	n := len(e.IDs)
	if got.Ids[n-1] != int(tok.EOS()) || got.Tokens[n-1] != "</s>" || got.SpecialTokenMask[n-1] != 1 || got.Words[n-1] != -1 {
		t.Errorf("last token is %d %q, special %d, word %d", got.Ids[n-1], got.Tokens[n-1], got.SpecialTokenMask[n-1], got.Words[n-1])
	}
	if got.Words[0] != 0 || got.Words[n-2] != 2 || got.SpecialTokenMask[0] != 0 || slices.Contains(got.AttentionMask, 0) {
		t.Errorf("words %v, special %v, attention %v", got.Words, got.SpecialTokenMask, got.AttentionMask)
	}
	if got.Len() != n || got.Offsets[n-2][1] != len(text) {
		t.Errorf("%d tokens up to byte %d, want %d up to %d", got.Len(), got.Offsets[n-2][1], n, len(text))
	}
}

func TestNormalizerKeepsEarlierAlignments(t *testing.T) {
	tok := load(t)
	n := normalizer.NewNormalizedFrom("\u200b ﬁne").Strip().Prepend("x")
	got, err := Normalizer{tok}.Normalize(n)
	if err != nil {
		t.Fatal(err)
	}
	text := got.GetNormalized()
	if !strings.HasSuffix(text, "fine") || got.GetOriginal() != n.GetOriginal() {
		t.Errorf("normalised %q of %q", text, got.GetOriginal())
	}
	i := strings.Index(text, "i")
	if a := got.Alignments()[i]; got.GetOriginal()[a[0]:a[1]] != "ﬁ" {
		t.Errorf("the i of %q stands for %q", text, got.GetOriginal()[a[0]:a[1]])
	}
}

func TestInvalidText(t *testing.T) {
	tok := load(t)
	n := normalizer.NewNormalizedFrom("a\xffb")
	if _, err := (Normalizer{tok}).Normalize(n); !errors.Is(err, tokenizer.ErrText) {
		t.Errorf("Normalize: %v", err)
	}
	if _, err := (PreTokenizer{tok}).PreTokenize(sugarme.NewPreTokenizedStringFromNS(n)); !errors.Is(err, tokenizer.ErrText) {
		t.Errorf("PreTokenize: %v", err)
	}
}

func TestModel(t *testing.T) {
	m := Model{load(t)}
	vocab := m.GetVocab()
	if len(vocab) != 16100 || m.GetVocabSize() != 16100 || vocab["</s>"] != 1 {
		t.Errorf("%d pieces, </s> is %d", len(vocab), vocab["</s>"])
	}
	if id, ok := m.TokenToId("</s>"); !ok || id != 1 {
		t.Errorf("TokenToId(</s>) = %d, %v", id, ok)
	}
	if token, ok := m.IdToToken(1); !ok || token != "</s>" {
		t.Errorf("IdToToken(1) = %q, %v", token, ok)
	}
	for _, id := range []int{-1, 16100, 1<<32 + 1} {
		if token, ok := m.IdToToken(id); ok {
			t.Errorf("IdToToken(%d) = %q", id, token)
		}
	}
	if err := m.Save("x"); !errors.Is(err, ErrSave) {
		t.Errorf("Save: %v", err)
	}
	if _, err := m.Tokenize("\xff"); !errors.Is(err, tokenizer.ErrText) {
		t.Errorf("Tokenize of invalid UTF-8: %v", err)
	}
}
