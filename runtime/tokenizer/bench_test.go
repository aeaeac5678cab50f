package tokenizer

import (
	"os"
	"path/filepath"
	"testing"
)

// benchFolder is the folder of the tokenizer to measure: the fixture, or the one that VALENCE_MT5_TOKENIZER names.
func benchFolder() string {
	if dir := os.Getenv("VALENCE_MT5_TOKENIZER"); dir != "" {
		return dir
	}
	return "testdata"
}

func BenchmarkParse(b *testing.B) {
	data, err := os.ReadFile(filepath.Join(benchFolder(), "tokenizer.json"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeSentence(b *testing.B) {
	benchmarkEncode(b, []string{"Operating profit rose to EUR 13.1 mn from EUR 8.7 mn in the corresponding period in 2007 representing 7.7 % of net sales."})
}

func BenchmarkEncodeFixture(b *testing.B) {
	var texts []string
	for _, c := range readLines[fixtureCase](b, "testdata/cases.jsonl") {
		texts = append(texts, c.Text)
	}
	benchmarkEncode(b, texts)
}

// benchmarkEncode reports the time for one text, over all of them in turn.
func benchmarkEncode(b *testing.B, texts []string) {
	tok := loadTokenizer(b, filepath.Join(benchFolder(), "tokenizer.json"))
	var e Encoding
	o := Options{AddSpecial: true, ForbidSpecial: true, MaxTokens: 512}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := tok.EncodeInto(&e, texts[i%len(texts)], o); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
