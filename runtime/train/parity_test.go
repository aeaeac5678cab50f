//go:build cgo

package train

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"valence/runtime/mt5"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
	"valence/runtime/torch/torchtest"
)

// reference is a file that testdata/make.py wrote.
type reference struct {
	Base         string               `json:"base"`
	Objective    Objective            `json:"objective"`
	Epochs       int                  `json:"epochs"`
	LearningRate float64              `json:"learning_rate"` // 0 is the recipe's
	ClipNorm     float64              `json:"clip_norm"`
	ClassWeights []float64            `json:"class_weights"`
	Labels       [][]int32            `json:"labels"`
	Train        []referenceRow       `json:"train"`
	Validation   []referenceRow       `json:"validation"`
	Losses       []float64            `json:"losses"`
	Reports      []referenceReport    `json:"reports"`
	Vectors      map[string][]float32 `json:"vectors"`
}

type referenceRow struct {
	IDs   []int32 `json:"ids"`
	Label int     `json:"label"`
}

type referenceReport struct {
	Loss     float64 `json:"loss"`
	Written  float64 `json:"written"`
	Accuracy float64 `json:"accuracy"`
}

func readReference(t *testing.T, path string) *reference {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ref := &reference{}
	if err := json.Unmarshal(data, ref); err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(ref.Base) {
		ref.Base = filepath.Join(filepath.Dir(path), "..", ref.Base)
	}
	return ref
}

// job trains as the reference did.
func (ref *reference) job(config *spec.Config) Job {
	r := DefaultRecipe()
	r.Objective, r.Epochs, r.ClipNorm, r.KeepOrder, r.Validation = ref.Objective, ref.Epochs, ref.ClipNorm, true, 0
	if ref.LearningRate > 0 {
		r.LearningRate = ref.LearningRate
	}
	d := Data{}
	for _, path := range ref.Labels {
		d.Labels = append(d.Labels, Label{words(path), words(path)})
	}
	if ref.ClassWeights != nil {
		r.ClassWeights = map[string]float64{}
		for i, w := range ref.ClassWeights {
			r.ClassWeights[d.Labels[i].Name] = w
		}
	}
	examples := func(rows []referenceRow) (out []Example) {
		for i, row := range rows {
			out = append(out, Example{words(row.IDs), d.Labels[row.Label].Name, i})
		}
		return out
	}
	d.Examples, d.Validation = examples(ref.Train), examples(ref.Validation)
	return Job{Recipe: r, Data: d, Base: "fixture", Sites: config.DefaultSites()}
}

// loadBase loads a checkpoint in float32, whose handles must all be gone when the test
// ends.
func loadBase(t testing.TB, base *checkpoint.Checkpoint, threads int) *mt5.Model {
	t.Helper()
	return loadPacked(t, base, threads, torch.PackedFloat32)
}

func loadPacked(t testing.TB, base *checkpoint.Checkpoint, threads int, format torch.Format) *mt5.Model {
	t.Helper()
	device := torchtest.Device(t)
	if device.IsCUDA() && format == torch.PackedFloat32 {
		format = 0 // which a GPU multiplies as it is
	}
	thread := torch.Start(torch.Options{Device: device, Threads: threads})
	m, err := mt5.Load(context.Background(), thread, base.Config, base, mt5.Options{DType: torch.Float32, Packed: format})
	if err != nil {
		thread.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := thread.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func openBase(t testing.TB, folder string) *checkpoint.Checkpoint {
	t.Helper()
	base, err := checkpoint.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { base.Close() })
	return base
}

// TestParityWithPEFT follows PEFT step by step: losses within 1e-3 of it relatively,
// final vectors within 1e-3, and the same validation rows right. VALENCE_PARITY
// names a file of make.py for a base of one's own.
func TestParityWithPEFT(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("fixtures: %v, %v", files, err)
	}
	if file := os.Getenv("VALENCE_PARITY"); file != "" {
		files = []string{file}
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) { parity(t, readReference(t, file)) })
	}
}

func parity(t *testing.T, ref *reference) {
	base := openBase(t, ref.Base)
	trainer, err := Open(ref.job(base.Config), loadBase(t, base, 1), wordTokenizer{})
	if err != nil {
		t.Fatal(err)
	}
	worst, steps, start := 0.0, 0, time.Now()
	whole := len(ref.Losses) == trainer.runs[0].steps
	done, err := trainer.Run(context.Background(), func() bool { return !whole && steps == len(ref.Losses) }, func(e Event) {
		if e.Kind != Stepped {
			return
		}
		want := ref.Losses[steps]
		if worst = math.Max(worst, math.Abs(e.Loss-want)/want); !(math.Abs(e.Loss-want) <= 1e-3*want) {
			t.Errorf("step %d: loss %v, PEFT has %v", e.Step, e.Loss, want)
		}
		steps++
		if steps == 1 || steps%25 == 0 {
			t.Logf("step %d: losses within %.2g relatively so far", steps, worst)
		}
	})
	if err != nil || done != whole {
		t.Fatalf("%v, %v", done, err)
	}
	t.Logf("%d losses within %.2g relatively; %.0f ms", steps, worst, time.Since(start).Seconds()*1e3)
	compareVectors(t, ref, trainer.LiveVectors(0))
	if !whole {
		return
	}
	for i, got := range trainer.Result().Runs[0].Epochs {
		want := ref.Reports[i]
		if math.Abs(got.ValidationLoss-want.Loss) > 1e-3*want.Loss || got.Report.Accuracy != want.Accuracy || ref.Objective == Seq2Seq && got.Written != want.Written {
			t.Errorf("epoch %d: loss %v, accuracy %v, written %v; PEFT has %+v", i+1, got.ValidationLoss, got.Report.Accuracy, got.Written, want)
		}
	}
}

func compareVectors(t *testing.T, ref *reference, got *spec.Vectors) {
	t.Helper()
	worst, at, apart := 0.0, 0, 0
	for _, site := range got.Sites {
		want, ok := ref.Vectors[site.Key()]
		if !ok || len(want) != site.Size {
			t.Fatalf("PEFT has no %s of %d elements", site.Key(), site.Size)
		}
		before := apart
		for i, x := range got.Data[at : at+site.Size] {
			d := math.Abs(float64(x - want[i]))
			if worst = math.Max(worst, d); !(d <= 1e-3) {
				apart++
			}
		}
		at += site.Size
		if apart > before {
			t.Logf("%s: %d of %d elements further apart than 1e-3", site.Module, apart-before, site.Size)
		}
	}
	t.Logf("vectors within %.2g; %d of %d elements further apart than 1e-3", worst, apart, at)
	if !(worst <= 1e-3) || len(got.Sites) != len(ref.Vectors) {
		t.Errorf("vectors of %d sites within %v of PEFT's %d", len(got.Sites), worst, len(ref.Vectors))
	}
}
