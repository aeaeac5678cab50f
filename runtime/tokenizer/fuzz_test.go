package tokenizer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"testing"
	"unicode/utf8"
)

// FuzzParse checks that no file makes Parse or the tokenizer that it returns panic.
func FuzzParse(f *testing.F) {
	// Small files, since the fuzzer's minimiser takes minutes over one of the fixture's size.
	vocab := json.RawMessage(`{"type":"Unigram","unk_id":2,"vocab":[["<pad>",0],["</s>",0],["<unk>",0],["▁",-2],["▁Good",-3.5],["x\u00e9",-4e0]]}`)
	charsmap := json.RawMessage(`{"type":"Precompiled","precompiled_charsmap":"` + encodeCharsmap(oneKey(0)[:80], "e\x00") + `"}`)
	for _, l := range readLines[layout](f, "testdata/t5/layouts.jsonl") {
		maps.DeleteFunc(l.Patch, func(key string, _ json.RawMessage) bool { return key == "added_tokens" || key == "post_processor" })
		l.Patch["model"] = vocab
		l.Patch["normalizer"] = charsmap
		l.Patch["added_tokens"] = json.RawMessage(`[{"id":1,"content":"</s>","special":true,"lstrip":true},{"id":6,"content":"<s>"}]`)
		f.Add(patched(f, l.Patch))
	}
	f.Add([]byte(`{"model":{"type":"Unigram","vocab":[["a",-1.5e3]]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrUnsupported) {
				t.Errorf("error without a kind: %v", err)
			}
			return
		}
		for _, text := range []string{"Good  day\r\n</s> é 한 ＜/s＞", string(data[:min(len(data), 100)])} {
			e, err := tok.Encode(text, Options{AddSpecial: true})
			if err != nil {
				t.Fatal(err)
			}
			tok.Decode(e.IDs, true)
			e.Words(text)
		}
	})
}

// FuzzCharsmap checks that no character map leads outside itself, nor a text to invalid UTF-8 or spans.
func FuzzCharsmap(f *testing.F) {
	for _, encoded := range []string{encodeCharsmap(oneKey(2), "x\x00yz\x00"), encodeCharsmap(oneKey(3), "x\x00\x00")} {
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, "AbA\u0301 é")
	}
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		m, err := parseCharsmap(base64.StdEncoding.EncodeToString(raw))
		if err != nil || !utf8.ValidString(text) {
			return
		}
		var a, spare aligned
		n := normalizer{charsmap: m, steps: []normStep{stripSpaces{right: true}, collapseSpaces{wordMarker}}}
		n.run(&a, &spare, text, 0)
		if !utf8.Valid(a.text) || len(a.spans) != len(a.text) {
			t.Fatalf("%q became %q with %d spans", text, a.text, len(a.spans))
		}
		for _, s := range a.spans {
			if s.Start > s.End || int(s.End) > len(text) || !onBoundary(text, s.Start) || !onBoundary(text, s.End) {
				t.Fatalf("%q: span %v", text, s)
			}
		}
	})
}

// FuzzEncode checks what holds of every encoding.
func FuzzEncode(f *testing.F) {
	toks := []*Tokenizer{loadTokenizer(f, "testdata/tokenizer.json"), layoutNamed(f, "tokens that take white space along"), layoutNamed(f, "collapse, then strip")}
	for _, c := range readLines[fixtureCase](f, "testdata/cases.jsonl")[:300] {
		f.Add(c.Text, 0)
	}
	f.Add("a\xff\xe2\x82 b</s>", 3)
	f.Fuzz(func(t *testing.T, text string, maxTokens int) {
		for _, tok := range toks {
			o := Options{AddSpecial: true, ForbidSpecial: true, MaxTokens: max(maxTokens, 0)}
			e, err := tok.Encode(text, o)
			switch {
			case errors.Is(err, ErrOptions) || errors.Is(err, ErrTextTooLong):
				continue
			case err != nil:
				t.Fatal(err)
			}
			checkEncoding(t, tok, e, text, o)
		}
	})
}

func checkEncoding(t *testing.T, tok *Tokenizer, e *Encoding, text string, o Options) {
	t.Helper()
	if o.MaxTokens > 0 && len(e.IDs) > o.MaxTokens || len(e.IDs) != len(e.Offsets) {
		t.Fatalf("%q: %d ids, %d offsets, at most %d wanted", text, len(e.IDs), len(e.Offsets), o.MaxTokens)
	}
	start, end := e.Body()
	last := int32(0)
	for i := start; i < end; i++ {
		s := e.Offsets[i]
		if s.Start < last || s.End < s.Start || int(s.End) > len(text) {
			t.Fatalf("%q: token %d has the span %v after start %d", text, i, s, last)
		}
		if !onBoundary(text, s.Start) || !onBoundary(text, s.End) {
			t.Fatalf("%q: the span %v of token %d cuts a character", text, s, i)
		}
		if tok.IsSpecial(e.IDs[i]) && e.IDs[i] != tok.UNK() {
			t.Fatalf("%q: special token %d in the text", text, e.IDs[i])
		}
		last = s.Start
	}
	for _, w := range e.Words(text) {
		if w.Start >= w.End || bytes.ContainsAny([]byte(text[w.Start:w.End]), " \t\n") {
			t.Fatalf("%q: word %v", text, w)
		}
	}
}

// onBoundary tells whether no character of a valid text goes over byte i; invalid text has no such boundaries.
func onBoundary(text string, i int32) bool {
	return int(i) == len(text) || utf8.RuneStart(text[i]) || !utf8.ValidString(text)
}
