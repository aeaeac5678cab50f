package train

import (
	"errors"
	"fmt"
	"math"
)

// ErrRecipe is wrapped by every error about a recipe. The text names the field.
var ErrRecipe = errors.New("train: recipe")

// Objective is what the losses are taken of.
type Objective string

// The objectives.
const (
	// Seq2Seq is the cross-entropy of the label's tokens over the whole vocabulary,
	// averaged over the tokens of a batch: the loss of transformers.
	Seq2Seq Objective = "seq2seq"
	// LabelTrie is the cross-entropy of the label over the labels, averaged over the
	// rows of a batch. It reads only the rows of the head that some label needs.
	LabelTrie Objective = "labels"
)

// Recipe says how to train. Its zero value is not useful: begin with DefaultRecipe.
type Recipe struct {
	Objective    Objective `json:"objective"`
	Epochs       int       `json:"epochs"`
	BatchSize    int       `json:"batch_size"` // rows of one step of one run
	LearningRate float64   `json:"learning_rate"`
	WeightDecay  float64   `json:"weight_decay"` // decoupled, towards 0 as torch's AdamW has it
	Beta1        float64   `json:"beta1"`
	Beta2        float64   `json:"beta2"`
	Epsilon      float64   `json:"epsilon"`
	ClipNorm     float64   `json:"clip_norm"` // largest norm of a run's gradient; 0 clips nothing
	Dropout      float64   `json:"dropout"`   // rate; 0 drops nothing
	// ClassWeights weigh the rows of a label, by its name; 1 where absent.
	ClassWeights map[string]float64 `json:"class_weights,omitempty"`
	MaxTokens    int                `json:"max_tokens"`       // of a text, template and end marker included
	LabelTokens  int                `json:"max_label_tokens"` // of a label, end marker included
	Seed         uint64             `json:"seed"`             // of the split, and of the only run
	KeepOrder    bool               `json:"keep_order"`       // every epoch takes the rows as they come
	Validation   float64            `json:"validation"`       // fraction of the rows, 0 for none
	// EarlyStop ends a run after so many epochs without a smaller validation loss, and
	// keeps the vectors of the best one; 0 trains to the end and keeps the last.
	EarlyStop int `json:"early_stop"`
	// AbstainTarget is the accuracy that answers above the fitted abstain threshold
	// shall have on the validation rows; 0 fits none.
	AbstainTarget float64 `json:"abstain_target"`

	// LearningRates and Seeds, where not empty, make one run for each of their
	// combinations. Folds, where above 0, makes each of those into so many runs, which
	// validate on one part of the rows each and train on the others.
	LearningRates []float64 `json:"learning_rates,omitempty"`
	Seeds         []uint64  `json:"seeds,omitempty"`
	Folds         int       `json:"folds,omitempty"`

	// MicroTokens bounds the tokens that go through the model together: memory, and what
	// serving waits for. A short text counts as one of 24, and a longer one than all goes
	// alone.
	MicroTokens int `json:"micro_tokens"`
}

// DefaultRecipe is the published one: AdamW as torch has it, linear decay without
// warm-up, 3 epochs of batches of 8.
func DefaultRecipe() Recipe {
	return Recipe{
		Objective: Seq2Seq, Epochs: 3, BatchSize: 8, LearningRate: 8e-3,
		WeightDecay: 0.01, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8,
		MaxTokens: 128, LabelTokens: 3, Validation: 0.1, MicroTokens: DefaultMicroTokens,
	}
}

// DefaultMicroTokens is for a CPU. Serving may have to wait while they go through one block
// of the base, which takes about as long as the tokens of a short text through all of its
// blocks, whatever its size: 2 ms with the builtin base on two cores, and 30 with mt0-large.
const DefaultMicroTokens = 512

// Bounds of a recipe.
const (
	maxEpochs = 10_000
	maxBatch  = 4096
	maxRuns   = 64
	maxTokens = 4096
)

// Validate looks at everything but the data. Errors wrap ErrRecipe.
func (r *Recipe) Validate() error {
	if r.Objective != Seq2Seq && r.Objective != LabelTrie {
		return fmt.Errorf("%w: objective is %q; it must be %q or %q", ErrRecipe, r.Objective, Seq2Seq, LabelTrie)
	}
	if err := r.validateCounts(); err != nil {
		return err
	}
	if err := r.validateNumbers(); err != nil {
		return err
	}
	for label, w := range r.ClassWeights {
		if !(w >= 0) || math.IsInf(w, 0) {
			return fmt.Errorf("%w: class_weights: %q has %v; a weight is a number from 0", ErrRecipe, label, w)
		}
	}
	if r.Folds == 1 {
		return fmt.Errorf("%w: folds is 1; it must be 0 or at least 2", ErrRecipe)
	}
	if n := max(1, len(r.LearningRates)) * max(1, len(r.Seeds)) * max(1, r.Folds); n > maxRuns {
		return fmt.Errorf("%w: learning_rates, seeds and folds make %d runs; at most %d are allowed", ErrRecipe, n, maxRuns)
	}
	if r.EarlyStop > 0 && r.Validation == 0 && r.Folds == 0 {
		return fmt.Errorf("%w: early_stop needs validation rows, but validation is 0", ErrRecipe)
	}
	return nil
}

func (r *Recipe) validateCounts() error {
	for _, f := range []struct {
		name        string
		v, from, to int
	}{
		{"epochs", r.Epochs, 1, maxEpochs}, {"batch_size", r.BatchSize, 1, maxBatch}, {"max_tokens", r.MaxTokens, 2, maxTokens},
		{"max_label_tokens", r.LabelTokens, 2, 64}, {"early_stop", r.EarlyStop, 0, maxEpochs}, {"folds", r.Folds, 0, maxRuns},
		{"micro_tokens", r.MicroTokens, 1, 1 << 24},
	} {
		if f.v < f.from || f.v > f.to {
			return fmt.Errorf("%w: %s is %d; it must be from %d to %d", ErrRecipe, f.name, f.v, f.from, f.to)
		}
	}
	return nil
}

func (r *Recipe) validateNumbers() error {
	rates := append([]float64{r.LearningRate}, r.LearningRates...)
	for _, rate := range rates {
		if !(rate > 0 && rate <= 10) {
			return fmt.Errorf("%w: a learning rate is %v; it must be above 0 and at most 10", ErrRecipe, rate)
		}
	}
	if !(r.Epsilon > 0 && r.Epsilon < 1) {
		return fmt.Errorf("%w: epsilon is %v; it must lie between 0 and 1", ErrRecipe, r.Epsilon)
	}
	if !(r.ClipNorm >= 0) || math.IsInf(r.ClipNorm, 0) {
		return fmt.Errorf("%w: clip_norm is %v; it must be a number from 0", ErrRecipe, r.ClipNorm)
	}
	for _, f := range []struct {
		name string
		v    float64
	}{
		{"weight_decay", r.WeightDecay}, {"beta1", r.Beta1}, {"beta2", r.Beta2}, {"dropout", r.Dropout},
		{"validation", r.Validation}, {"abstain_target", r.AbstainTarget},
	} {
		if !(f.v >= 0 && f.v < 1) {
			return fmt.Errorf("%w: %s is %v; it must be at least 0 and below 1", ErrRecipe, f.name, f.v)
		}
	}
	return nil
}
