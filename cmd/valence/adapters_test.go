package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"valence/runtime/builtin"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
)

// adapterFolder writes a PEFT folder for the builtin base whose vectors are all
// value.
func adapterFolder(t *testing.T, value float32, sidecar string) string {
	t.Helper()
	return folderOf(t, func(spec.Site) float32 { return value }, sidecar)
}

// folderOf writes the folder of an adapter whose vectors have one value at each site.
func folderOf(t *testing.T, value func(spec.Site) float32, sidecar string) string {
	t.Helper()
	base, err := checkpoint.OpenFS("builtin", builtin.Base())
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	var tensors []safetensors.Tensor
	for _, site := range base.Config.DefaultSites() {
		data := bytes.Repeat(binary.LittleEndian.AppendUint32(nil, math.Float32bits(value(site))), site.Size)
		tensors = append(tensors, safetensors.Tensor{Name: site.Key(), DType: safetensors.F32, Shape: site.Shape(), Data: data})
	}
	dir := t.TempDir()
	var weights bytes.Buffer
	if err := safetensors.Write(&weights, tensors, nil); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"adapter_config.json":       `{"peft_type": "IA3", "task_type": "SEQ_2_SEQ_LM", "target_modules": null, "feedforward_modules": null}`,
		"adapter_model.safetensors": weights.String(),
	}
	if sidecar != "" {
		files["valence.json"] = sidecar
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// ask gives the scores of one row, by label.
func scores(row any) map[string]float64 {
	out := map[string]float64{}
	for label, p := range row.(map[string]any)["scores"].(map[string]any) {
		out[label] = p.(float64)
	}
	return out
}

func TestServeAnAdapterForEachRow(t *testing.T) {
	ones := adapterFolder(t, 1, `{"format": 1, "labels": [{"name": "bad", "verbaliser": "negative"}, {"name": "good", "verbaliser": "positive"}], "template": "", "temperature": 1, "abstain_below": 0}`)
	url, _, _ := serve(t, "--adapter", "two="+ones, "--adapter", "team/half="+adapterFolder(t, 0.5, ""), "--adapter", "twice="+adapterFolder(t, 1.5, ""))
	const text = "I love it, but the box was torn."
	row := func(adapter string) string {
		b, _ := json.Marshal(map[string]string{"text": text, "adapter": adapter})
		return string(b)
	}
	names := []string{"base", "two", "team/half", "twice", "team/half@v1", "base"}
	var rows []string
	for _, name := range names {
		rows = append(rows, row(name))
	}
	status, mixed := post(t, url, `{"inputs": [`+strings.Join(rows, ",")+`]}`)
	if status != 200 {
		t.Fatalf("%d %v", status, mixed)
	}
	results := mixed["results"].([]any)
	for i, name := range names {
		_, alone := post(t, url, row(name))
		got, want := scores(results[i]), scores(alone["results"].([]any)[0])
		for label := range want {
			if math.Abs(got[label]-want[label]) > 1e-4 || len(got) != len(want) {
				t.Errorf("%s in a batch %v, alone %v", name, got, want)
			}
		}
	}
	base, half, twice := scores(results[0]), scores(results[2]), scores(results[3])
	if math.Abs(base["positive"]-half["positive"]) < 1e-3 || math.Abs(half["positive"]-twice["positive"]) < 1e-3 {
		t.Errorf("adapters make no difference: %v, %v, %v", base, half, twice)
	}
	if two := scores(results[1]); len(two) != 2 || two["good"] == 0 {
		t.Errorf("the sidecar's labels: %v", two)
	}
}

// TestBrokenAdapterStopsTheStart: an adapter that cannot be had is never left out.
func TestBrokenAdapterStopsTheStart(t *testing.T) {
	good := adapterFolder(t, 1, "")
	for _, tc := range []struct {
		name, file, text, want string
	}{
		{"NaN vector", "adapter_model.safetensors", "", "element 0 is NaN"},
		{"no tensors", "adapter_model.safetensors", "\x02\x00\x00\x00\x00\x00\x00\x00{}", "ia3_l"},
		{"truncated", "adapter_model.safetensors", "\xff", "adapter_model.safetensors"},
		{"other method", "adapter_config.json", `{"peft_type": "LORA"}`, "IA3"},
		{"bad sidecar", "valence.json", `{"format": 1, "labels": [{"name": "a", "verbaliser": ""}, {"name": "b", "verbaliser": "b"}]}`, "verbaliser"},
		{"unknown word", "valence.json", `{"format": 1, "labels": [{"name": "a", "verbaliser": "a"}, {"name": "b", "verbaliser": "𓀀"}]}`, "𓀀"},
		{"canary", "valence.json", `{"format": 1, "labels": [{"name": "a", "verbaliser": "negative"}, {"name": "b", "verbaliser": "positive"}],
			"canary": [{"text": "I love it", "scores": {"a": 0.9, "b": 0.1}}]}`, "I love it"},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		if tc.name == "NaN vector" {
			dir = adapterFolder(t, float32(math.NaN()), "")
		} else if err := os.WriteFile(filepath.Join(dir, tc.file), []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		status, _, stderr := valence(t, "", "serve", "--threads", "1", "--listen", "127.0.0.1:0", "--adapter", "broken="+dir)
		if status != 1 || !strings.Contains(stderr, "broken") || !strings.Contains(stderr, tc.want) {
			t.Errorf("%s: status %d, %s", tc.name, status, stderr)
		}
	}
}
