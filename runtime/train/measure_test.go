//go:build cgo

package train

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"valence/runtime/builtin"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/tokenizer"
	"valence/runtime/torch"
)

// measured gives the job and the base for a file of label<TAB>text lines that
// VALENCE_TRAIN_FILE names, or skips the test. VALENCE_BASE names another base.
func measured(t *testing.T) (Job, *checkpoint.Checkpoint, *tokenizer.Tokenizer) {
	t.Helper()
	path := os.Getenv("VALENCE_TRAIN_FILE")
	if path == "" {
		t.Skip("VALENCE_TRAIN_FILE names no file")
	}
	base, err := checkpoint.OpenFS("builtin", builtin.Base())
	if folder := os.Getenv("VALENCE_BASE"); folder != "" {
		base, err = checkpoint.Open(folder)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { base.Close() })
	tok, err := tokenizer.Parse(base.Tokenizer)
	if err != nil {
		t.Fatal(err)
	}
	return Job{Recipe: DefaultRecipe(), Data: readLines(t, path), Base: base.Digest(), Sites: base.Config.DefaultSites()}, base, tok
}

func readLines(t *testing.T, path string) Data {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	d, seen := Data{}, map[string]bool{}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		label, text, _ := strings.Cut(lines.Text(), "\t")
		if !seen[label] {
			seen[label] = true
			d.Labels = append(d.Labels, Label{label, label})
		}
		d.Examples = append(d.Examples, Example{text, label, n})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return d
}

// measuredFormat is the format that VALENCE_TRAIN_DTYPE names, float32 by default.
func measuredFormat() torch.Format {
	if os.Getenv("VALENCE_TRAIN_DTYPE") == torch.PackedBFloat16.String() {
		return torch.PackedBFloat16
	}
	return torch.PackedFloat32
}

// TestMeasureAccuracy trains five seeds of the recipe on a file and prints what they
// reach; VALENCE_TRAIN_EPOCHS, VALENCE_TRAIN_RATE, VALENCE_TRAIN_DTYPE and others change it.
func TestMeasureAccuracy(t *testing.T) {
	job, base, tok := measured(t)
	job.Recipe.Seeds = []uint64{0, 1, 2, 3, 4}
	scan := func(name string, into any) {
		if v := os.Getenv(name); v != "" {
			if _, err := fmt.Sscan(v, into); err != nil {
				t.Fatal(err)
			}
		}
	}
	scan("VALENCE_TRAIN_EPOCHS", &job.Recipe.Epochs)
	scan("VALENCE_TRAIN_RATE", &job.Recipe.LearningRate)
	scan("VALENCE_TRAIN_OBJECTIVE", &job.Recipe.Objective)
	scan("VALENCE_TRAIN_DROPOUT", &job.Recipe.Dropout)
	scan("VALENCE_TRAIN_CLIP", &job.Recipe.ClipNorm)
	scan("VALENCE_TRAIN_SPLIT", &job.Recipe.Seed)
	plan, err := Inspect(job, tok)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", plan)
	tr, err := Open(job, loadPacked(t, base, 1, measuredFormat()), tok)
	if err != nil {
		t.Fatal(err)
	}
	report := func(e Event) {
		if e.Kind == Evaluated {
			fmt.Printf("run %d epoch %d: train %.4f validation %.4f accuracy %.4f macro-F1 %.4f ECE %.4f; %.0f s, %.1f examples/s\n", e.Run, e.Epoch.Epoch,
				e.Epoch.TrainLoss, e.Epoch.ValidationLoss, e.Epoch.Report.Accuracy, e.Epoch.Report.MacroF1, e.Epoch.Report.ECE, e.Seconds, e.Rate)
		}
	}
	if _, err := tr.Run(context.Background(), nil, report); err != nil {
		t.Fatal(err)
	}
	accuracy, f1, ece := 0.0, 0.0, 0.0
	runs := tr.Result().Runs
	for _, r := range runs {
		n := float64(len(runs))
		accuracy, f1, ece = accuracy+r.Report.Accuracy/n, f1+r.Report.MacroF1/n, ece+r.Report.ECE/n
	}
	t.Logf("mean of %d: accuracy %.4f, macro-F1 %.4f, ECE after calibration %.4f", len(runs), accuracy, f1, ece)
}

// TestMeasureSweep times eight seeds in one job and one after the other, in turns, since
// the machine may be busy. VALENCE_TRAIN_MICRO changes the tokens that go together,
// and VALENCE_TRAIN_OBJECTIVE the objective.
func TestMeasureSweep(t *testing.T) {
	job, base, tok := measured(t)
	for name, into := range map[string]any{"VALENCE_TRAIN_MICRO": &job.Recipe.MicroTokens, "VALENCE_TRAIN_OBJECTIVE": &job.Recipe.Objective} {
		if v := os.Getenv(name); v != "" {
			if _, err := fmt.Sscan(v, into); err != nil {
				t.Fatal(err)
			}
		}
	}
	model := loadPacked(t, base, 0, measuredFormat())
	const steps, rounds = 4, 5
	timed := func(seeds ...uint64) time.Duration {
		job.Recipe.Seeds = seeds
		tr, err := Open(job, model, tok)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := tr.Run(context.Background(), func() bool { return tr.runs[0].step == steps }, nil); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	timed(0)
	timed(0, 1, 2, 3, 4, 5, 6, 7)
	var ratios []float64
	for range rounds {
		var apart time.Duration
		for seed := range uint64(8) {
			apart += timed(seed)
		}
		together := timed(0, 1, 2, 3, 4, 5, 6, 7)
		ratios = append(ratios, apart.Seconds()/together.Seconds())
		rows := float64(8 * steps * job.Recipe.BatchSize)
		t.Logf("apart %v (%.1f rows/s), together %v (%.1f rows/s): %.2f times faster", apart, rows/apart.Seconds(), together, rows/together.Seconds(), apart.Seconds()/together.Seconds())
	}
	slices.Sort(ratios)
	t.Logf("minimum %.2f, median %.2f times faster", ratios[0], ratios[rounds/2])
}
