package tokenizer

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	const charsmap = `{"type":"Precompiled","precompiled_charsmap":"CHARSMAP"}`
	seq := func(steps string) string { return `{"type":"Sequence","normalizers":[` + steps + `]}` }
	token := func(members string) string { return `[{"id":0,"content":"<pad>","special":true` + members + `}]` }
	post := func(single, tokens string) string {
		return `{"type":"TemplateProcessing","single":[` + single + `],"pair":[],"special_tokens":{` + tokens + `}}`
	}
	const a, eos = `{"Sequence":{"id":"A","type_id":0}}`, `{"SpecialToken":{"id":"</s>","type_id":0}}`
	const eosIDs = `"</s>":{"id":"</s>","ids":[1],"tokens":["</s>"]}`
	const vocab = `"vocab":[["<pad>",0],["</s>",0],["<unk>",0]]`
	for _, c := range []struct {
		member, value string
		want          error
		says          string
	}{
		{"surprise", `1`, ErrUnsupported, "surprise"},
		{"version", `]`, ErrFormat, ""},

		{"model", `null`, ErrFormat, "model"},
		{"model", `{"type":"BPE","vocab":{"a":0},"merges":[]}`, ErrUnsupported, `"BPE"`},
		{"model", `{"type":"Unigram","unk_id":2,"byte_fallback":true,` + vocab + `}`, ErrUnsupported, "byte_fallback"},
		{"model", `{"type":"Unigram","unk_id":null,` + vocab + `}`, ErrUnsupported, "unk_id"},
		{"model", `{"type":"Unigram","unk_id":3,` + vocab + `}`, ErrFormat, "unk_id 3"},
		{"model", `{"type":"Unigram","unk_id":2,"alpha":0.1,` + vocab + `}`, ErrUnsupported, "alpha"},
		{"model", `{"type":"Unigram","unk_id":0,"vocab":[]}`, ErrFormat, "no pieces"},
		{"model", `{"type":"Unigram","unk_id":0,"vocab":[["a",0],["b",--1]]}`, ErrFormat, "piece 1"},
		{"model", `{"type":"Unigram","unk_id":0,"vocab":[["a",01]]}`, ErrFormat, "piece 0"},
		{"model", `{"type":"Unigram","unk_id":0,"vocab":[["a",1e999]]}`, ErrFormat, "range"},
		{"model", `{"type":"Unigram","unk_id":0,"vocab":[["a",""]]}`, ErrFormat, "number"},
		{"model", `{"type":"Unigram","unk_id":0,"vocab":[["a",0,1]]}`, ErrFormat, "piece 0"},
		{"model", `{"type":"Unigram","unk_id":0,"vocab":[["a\x",0]]}`, ErrFormat, "piece 0"},
		{"model", `{"type":"Unigram","unk_id":0,"vocab":[["` + "\xff" + `",0]]}`, ErrFormat, "UTF-8"},
		{"model", `{"vocab":[],"vocab":[]}`, ErrFormat, "no pieces"},
		{"model", `{"type":"Unigram","type":"Unigram"}`, ErrFormat, "twice"},

		{"normalizer", `null`, ErrUnsupported, "normalizer"},
		{"normalizer", `{"type":"NFKC"}`, ErrUnsupported, "normalizer"},
		{"normalizer", seq(`{"type":"Strip","strip_left":true,"strip_right":true},` + charsmap), ErrUnsupported, "Precompiled"},
		{"normalizer", seq(charsmap + `,{"type":"Lowercase"}`), ErrUnsupported, "Lowercase"},
		{"normalizer", seq(charsmap + `,` + charsmap), ErrUnsupported, "Precompiled"},
		{"normalizer", seq(charsmap + `,{"type":"Strip","strip_left":true,"strip_up":true}`), ErrFormat, "strip_up"},
		{"normalizer", seq(charsmap + `,{"type":"Replace","pattern":{"String":"a"},"content":"b"}`), ErrUnsupported, "Replace"},
		{"normalizer", seq(charsmap + `,{"type":"Replace","pattern":{"Regex":" {2,}"},"content":"b"}`), ErrUnsupported, "Replace"},
		{"normalizer", seq(charsmap + `,null`), ErrFormat, "null"},
		{"normalizer", `{"type":"Precompiled","precompiled_charsmap":"!"}`, ErrFormat, "precompiled_charsmap"},

		{"pre_tokenizer", `null`, ErrUnsupported, "pre_tokenizer"},
		{"pre_tokenizer", `{"type":"ByteLevel"}`, ErrUnsupported, "pre_tokenizer"},
		{"pre_tokenizer", `{"type":"WhitespaceSplit"}`, ErrUnsupported, "pre_tokenizer"},
		{"pre_tokenizer", `{"type":"Metaspace","replacement":"_"}`, ErrUnsupported, `"_"`},
		{"pre_tokenizer", `{"type":"Metaspace","replacement":"▁","split":false}`, ErrUnsupported, "split"},
		{"pre_tokenizer", `{"type":"Metaspace","replacement":"▁","prepend_scheme":"often"}`, ErrUnsupported, "often"},
		{"pre_tokenizer", `{"type":"Metaspace","replacement":"▁","add_prefix_space":false}`, ErrFormat, "add_prefix_space"},
		{"pre_tokenizer", `{"type":"Metaspace","replacement":"▁","more":1}`, ErrFormat, "more"},
		{"decoder", `null`, ErrUnsupported, "decoder"},
		{"decoder", `{"type":"WordPiece"}`, ErrUnsupported, "decoder"},

		{"post_processor", `null`, ErrUnsupported, "post_processor"},
		{"post_processor", `{"type":"BertProcessing"}`, ErrUnsupported, "post_processor"},
		{"post_processor", post(a, ``), ErrUnsupported, "template"},
		{"post_processor", post(eos, eosIDs), ErrUnsupported, "template"},
		{"post_processor", post(a+`,`+a+`,`+eos, eosIDs), ErrUnsupported, "template"},
		{"post_processor", post(`{"Sequence":{"id":"B","type_id":0}},`+eos, eosIDs), ErrUnsupported, "template"},
		{"post_processor", post(a+`,`+eos, ``), ErrFormat, "</s>"},
		{"post_processor", post(a+`,`+eos, `"</s>":{"id":"</s>","ids":[9999],"tokens":["</s>"]}`), ErrFormat, "9999"},

		{"added_tokens", token(`,"single_word":true`), ErrUnsupported, "single_word"},
		{"added_tokens", token(`,"normalized":true`), ErrUnsupported, "normalized"},
		{"added_tokens", `[{"id":1,"content":"<pad>"}]`, ErrFormat, "its place is 0"},
		{"added_tokens", `[{"id":801,"content":"<new>"}]`, ErrFormat, "its place is 800"},
		{"added_tokens", `[{"id":0,"content":"<pad>"},{"id":0,"content":"<pad>"}]`, ErrFormat, "twice"},
		{"added_tokens", `[{"id":0,"content":""}]`, ErrFormat, "empty"},
		{"added_tokens", `[{"id":800,"content":" x"}]`, ErrUnsupported, "white space"},
		{"added_tokens", `[{"id":800,"content":"x\u3000"}]`, ErrUnsupported, "white space"},
		{"added_tokens", `{}`, ErrFormat, "added_tokens"},
	} {
		value := strings.ReplaceAll(c.value, "CHARSMAP", fixtureCharsmap(t))
		_, err := Parse(withMember(t, c.member, value))
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: error %v, want %v that says %q", c.member, c.value, err, c.want, c.says)
		}
	}
}

// withMember returns the T5 fixture with one member set to a value that need not be JSON.
func withMember(t *testing.T, member, value string) []byte {
	t.Helper()
	const mark = `"to be replaced"`
	data := patched(t, map[string]json.RawMessage{member: json.RawMessage(mark)})
	return []byte(strings.Replace(string(data), mark, value, 1))
}

func fixtureCharsmap(t *testing.T) string {
	t.Helper()
	var f struct {
		Normalizer struct {
			Normalizers []struct {
				Charsmap string `json:"precompiled_charsmap"`
			}
		}
	}
	if err := json.Unmarshal(patched(t, nil), &f); err != nil {
		t.Fatal(err)
	}
	return f.Normalizer.Normalizers[0].Charsmap
}

func TestParseDamaged(t *testing.T) {
	whole := string(patched(t, nil))
	for name, data := range map[string]string{
		"nothing":       "",
		"null":          "null",
		"a list":        "[]",
		"no members":    "{}",
		"more after it": whole + "{}",
		"no colon":      `{"model"}`,
		"no key":        `{1:2}`,
		"open string":   `{"model`,
		"open escape":   `{"model\`,
	} {
		if tok, err := Parse([]byte(data)); err == nil {
			t.Errorf("%s: parsed, %d pieces", name, tok.VocabSize())
		}
	}
	for n := 0; n < len(whole)-1; n += 97 {
		if _, err := Parse([]byte(whole[:n])); !errors.Is(err, ErrFormat) {
			t.Fatalf("the first %d bytes: error %v, want %v", n, err, ErrFormat)
		}
	}
}

func TestParseNeedsPad(t *testing.T) {
	model := `{"type":"Unigram","unk_id":0,"vocab":[["a",0],["</s>",0]]}`
	_, err := Parse(patched(t, map[string]json.RawMessage{"model": json.RawMessage(model), "added_tokens": json.RawMessage(`[]`)}))
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "<pad>") {
		t.Errorf("error %v", err)
	}
}

// TestParseIgnores has members that say nothing about the ids of a text.
func TestParseIgnores(t *testing.T) {
	for member, value := range map[string]string{
		"truncation": `{"direction":"Right","max_length":4,"strategy":"LongestFirst","stride":0}`,
		"padding":    `{"strategy":{"Fixed":9},"direction":"Right","pad_to_multiple_of":null,"pad_id":0,"pad_type_id":0,"pad_token":"<pad>"}`,
		"version":    `"2.0"`,
	} {
		tok, err := Parse(withMember(t, member, value))
		if err != nil {
			t.Errorf("%s: %v", member, err)
			continue
		}
		if e, err := tok.Encode("a b c d e f", Options{AddSpecial: true}); err != nil || len(e.IDs) < 7 || len(e.IDs) == 9 && e.IDs[8] == 0 {
			t.Errorf("%s: %v, %v", member, e, err)
		}
	}
}

func TestParseEscapes(t *testing.T) {
	model := `{"type":"Unigram","unk_id":2,"vocab":[["<pad>",0],["</s>",-0.0],["<unk>",0], ["\u2581\"\\\ud83d\ude00", -1.5e0 ],["▁",-3]]}`
	tok, err := Parse(patched(t, map[string]json.RawMessage{"model": json.RawMessage(model), "added_tokens": json.RawMessage(`[]`)}))
	if err != nil {
		t.Fatal(err)
	}
	if piece, _ := tok.Piece(3); piece != `▁"\😀` {
		t.Errorf("Piece(3) = %q", piece)
	}
	if e, err := tok.Encode(` "\😀`, Options{}); err != nil || len(e.IDs) != 1 || e.IDs[0] != 3 {
		t.Errorf("Encode = %v, %v", e, err)
	}
}
