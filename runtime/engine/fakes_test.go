package engine

import (
	"context"
	"hash/fnv"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"valence/runtime/mt5/spec"
	"valence/runtime/tokenizer"
)

type fakeRunner struct {
	score    func(ctx context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error)
	generate func(ctx context.Context, b *spec.Batch, maxNew int) ([][]int32, error)
}

func (f fakeRunner) Score(ctx context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error) {
	return f.score(ctx, b, probes)
}

func (f fakeRunner) Generate(ctx context.Context, b *spec.Batch, maxNew int) ([][]int32, error) {
	return f.generate(ctx, b, maxNew)
}

type fakeTokenizer struct {
	encode func(text string, o tokenizer.Options) (*tokenizer.Encoding, error)
	decode func(ids []int32, skipSpecial bool) string
}

func (f fakeTokenizer) Encode(text string, o tokenizer.Options) (*tokenizer.Encoding, error) {
	return f.encode(text, o)
}
func (f fakeTokenizer) Decode(ids []int32, skip bool) string { return f.decode(ids, skip) }
func (f fakeTokenizer) EOS() int32                           { return eos }
func (f fakeTokenizer) UNK() int32                           { return unk }

const (
	eos int32 = 1
	unk int32 = 2
)

// words is a tokenizer whose pieces have at most four characters and are counted
// from a word's end: to cut a word moves all its boundaries. "</s>" is special
// and "?" unknown.
func words() fakeTokenizer {
	return fakeTokenizer{encode: encodeWords, decode: decodeIDs}
}

func encodeWords(text string, o tokenizer.Options) (*tokenizer.Encoding, error) {
	if len(text) > 1<<16 {
		return nil, tokenizer.ErrTextTooLong
	}
	e := &tokenizer.Encoding{}
	at := 0
	for word := range strings.FieldsSeq(text) {
		at += strings.Index(text[at:], word)
		encodeWord(e, word, at, o)
		at += len(word)
	}
	if keep := o.MaxTokens - 1; o.MaxTokens > 0 && len(e.IDs) > keep {
		e.IDs, e.Offsets, e.Truncated = e.IDs[:keep], e.Offsets[:keep], true
	}
	if o.AddSpecial {
		e.IDs, e.Offsets = append(e.IDs, eos), append(e.Offsets, tokenizer.Span{})
	}
	return e, nil
}

func encodeWord(e *tokenizer.Encoding, word string, at int, o tokenizer.Options) {
	if word == "</s>" {
		id := eos
		if o.ForbidSpecial {
			id = unk
		}
		e.IDs, e.Offsets = append(e.IDs, id), append(e.Offsets, span(at, len(word)))
		return
	}
	size := (utf8.RuneCountInString(word)-1)%4 + 1
	for word != "" {
		n := 0
		for range size {
			_, w := utf8.DecodeRuneInString(word[n:])
			n += w
		}
		e.IDs, e.Offsets = append(e.IDs, idOf(word[:n])), append(e.Offsets, span(at, n))
		word, at, size = word[n:], at+n, 4
	}
}

func span(at, n int) tokenizer.Span { return tokenizer.Span{Start: int32(at), End: int32(at + n)} }

func idOf(piece string) int32 {
	if piece == "?" {
		return unk
	}
	return 10 + int32(hashOf(piece)%100_000)
}

func decodeIDs(ids []int32, skipSpecial bool) string {
	var out []string
	for _, id := range ids {
		if id != eos || !skipSpecial {
			out = append(out, strconv.Itoa(int(id)))
		}
	}
	return strings.Join(out, " ")
}

func hashOf(parts ...any) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			h.Write([]byte(p))
		case int32:
			h.Write(strconv.AppendInt(nil, int64(p), 10))
		case []int32:
			for _, id := range p {
				h.Write(strconv.AppendInt(nil, int64(id), 10))
				h.Write([]byte{' '})
			}
		case *spec.Vectors:
			if p != nil {
				h.Write(strconv.AppendUint(nil, uint64(math.Float32bits(p.Data[0])), 16))
			}
		}
		h.Write([]byte{0})
	}
	return h.Sum64()
}

// logit is a model: what it says depends on the row, its vectors, the prefix and
// the token, and on nothing else.
func logit(ids []int32, v *spec.Vectors, prefix []int32, token int32) float32 {
	return float32(hashOf(ids, v, prefix, token)%10_000)/1000 - 5
}

func scoreHashed(_ context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error) {
	out := make([][]float32, len(probes))
	for i, p := range probes {
		for _, token := range p.Next {
			out[i] = append(out[i], logit(b.IDs[p.Row], b.Adapters[p.Row], p.Prefix, token))
		}
	}
	return out, nil
}

// generateHashed writes three to twelve ids, then the end marker.
func generateHashed(_ context.Context, b *spec.Batch, maxNew int) ([][]int32, error) {
	out := make([][]int32, len(b.IDs))
	for i, ids := range b.IDs {
		n := 3 + int(hashOf(ids, b.Adapters[i])%10)
		for len(out[i]) < maxNew {
			if len(out[i]) == n {
				out[i] = append(out[i], eos)
				break
			}
			out[i] = append(out[i], 10+int32(hashOf(ids, b.Adapters[i], out[i])%1000))
		}
	}
	return out, nil
}

func hashed() fakeRunner { return fakeRunner{scoreHashed, generateHashed} }

func vectors(t testing.TB, x float32) *spec.Vectors {
	t.Helper()
	v, err := spec.NewVectors([]spec.Site{{Module: "encoder.block.0.layer.0.SelfAttention.k", Size: 1}}, []float32{x})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// sentiments are three labels whose first tokens differ.
func sentiments() TaskSpec {
	return TaskSpec{
		Labels:      []Label{{"negative", "bad"}, {"neutral", "so"}, {"positive", "good"}},
		Temperature: 1,
	}
}

// start makes an engine that is closed at the test's end.
func start(t testing.TB, r Runner, o Options) *Engine {
	t.Helper()
	e := New(r, words(), o, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

func task(t testing.TB, e *Engine, s TaskSpec) *Task {
	t.Helper()
	task, err := e.NewTask(s)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// one asks for one row.
func one(t testing.TB, e *Engine, req Request) Outcome {
	t.Helper()
	out, err := e.Predict(context.Background(), []Request{req})
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}
