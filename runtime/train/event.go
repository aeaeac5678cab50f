package train

import "valence/runtime/train/metrics"

// Kind says what an Event tells.
type Kind string

// The kinds of events.
const (
	Stepped   Kind = "step"      // a run has taken a step
	Evaluated Kind = "epoch"     // a run has been evaluated after an epoch
	Stopped   Kind = "early_end" // a run has ended before its last epoch, being no longer better
	Failed    Kind = "failed"    // a run has ended with numbers that are not finite
	Finished  Kind = "finished"  // a run has ended after its last epoch
)

// Event is one thing that happened to one run.
type Event struct {
	Kind         Kind     `json:"kind"`
	Run          int      `json:"run"`
	Step         int      `json:"step"`  // steps taken
	Steps        int      `json:"steps"` // steps in all
	Loss         float64  `json:"loss"`
	LearningRate float64  `json:"learning_rate"`     // of the step that was taken
	Seconds      float64  `json:"seconds"`           // of work so far, all runs and segments together
	Rate         float64  `json:"examples_per_s"`    // rows learnt from a second so far, all runs together
	Epoch        *Epoch   `json:"epoch,omitempty"`   // of Evaluated
	Failure      *Failure `json:"failure,omitempty"` // of Failed
}

// Epoch is how a run stood after an epoch. Losses are those of the objective: of a
// token for Seq2Seq, of a row for LabelTrie.
type Epoch struct {
	Epoch          int     `json:"epoch"` // from 1
	TrainLoss      float64 `json:"train_loss"`
	ValidationLoss float64 `json:"validation_loss"`
	Perplexity     float64 `json:"perplexity"` // exp(ValidationLoss)
	// Written is the fraction of validation rows whose every label token is the most
	// probable of the whole vocabulary: what the published recipe calls accuracy. Only
	// Seq2Seq has it.
	Written float64 `json:"written"`
	// Report judges the labels' probabilities, at temperature 1; nil without
	// validation rows.
	Report *metrics.Report `json:"report,omitempty"`
}

// Failure says where a run met a number that is not finite.
type Failure struct {
	Step       int    `json:"step"`       // from 1
	Rows       []int  `json:"rows"`       // by Example.Row
	Validation bool   `json:"validation"` // met while evaluating
	Reason     string `json:"reason"`
}
