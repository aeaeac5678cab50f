package training

import (
	"math"

	"valence/adapters/jobs"
	"valence/runtime/train"
)

// recipe is what a request asks for, with the defaults of the published recipe.
func (t *Trainer) recipe(s jobs.Spec) train.Recipe {
	r := train.DefaultRecipe()
	setIf(&r.MicroTokens, t.o.MicroTokens)
	setIf(&r.Objective, train.Objective(s.Objective))
	setIf(&r.Epochs, s.Epochs)
	setIf(&r.BatchSize, s.BatchSize)
	setIf(&r.LearningRate, s.LearningRate)
	setIf(&r.MaxTokens, s.MaxTokens)
	setIf(&r.LabelTokens, s.MaxLabelTokens)
	if s.Validation.Split != nil {
		r.Validation = *s.Validation.Split
	}
	r.Seed = uint64(s.Seed)
	r.ClipNorm, r.AbstainTarget, r.EarlyStop = s.ClipNorm, s.AbstainTarget, s.EarlyStop
	if s.Dropout {
		r.Dropout = t.o.Config.Dropout
	}
	r.LearningRates, r.Folds = s.Sweep.LearningRate, s.CrossValidation
	for _, seed := range s.Sweep.Seed {
		r.Seeds = append(r.Seeds, uint64(seed))
	}
	return r
}

func setIf[T comparable](field *T, value T) {
	var zero T
	if value != zero {
		*field = value
	}
}

// balance weighs labels so that all weigh the same, and a mean row 1.
func balance(d *train.Data) map[string]float64 {
	count := map[string]float64{}
	for _, e := range d.Examples {
		count[e.Label]++
	}
	weights := make(map[string]float64, len(count))
	for label, n := range count {
		weights[label] = float64(len(d.Examples)) / (float64(len(count)) * n)
	}
	return weights
}

// checkSpec lists what is wrong with a request, whatever its data.
func checkSpec(s jobs.Spec, r train.Recipe) (f findings) {
	f.checkRanges(s)
	if s.Validation.Dataset != "" && s.Validation.Split != nil {
		f.add("conflict", "/validation", "split and dataset are two ways to validate; give one of them")
	}
	if s.CrossValidation > 0 && (s.Validation.Dataset != "" || s.Validation.Split != nil) {
		f.add("conflict", "/cross_validation", "the folds validate; leave validation out")
	}
	if s.CrossValidation == 0 && s.Validation.Split != nil && *s.Validation.Split == 0 {
		f.checkUnmeasured(s)
	}
	switch s.Activate {
	case "", jobs.ActivateAlways, jobs.ActivateIfBetter, jobs.ActivateNever:
	default:
		f.add("invalid", "/activate", "it must be always, if_better or never")
	}
	if len(f) == 0 {
		if err := r.Validate(); err != nil { // what the ranges leave: combinations, and the number of runs
			f.add("invalid_recipe", "", err.Error())
		}
	}
	return f
}

// checkUnmeasured lists what cannot be had without rows to measure on.
func (f *findings) checkUnmeasured(s jobs.Spec) {
	for _, n := range []struct {
		pointer string
		asked   bool
	}{
		{"/activate", s.Activate == jobs.ActivateIfBetter}, {"/early_stop", s.EarlyStop > 0}, {"/abstain_target", s.AbstainTarget > 0},
		{"/sweep", len(s.Sweep.LearningRate) > 1 || len(s.Sweep.Seed) > 1},
	} {
		if n.asked {
			f.add("conflict", n.pointer, "it goes by rows that are not learnt from, and validation.split is 0; give it a part of the rows, or leave one of the two out")
		}
	}
}

// ranges are those of numbers: zero stands for the default.
func (f *findings) checkRanges(s jobs.Spec) {
	for _, n := range []struct {
		pointer  string
		value    float64
		from, to float64
	}{
		{"/epochs", float64(s.Epochs), 1, 10_000}, {"/batch_size", float64(s.BatchSize), 1, 4096},
		{"/max_tokens", float64(s.MaxTokens), 2, 4096}, {"/max_label_tokens", float64(s.MaxLabelTokens), 2, 64},
		{"/early_stop", float64(s.EarlyStop), 0, 10_000}, {"/cross_validation", float64(s.CrossValidation), 2, 64},
		{"/clip_norm", s.ClipNorm, 0, math.MaxFloat64},
	} {
		if n.value != 0 && !(n.value >= n.from && n.value <= n.to) {
			f.addf("out_of_range", n.pointer, "it is %v; it must be from %v to %v", n.value, n.from, n.to)
		}
	}
	split := 0.0
	if s.Validation.Split != nil {
		split = *s.Validation.Split
	}
	for _, n := range []struct {
		pointer string
		value   float64
	}{{"/validation/split", split}, {"/abstain_target", s.AbstainTarget}} {
		if !(n.value >= 0 && n.value < 1) {
			f.addf("out_of_range", n.pointer, "it is %v; it must be at least 0 and below 1", n.value)
		}
	}
	f.checkRate("/learning_rate", s.LearningRate, true)
	for i, rate := range s.Sweep.LearningRate {
		f.checkRate(index("/sweep/learning_rate", i), rate, false)
	}
	if s.Objective != "" && s.Objective != string(train.Seq2Seq) && s.Objective != string(train.LabelTrie) {
		f.addf("invalid", "/objective", "it is %q; it must be %q or %q", s.Objective, train.Seq2Seq, train.LabelTrie)
	}
}

func (f *findings) checkRate(pointer string, rate float64, orDefault bool) {
	if orDefault && rate == 0 {
		return
	}
	if !(rate > 0 && rate <= 10) {
		f.addf("out_of_range", pointer, "it is %v; a learning rate must be above 0 and at most 10", rate)
	}
}
