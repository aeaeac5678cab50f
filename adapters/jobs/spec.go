package jobs

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Spec is what is to be trained. This package keeps it and hands it on; what its values
// may be, and their defaults, is the Trainer's business.
type Spec struct {
	Validation Validation `json:"validation,omitzero"`
	Labels     []string   `json:"labels,omitempty"` // nil: those of the data
	// Verbalisers are what the model writes for a label, by its name; absent ones are those
	// that the job starts from, or else the name itself.
	Verbalisers map[string]string `json:"verbalisers,omitempty"`
	// Template holds {text} once, or is empty; nil is that of what the job starts from: of
	// WarmStartFrom, or of the base.
	Template        *string  `json:"template,omitempty"`
	Objective       string   `json:"objective,omitempty"`
	Epochs          int      `json:"epochs,omitzero"`
	BatchSize       int      `json:"batch_size,omitzero"` // rows
	LearningRate    float64  `json:"learning_rate,omitzero"`
	Seed            int64    `json:"seed,omitzero"`
	Dropout         bool     `json:"dropout,omitzero"`       // at the rate of the base's configuration
	ClassWeights    bool     `json:"class_weights,omitzero"` // labels weigh the same, however many rows they have
	ClipNorm        float64  `json:"clip_norm,omitzero"`     // largest norm of a gradient; 0 clips nothing
	MaxTokens       int      `json:"max_tokens,omitzero"`    // of a text, template and end marker included; longer ones are cut
	MaxLabelTokens  int      `json:"max_label_tokens,omitzero"`
	AbstainTarget   float64  `json:"abstain_target,omitzero"`   // share of right answers above the fitted abstain_below; 0 fits none
	EarlyStop       int      `json:"early_stop,omitzero"`       // epochs without progress; 0 never stops early
	WarmStartFrom   string   `json:"warm_start_from,omitempty"` // an adapter's id with an optional "@revision"
	Sweep           Sweep    `json:"sweep,omitzero"`            // several runs, of which the best is published
	CrossValidation int      `json:"cross_validation,omitzero"` // folds; 0 for none
	Activate        Activate `json:"activate,omitempty"`        // whether the new version answers at once
	Push            Push     `json:"push,omitzero"`             // where on the Hub it goes
}

// Validation says which rows are not trained on.
type Validation struct {
	Split   *float64 `json:"split,omitzero"`    // share of the data's rows, 0 for none of them; nil with no Dataset means the default
	Dataset string   `json:"dataset,omitempty"` // or a data set of its own, by id
}

// Sweep lists values to try, each with each.
type Sweep struct {
	LearningRate []float64 `json:"learning_rate,omitempty"`
	Seed         []int64   `json:"seed,omitempty"`
}

// Activate says when a new version becomes the one that answers.
type Activate string

// The ways to activate.
const (
	ActivateAlways   Activate = "always"
	ActivateIfBetter Activate = "if_better"
	ActivateNever    Activate = "never"
)

// Push names a repository of the Hub; an empty Repo pushes nothing.
type Push struct {
	Repo    string `json:"repo,omitempty"`
	Branch  string `json:"branch,omitempty"`
	Private bool   `json:"private,omitzero"`
}

// Data names what is trained on. The blobs stay until the job has succeeded or is gone.
type Data struct {
	Dataset    string   `json:"dataset,omitempty"`    // id of a data set, or "" where only the digest is known
	Validation string   `json:"validation,omitempty"` // id of the data set of Spec.Validation, or ""
	Digest     string   `json:"digest"`               // "sha256:..." of the rows as trained on
	Blobs      []string `json:"blobs,omitempty"`      // digests of the blobs of the store that hold it
}

// Plan is what a Trainer says before it begins: counts, balance, lengths, steps, time.
type Plan = jsontext.Value

// Progress is how far a training is. Steps are counted over the whole job, so that a
// step that is done again after a worker's death is told once.
type Progress struct {
	Step              int     `json:"step"`  // steps done
	Steps             int     `json:"steps"` // steps in all
	Epoch             float64 `json:"epoch"` // epochs done, with the part of the current one
	Loss              float64 `json:"loss"`
	LearningRate      float64 `json:"learning_rate"`
	ExamplesPerSecond float64 `json:"examples_per_second,omitzero"`
	SecondsLeft       float64 `json:"seconds_left,omitzero"`
	// Runs are the losses of each where there are several; Loss and LearningRate are then
	// those of the run that is ahead.
	Runs []RunProgress `json:"runs,omitempty"`
	// Metrics are those of an epoch that ended with this step, or nil. Reports that have
	// them are all kept; of the others about two a second.
	Metrics jsontext.Value `json:"metrics,omitempty"`
}

// RunProgress is one of several runs after a step.
type RunProgress struct {
	Run          int     `json:"run"`
	Loss         float64 `json:"loss"`
	LearningRate float64 `json:"learning_rate"`
}

// Result is a finished training.
type Result struct {
	Digest  string         // of the version to be: the same for the same request
	Content []byte         // what the Publisher needs; of no meaning here
	Metrics jsontext.Value // shown in the job; nil for none
}

// Failure says why a job failed.
type Failure struct {
	Code     string    `json:"code"` // "invalid_job", "base_changed", "diverged", "panic", "damaged", "training_failed", "publishing_failed"
	Message  string    `json:"message"`
	Phase    State     `json:"phase"`         // where it failed
	Step     int       `json:"step,omitzero"` // that diverged, from 1
	Findings []Finding `json:"findings,omitempty"`
}

// Job is a training as it stands. It is a copy.
type Job struct {
	ID         string // lower-case letters and digits, of one length, rising with time
	Adapter    string
	State      State
	Phase      State  // Queued, Running, Evaluating or Publishing: where it goes on when it does
	Working    bool   // a worker has it at this moment
	Waiting    string // why it does not go on though its state says so, or ""
	Spec       Spec
	Data       Data
	Base       string // digest of the base that it is trained on
	Plan       Plan   // nil before it is validated
	Progress   Progress
	Metrics    jsontext.Value // of the result; nil before there is one
	Digest     string         // of the result; "" before there is one
	Version    string         // that was published; "" before
	Activated  bool           // whether that version was made the active one
	Failure    *Failure       // of a failed job
	Created    time.Time      // UTC, in whole microseconds
	Started    time.Time      // zero before its first turn
	Finished   time.Time      // zero before it is in a final state
	Events     int64          // sequence of its last event
	Checkpoint int64          // number of its last checkpoint; 0 for none
}

// Event is something that happened to a job.
type Event struct {
	Sequence int64          `json:"sequence"` // 1, 2, ... within the job, without gaps
	Time     time.Time      `json:"time"`
	Kind     Kind           `json:"kind"`
	Data     jsontext.Value `json:"data"` // by kind: StateChange, Progress, Recovery
}

// Kind is what an event tells of.
type Kind string

// The kinds of events.
const (
	KindState    Kind = "state"    // StateChange
	KindStep     Kind = "step"     // Progress
	KindEpoch    Kind = "epoch"    // Progress with Metrics
	KindRecovery Kind = "recovery" // Recovery
)

// StateChange is the data of a KindState event.
type StateChange struct {
	From    State    `json:"from,omitempty"` // "" when the job is new
	To      State    `json:"to"`
	Failure *Failure `json:"failure,omitempty"`
	Version string   `json:"version,omitempty"` // that was published
}

// Recovery is the data of a KindRecovery event: the job goes on from an earlier point.
type Recovery struct {
	Reason     string `json:"reason"`     // "worker_lost", "turn_lost" or "checkpoint_damaged"
	Checkpoint int64  `json:"checkpoint"` // number of the one it goes on from; 0 is the start
}
