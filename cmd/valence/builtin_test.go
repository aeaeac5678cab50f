package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"os"
	"slices"
	"testing"

	"valence/runtime/engine"
	"valence/runtime/tokenizer"
)

// referenceRow is what transformers gives for a text.
type referenceRow struct {
	Text      string
	IDs       []int32   `json:"input_ids"`
	LogProbs  []float64 `json:"log_probabilities"`
	Generated string    `json:"generated_text"`
}

// near is how far a label's log-probability may lie from transformers' in each type. In int8
// it is rounding of activations to 16 bits (14 without VNNI): the weights lie on a grid of 8.
var near = map[string]float64{"float32": 1e-4, "float16": 1e-4, "int8": 2e-2}

// TestBuiltinEqualsTransformers compares the whole way from a text to its scores,
// tokeniser, weights and head, with what transformers gives for the shipped base.
func TestBuiltinEqualsTransformers(t *testing.T) {
	for dtype, near := range near {
		t.Run(dtype, func(t *testing.T) { testBuiltinEqualsTransformers(t, dtype, near) })
	}
}

func testBuiltinEqualsTransformers(t *testing.T, dtype string, near float64) {
	data, err := os.ReadFile("../../runtime/builtin/testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Labels []string
		Rows   []referenceRow
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	// transformers answers an empty text too; here it is an error.
	want.Rows = slices.DeleteFunc(want.Rows, func(r referenceRow) bool { return r.Text == "" })
	ctx := context.Background()
	f := baseFlags{Base: "builtin", Device: "cpu", Dtype: dtype, Threads: 1, MaxTokens: 512}
	s, err := f.open(ctx, openOptions{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	base, err := s.adapters.Lookup(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	spec := base.Sidecar.TaskSpec(nil)
	spec.Temperature = 1
	task, err := s.engine.NewTask(spec)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := openTokenizer(s.base)
	if err != nil {
		t.Fatal(err)
	}
	var reqs []engine.Request
	for _, row := range want.Rows {
		enc, err := tok.Encode(row.Text, tokenizer.Options{AddSpecial: true})
		if err != nil || base.Sidecar.Template == "" && !slices.Equal(enc.IDs, row.IDs) {
			t.Errorf("%q: ids %v, want %v (%v)", row.Text, enc.IDs, row.IDs, err)
		}
		reqs = append(reqs, engine.Request{Text: row.Text, Task: task}, engine.Request{Text: row.Text, Task: task, Mode: engine.ModeGenerate})
	}
	out, err := s.engine.Predict(ctx, reqs)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range want.Rows {
		scored, written := out[2*i], out[2*i+1]
		if scored.Err != nil || written.Err != nil {
			t.Errorf("%q: %v, %v", row.Text, scored.Err, written.Err)
			continue
		}
		for j, lp := range row.LogProbs {
			if got := scored.LogProbs[slices.Index(scored.Labels, want.Labels[j])]; math.Abs(got-lp) > near {
				t.Errorf("%q, %s: %v, want %v", row.Text, want.Labels[j], got, lp)
			}
		}
		if written.Generated != row.Generated {
			t.Errorf("%q: wrote %q, want %q", row.Text, written.Generated, row.Generated)
		}
	}
}
