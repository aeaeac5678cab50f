package builtin

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"slices"
	"testing"
)

// maxBytes keeps the binary small: the whole base, every file of it.
const maxBytes = 47_500_000

var labels = []string{"negative", "neutral", "positive"}

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	data, err := fs.ReadFile(Base(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestBaseHoldsExactlyItsFiles(t *testing.T) {
	want := []string{
		"README.md", "config.json", "generation_config.json", "model.safetensors",
		"tokenizer.json", "tokenizer_config.json", "valence.json",
	}
	entries, err := fs.ReadDir(Base(), ".")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	var total int64
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() == 0 {
			t.Errorf("%s is empty", entry.Name())
		}
		got = append(got, entry.Name())
		total += info.Size()
	}
	if !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	if total > maxBytes {
		t.Errorf("%d bytes in all, above the limit of %d", total, maxBytes)
	}
}

type modelConfig struct {
	ModelType   string `json:"model_type"`
	VocabSize   int    `json:"vocab_size"`
	DModel      int    `json:"d_model"`
	NumHeads    int    `json:"num_heads"`
	DKV         int    `json:"d_kv"`
	FeedForward string `json:"feed_forward_proj"`
	Tied        *bool  `json:"tie_word_embeddings"`
	Pad         *int   `json:"pad_token_id"`
	EOS         *int   `json:"eos_token_id"`
	Start       *int   `json:"decoder_start_token_id"`
}

func TestConfigDescribesATiedMT5(t *testing.T) {
	var config modelConfig
	readJSON(t, "config.json", &config)
	if config.ModelType != "mt5" || config.FeedForward != "gated-gelu" {
		t.Errorf("model_type %q, feed_forward_proj %q", config.ModelType, config.FeedForward)
	}
	// Left out, it would mean untied for an mT5, and lm_head.weight is not in the file.
	if config.Tied == nil || !*config.Tied {
		t.Error("tie_word_embeddings must be written, and true")
	}
	if config.Pad == nil || *config.Pad != 0 || config.EOS == nil || *config.EOS != 1 {
		t.Error("pad_token_id must be 0 and eos_token_id 1")
	}
	if config.Start == nil || *config.Start != 0 {
		t.Error("decoder_start_token_id must be 0")
	}
	if config.NumHeads*config.DKV != config.DModel {
		t.Errorf("%d heads of %d in a width of %d", config.NumHeads, config.DKV, config.DModel)
	}
}

type tensorHeader struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

// tensorHeaders reads the header of model.safetensors and the number of bytes that follow it.
func tensorHeaders(t *testing.T) (map[string]tensorHeader, int) {
	t.Helper()
	data, err := fs.ReadFile(Base(), "model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if len(data) < 8 {
		t.Fatal("model.safetensors has no header")
	}
	length := binary.LittleEndian.Uint64(data)
	if length > uint64(len(data)-8) {
		t.Fatalf("header of %d bytes in a file of %d", length, len(data))
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+length], &raw); err != nil {
		t.Fatal(err)
	}
	delete(raw, "__metadata__")
	headers := make(map[string]tensorHeader, len(raw))
	for name, value := range raw {
		var header tensorHeader
		if err := json.Unmarshal(value, &header); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		headers[name] = header
	}
	return headers, len(data) - 8 - int(length)
}

func TestWeightsAreHalfPrecisionAndFillTheFile(t *testing.T) {
	var config modelConfig
	readJSON(t, "config.json", &config)
	headers, size := tensorHeaders(t)
	total := 0
	for name, header := range headers {
		if header.DType != "F16" {
			t.Errorf("%s is %s, want F16", name, header.DType)
		}
		count := 2
		for _, dim := range header.Shape {
			count *= dim
		}
		if header.Offsets[1]-header.Offsets[0] != count {
			t.Errorf("%s: %d bytes for shape %v", name, header.Offsets[1]-header.Offsets[0], header.Shape)
		}
		total += count
	}
	if total != size {
		t.Errorf("tensors of %d bytes in a file with %d", total, size)
	}
	shared, ok := headers["shared.weight"]
	if !ok || !slices.Equal(shared.Shape, []int{config.VocabSize, config.DModel}) {
		t.Errorf("shared.weight %v, want [%d %d]", shared.Shape, config.VocabSize, config.DModel)
	}
	if _, ok := headers["lm_head.weight"]; ok {
		t.Error("a tied model must not carry lm_head.weight")
	}
}

func TestTokenizerHoldsLabelsAsSinglePieces(t *testing.T) {
	var tokenizer struct {
		Model struct {
			Type  string              `json:"type"`
			UnkID int                 `json:"unk_id"`
			Vocab [][]json.RawMessage `json:"vocab"`
		} `json:"model"`
	}
	var config modelConfig
	readJSON(t, "tokenizer.json", &tokenizer)
	readJSON(t, "config.json", &config)
	if tokenizer.Model.Type != "Unigram" || tokenizer.Model.UnkID != 2 {
		t.Errorf("model %s with unk_id %d, want Unigram with 2", tokenizer.Model.Type, tokenizer.Model.UnkID)
	}
	if len(tokenizer.Model.Vocab) != config.VocabSize {
		t.Errorf("%d pieces, the model has %d rows", len(tokenizer.Model.Vocab), config.VocabSize)
	}
	ids := make(map[string]int, len(tokenizer.Model.Vocab))
	for id, entry := range tokenizer.Model.Vocab {
		var piece string
		if err := json.Unmarshal(entry[0], &piece); err != nil {
			t.Fatalf("piece %d: %v", id, err)
		}
		ids[piece] = id
	}
	if len(ids) != config.VocabSize {
		t.Errorf("%d distinct pieces of %d", len(ids), config.VocabSize)
	}
	for id, piece := range []string{"<pad>", "</s>", "<unk>"} {
		if got, ok := ids[piece]; !ok || got != id {
			t.Errorf("%s has id %d, want %d", piece, got, id)
		}
	}
	for _, label := range labels {
		if _, ok := ids["▁"+label]; !ok {
			t.Errorf("label %s is not a single piece", label)
		}
	}
}

func TestSidecarNamesLabelsAndCanaries(t *testing.T) {
	var sidecar struct {
		Format int `json:"format"`
		Labels []struct {
			Name       string `json:"name"`
			Verbaliser string `json:"verbaliser"`
		} `json:"labels"`
		Temperature float64        `json:"temperature"`
		Metrics     map[string]any `json:"metrics"`
		Canary      []struct {
			Text   string             `json:"text"`
			Scores map[string]float64 `json:"scores"`
		} `json:"canary"`
	}
	readJSON(t, "valence.json", &sidecar)
	if sidecar.Format != 1 || sidecar.Temperature <= 0 || len(sidecar.Metrics) == 0 {
		t.Errorf("format %d, temperature %g, %d metrics", sidecar.Format, sidecar.Temperature, len(sidecar.Metrics))
	}
	var names []string
	for _, label := range sidecar.Labels {
		if label.Verbaliser != label.Name {
			t.Errorf("label %s is written %q", label.Name, label.Verbaliser)
		}
		names = append(names, label.Name)
	}
	if !slices.Equal(names, labels) {
		t.Errorf("labels %v, want %v", names, labels)
	}
	if len(sidecar.Canary) != 5 {
		t.Errorf("%d canary rows, want 5", len(sidecar.Canary))
	}
	for _, canary := range sidecar.Canary {
		sum := 0.0
		for _, label := range labels {
			sum += canary.Scores[label]
		}
		if len(canary.Scores) != len(labels) || math.Abs(sum-1) > 1e-5 {
			t.Errorf("canary %q: scores %v do not sum to 1", canary.Text, canary.Scores)
		}
	}
}

func TestReferenceGeneratesTheLikeliestLabel(t *testing.T) {
	data, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var reference struct {
		Labels   []string `json:"labels"`
		FirstIDs []int    `json:"label_first_ids"`
		Rows     []struct {
			Text      string    `json:"text"`
			InputIDs  []int     `json:"input_ids"`
			LogP      []float64 `json:"log_probabilities"`
			Generated []int     `json:"generated_ids"`
			Written   string    `json:"generated_text"`
		} `json:"rows"`
	}
	if err := json.Unmarshal(data, &reference); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(reference.Labels, labels) || len(reference.Rows) < 20 {
		t.Fatalf("labels %v, %d rows", reference.Labels, len(reference.Rows))
	}
	for _, row := range reference.Rows {
		if len(row.LogP) != len(labels) || len(row.InputIDs) == 0 || row.InputIDs[len(row.InputIDs)-1] != 1 {
			t.Fatalf("%q: %d scores, input ids %v", row.Text, len(row.LogP), row.InputIDs)
		}
		best := slices.Index(row.LogP, slices.Max(row.LogP))
		if want := []int{reference.FirstIDs[best], 1}; !slices.Equal(row.Generated, want) {
			t.Errorf("%q: generated %v, want %v", row.Text, row.Generated, want)
		}
		if row.Written != labels[best] {
			t.Errorf("%q: wrote %q, want %q", row.Text, row.Written, labels[best])
		}
	}
}

func TestPlainSentencesAreBalanced(t *testing.T) {
	data, err := os.ReadFile("testdata/plain.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		var row struct{ Text, Label string }
		if err := json.Unmarshal(line, &row); err != nil || row.Text == "" {
			t.Fatalf("line %d: %q, %v", i+1, row.Text, err)
		}
		counts[row.Label]++
	}
	for _, label := range labels {
		if counts[label] != 20 {
			t.Errorf("%d %s sentences, want 20", counts[label], label)
		}
	}
	if len(counts) != len(labels) {
		t.Errorf("labels %v", counts)
	}
}
