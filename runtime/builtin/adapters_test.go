package builtin

import (
	"encoding/json"
	"io/fs"
	"maps"
	"slices"
	"testing"
)

// maxCommitted bounds the base and the adapters together.
const maxCommitted = 48_000_000

func TestAdaptersHoldExactlyTheirFiles(t *testing.T) {
	all := Adapters()
	if ids := slices.Sorted(maps.Keys(all)); len(ids) < 3 {
		t.Errorf("adapters %v; there are to be three or more", ids)
	}
	var total int64
	for id, files := range all {
		var got []string
		err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			got = append(got, path)
			info, err := d.Info()
			total += info.Size()
			return err
		})
		if want := []string{"README.md", "adapter_config.json", "adapter_model.safetensors", "valence.json"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: files %v, want %v (%v)", id, got, want, err)
		}
	}
	entries, err := fs.ReadDir(Base(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > maxCommitted {
		t.Errorf("base and adapters have %d bytes, above the limit of %d", total, maxCommitted)
	}
}

// Each adapter says how it was made and measured, and can be tested when it is loaded.
func TestAdaptersTellOfThemselves(t *testing.T) {
	for id, files := range Adapters() {
		data, err := fs.ReadFile(files, "valence.json")
		if err != nil {
			t.Fatal(err)
		}
		var side struct {
			Labels  []struct{ Name string }
			Canary  []struct{ Scores map[string]float64 }
			Metrics struct {
				HeldOut struct {
					Rows        int
					MacroF1     float64 `json:"macro_f1"`
					ECE         float64 `json:"ece"`
					BaseMacroF1 float64 `json:"base_macro_f1"`
				} `json:"held_out"`
			}
			Training struct{ Base string }
		}
		if err := json.Unmarshal(data, &side); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if len(side.Labels) < 2 || len(side.Canary) == 0 || side.Training.Base == "" {
			t.Errorf("%s: %d labels, %d canary rows, trained on base %q", id, len(side.Labels), len(side.Canary), side.Training.Base)
		}
		if m := side.Metrics.HeldOut; m.Rows < 500 || m.MacroF1 < m.BaseMacroF1+0.03 || m.ECE > 0.05 {
			t.Errorf("%s: %+v on held-out rows; an adapter is shipped when it is 0.03 above the base and calibrated to 0.05", id, m)
		}
		for i, c := range side.Canary {
			if len(c.Scores) != len(side.Labels) {
				t.Errorf("%s: canary %d has %d scores for %d labels", id, i, len(c.Scores), len(side.Labels))
			}
		}
	}
}
