package handlers

import (
	"fmt"

	"valence/adapters"
	"valence/adapters/jobs"
)

// trainRequest is the body of POST /v1/adapters/{id}/train. What it leaves out is the
// trainer's to choose.
type trainRequest struct {
	Data            *trainData        `json:"data"             validate:"required"`
	Validation      *validationChoice `json:"validation"`
	Labels          []string          `json:"labels"           validate:"omitempty,min=2,max=64,unique,dive,min=1,max=256"`
	Verbalisers     map[string]string `json:"verbalisers"`
	Template        *string           `json:"template" validate:"omitempty,max=4096"`
	Objective       *string           `json:"objective"        validate:"omitempty,oneof=seq2seq labels"`
	Epochs          *int              `json:"epochs"           validate:"omitempty,min=1,max=10000"`
	BatchSize       *int              `json:"batch_size"       validate:"omitempty,min=1,max=4096"`
	LearningRate    *float64          `json:"learning_rate"    validate:"omitempty,gt=0,max=10"`
	Seed            *int              `json:"seed"             validate:"omitempty,min=0"`
	Dropout         *bool             `json:"dropout"`
	ClassWeights    *bool             `json:"class_weights"`
	ClipNorm        *float64          `json:"clip_norm" validate:"omitempty,min=0"`
	MaxTokens       *int              `json:"max_tokens" validate:"omitempty,min=2,max=4096"`
	MaxLabelTokens  *int              `json:"max_label_tokens" validate:"omitempty,min=2,max=64"`
	AbstainTarget   *float64          `json:"abstain_target" validate:"omitempty,min=0,lt=1"`
	EarlyStop       *int              `json:"early_stop"       validate:"omitempty,min=0,max=10000"`
	WarmStartFrom   *string           `json:"warm_start_from"`
	Sweep           *sweepChoice      `json:"sweep"`
	CrossValidation *int              `json:"cross_validation" validate:"omitempty,min=2,max=64"`
	Activate        *string           `json:"activate"         validate:"omitempty,oneof=always if_better never"`
	Push            *trainPush        `json:"push"`
	DryRun          *bool             `json:"dry_run"`
}

// validationChoice says which rows are measured on: a part of the data, or a data set.
type validationChoice struct {
	Split   *float64 `json:"split"   validate:"omitempty,min=0,lt=1"`
	Dataset *string  `json:"dataset"`
}

// sweepChoice lists values to try, each with each.
type sweepChoice struct {
	LearningRate []float64 `json:"learning_rate" validate:"omitempty,min=1,max=64,unique,dive,gt=0,max=10"`
	Seed         []int     `json:"seed"          validate:"omitempty,min=1,max=64,unique,dive,min=0"`
}

// trainPush says where on the Hub the new version goes.
type trainPush struct {
	Repo    *string `json:"repo"`
	Branch  *string `json:"branch"`
	Private *bool   `json:"private"`
}

// maxRuns bounds what one request trains side by side.
const maxRuns = 64

// faults lists what tags cannot say.
func (t *trainRequest) faults() []fieldError {
	var out []fieldError
	if t.Data != nil {
		out = t.Data.faults()
	}
	if v := t.Validation; v != nil {
		out = append(out, v.faults(t.CrossValidation != nil)...)
	}
	runs := max(1, or(t.CrossValidation, 1))
	if s := t.Sweep; s != nil {
		runs *= max(1, len(s.LearningRate)) * max(1, len(s.Seed))
		if t.LearningRate != nil && s.LearningRate != nil {
			out = append(out, fieldError{Pointer: "/learning_rate", Code: "not_allowed", Detail: "has no meaning with /sweep/learning_rate"})
		}
	}
	if runs > maxRuns {
		out = append(out, fieldError{Pointer: "/sweep", Code: "too_many", Detail: fmt.Sprintf("the values and folds make %d runs; at most %d are allowed", runs, maxRuns)})
	}
	return out
}

func (v *validationChoice) faults(folds bool) []fieldError {
	switch {
	case folds && (v.Split != nil || v.Dataset != nil):
		return []fieldError{{Pointer: "/validation", Code: "not_allowed", Detail: "has no meaning with cross_validation, whose folds are measured on one another"}}
	case v.Split != nil && v.Dataset != nil:
		return []fieldError{{Pointer: "/validation", Code: "one_of", Detail: `give one of "split" and "dataset"`}}
	}
	return nil
}

// checkIDs checks what names adapters and repositories.
func (t *training) checkIDs() error {
	if from := t.body.WarmStartFrom; from != nil {
		if err := checkRef(*from, "/warm_start_from"); err != nil {
			return err
		}
	}
	if from := t.body.Data.From; from != nil {
		ref, err := adapters.ParseID(*from)
		if err == nil && ref.Revision != "" {
			err = fmt.Errorf("%w %q: feedback is given to an adapter as a whole", adapters.ErrID, *from)
		}
		if err != nil {
			return invalid("/data/from", codeID, "%s", detail(err))
		}
	}
	if p := t.body.Push; p != nil {
		return within("/push", checkRepo(t.id, p.Repo, p.Branch, "/branch"))
	}
	return nil
}

// spec is the request as the trainer takes it.
func (t *trainRequest) spec(id, validation string) jobs.Spec {
	s := jobs.Spec{
		Validation: jobs.Validation{Dataset: validation},
		Labels:     t.Labels, Objective: or(t.Objective, ""), Epochs: or(t.Epochs, 0), BatchSize: or(t.BatchSize, 0),
		LearningRate: or(t.LearningRate, 0), Seed: int64(or(t.Seed, 0)), Dropout: or(t.Dropout, false), ClassWeights: or(t.ClassWeights, false),
		EarlyStop: or(t.EarlyStop, 0), WarmStartFrom: or(t.WarmStartFrom, ""), CrossValidation: or(t.CrossValidation, 0),
		Activate: jobs.Activate(or(t.Activate, "")), Verbalisers: t.Verbalisers, Template: t.Template, ClipNorm: or(t.ClipNorm, 0),
		MaxTokens: or(t.MaxTokens, 0), MaxLabelTokens: or(t.MaxLabelTokens, 0), AbstainTarget: or(t.AbstainTarget, 0),
	}
	if t.Validation != nil {
		s.Validation.Split = t.Validation.Split
	}
	if t.Sweep != nil {
		s.Sweep.LearningRate = t.Sweep.LearningRate
		for _, seed := range t.Sweep.Seed {
			s.Sweep.Seed = append(s.Sweep.Seed, int64(seed))
		}
	}
	if p := t.Push; p != nil {
		s.Push = jobs.Push{Repo: or(p.Repo, id), Branch: or(p.Branch, ""), Private: or(p.Private, false)}
	}
	return s
}
