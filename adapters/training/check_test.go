package training

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"valence/adapters"
	"valence/adapters/jobs"
	"valence/runtime/tokenizer"
)

var optionsNone tokenizer.Options

// invalidAt is where the first finding of an error lies, and its code.
func invalidAt(err error) string {
	invalid, ok := errors.AsType[*jobs.InvalidError](err)
	if !ok {
		return fmt.Sprint(err)
	}
	return invalid.Findings[0].Pointer + " " + invalid.Findings[0].Code
}

func TestPlan(t *testing.T) {
	f := open(t)
	csv := reviews(90) + "great item2 of row2,positive\nAwful  item0 OF row0,negative\nsuperb item1 of row8,neutral\n" +
		strings.Repeat("word ", 200) + "end,neutral\n"
	out, err := f.Plan(t.Context(), "a", small(), f.put(t, csv))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rows      int
		Steps     int
		Truncated int // texts
		Seconds   float64
		Labels    []struct {
			Label string
			Rows  int
		}
		Tokens   struct{ Max int }
		Findings []struct {
			Code  string
			Error bool
			Count int
			Rows  []int
		}
		Runs []struct{ Train, Validation, Steps int }
	}
	if err := json.Unmarshal(out, &got, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	if got.Rows != 94 || got.Truncated != 1 || !(got.Seconds > 0) || got.Tokens.Max != 128 || len(got.Labels) != 3 || got.Labels[1].Rows != 32 {
		t.Errorf("%s", out)
	}
	if len(got.Runs) != 1 || got.Runs[0].Train+got.Runs[0].Validation != 94 || got.Steps != 2*((got.Runs[0].Train+7)/8) {
		t.Errorf("%+v", got.Runs)
	}
	found := map[string]int{}
	for _, x := range got.Findings {
		found[x.Code] = x.Count
	}
	if found["duplicate"] != 2 || found["contradiction"] != 1 || found["truncated_text"] != 1 {
		t.Errorf("%+v", got.Findings)
	}
}

func TestPlanFindsLeakage(t *testing.T) {
	f := open(t)
	d := f.put(t, reviews(90))
	v := f.put(t, "text,label\nrude item6 of row6,negative\nnew words here,neutral\n")
	d.Validation = v.Dataset
	s := small()
	s.Validation = jobs.Validation{Dataset: v.Dataset}
	out, err := f.Plan(t.Context(), "a", s, d)
	if err != nil || !strings.Contains(string(out), `"code":"leakage","error":false`) {
		t.Errorf("%v, %s", err, out)
	}
}

func TestCheckRefuses(t *testing.T) {
	f := open(t)
	good := f.put(t, reviews(30))
	one := f.put(t, "text,label\na b,positive\nc d,positive\n")
	template := "no place"
	for name, c := range map[string]struct {
		change func(*jobs.Spec)
		data   jobs.Data
		want   string
	}{
		"rate":            {func(s *jobs.Spec) { s.LearningRate = -1 }, good, "/learning_rate out_of_range"},
		"sweep":           {func(s *jobs.Spec) { s.Sweep.LearningRate = []float64{1e-3, 11} }, good, "/sweep/learning_rate/1 out_of_range"},
		"epochs":          {func(s *jobs.Spec) { s.Epochs = -1 }, good, "/epochs out_of_range"},
		"split":           {func(s *jobs.Spec) { s.Validation.Split = new(1.0) }, good, "/validation/split out_of_range"},
		"better than":     {func(s *jobs.Spec) { s.Validation.Split, s.Activate = new(0.0), jobs.ActivateIfBetter }, good, "/activate conflict"},
		"best of none":    {func(s *jobs.Spec) { s.Validation.Split, s.Sweep.Seed = new(0.0), []int64{1, 2} }, good, "/sweep conflict"},
		"stops by none":   {func(s *jobs.Spec) { s.Validation.Split, s.EarlyStop = new(0.0), 1 }, good, "/early_stop conflict"},
		"objective":       {func(s *jobs.Spec) { s.Objective = "mse" }, good, "/objective invalid"},
		"activate":        {func(s *jobs.Spec) { s.Activate = "maybe" }, good, "/activate invalid"},
		"folds and split": {func(s *jobs.Spec) { s.CrossValidation = 3 }, good, "/cross_validation conflict"},
		"runs":            {func(s *jobs.Spec) { s.Sweep.Seed = make([]int64, 65) }, good, " invalid_recipe"},
		"template":        {func(s *jobs.Spec) { s.Template = &template }, good, "/template invalid_labels"},
		"verbaliser":      {func(s *jobs.Spec) { s.Verbalisers = map[string]string{"neutral": "positive"} }, good, "/labels bad_labels"},
		"unknown label":   {func(s *jobs.Spec) { s.Labels = []string{"negative", "positive"} }, good, "/data unknown_label"},
		"unknown name":    {func(s *jobs.Spec) { s.Verbalisers = map[string]string{"bad": "x"} }, good, "/verbalisers unknown_label"},
		"one class":       {func(*jobs.Spec) {}, one, "/data one_class"},
		"no data":         {func(*jobs.Spec) {}, jobs.Data{Dataset: "sha256:none"}, "/data unknown_dataset"},
		"warm start":      {func(s *jobs.Spec) { s.WarmStartFrom = "nobody" }, good, "/warm_start_from warm_start_unavailable"},
		"push":            {func(s *jobs.Spec) { s.Push.Repo = "a/b/c" }, good, "/push/repo invalid"},
		"branch alone":    {func(s *jobs.Spec) { s.Push.Branch = "x" }, good, "/push/repo required"},
	} {
		s := small()
		c.change(&s)
		if err := f.Check(t.Context(), "a", s, c.data); invalidAt(err) != c.want {
			t.Errorf("%s: %s, not %s: %v", name, invalidAt(err), c.want, err)
		}
	}
	for id, want := range map[string]error{"base": adapters.ErrFixed, "a@v1": adapters.ErrID, "../a": adapters.ErrID} {
		if err := f.Check(t.Context(), id, small(), good); !errors.Is(err, want) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// Who submits a job does not wait for a step of it.
func TestCheckTakesNoStep(t *testing.T) {
	f := open(t)
	f.model.pace = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f.Check(ctx, "a", small(), f.put(t, reviews(90))); err != nil {
		t.Error(err)
	}
}

// TestCUDAMicroTokens has fewer tokens for larger bases.
func TestCUDAMicroTokens(t *testing.T) {
	c := config(t)
	c.DModel, c.DKV, c.Heads, c.DFF, c.Gated = 384, 64, 6, 1024, true
	if n := CUDAMicroTokens(c); n != cudaMostTokens {
		t.Errorf("builtin: %d", n)
	}
	c.DModel, c.Heads, c.DFF = 1024, 16, 2816
	if n := CUDAMicroTokens(c); n != 2048 {
		t.Errorf("mt0-large: %d", n)
	}
	c.DModel, c.Heads, c.DFF = 1<<14, 256, 1<<16
	if n := CUDAMicroTokens(c); n != cudaLeastTokens {
		t.Errorf("a huge base: %d", n)
	}
}
