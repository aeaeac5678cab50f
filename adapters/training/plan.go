package training

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"valence/adapters"
	"valence/adapters/jobs"
	"valence/runtime/train"
)

// plan is what a dry run shows.
type plan struct {
	*train.Plan
	Rows       int          `json:"rows"`        // to train and to validate on
	Seconds    float64      `json:"seconds"`     // that training will take at the present load
	Start      *origin      `json:"start"`       // what the job starts from
	Recipe     train.Recipe `json:"recipe"`      // in full
	Template   string       `json:"template"`    // that texts are read in
	Verbalised []verbalised `json:"label_texts"` // what the model learns to write
}

type verbalised struct {
	Label string `json:"label"`
	Text  string `json:"text"`
}

// Check reads the data; see jobs.Trainer. Errors about the adapter wrap adapters.ErrID or
// ErrFixed.
func (t *Trainer) Check(ctx context.Context, adapter string, s jobs.Spec, data jobs.Data) error {
	_, err := t.check(ctx, adapter, s, data)
	return err
}

// Plan reads the data and times a step; see jobs.Trainer. Errors are those of Check.
func (t *Trainer) Plan(ctx context.Context, adapter string, s jobs.Spec, data jobs.Data) (jobs.Plan, error) {
	w, err := t.check(ctx, adapter, s, data)
	if err != nil {
		return nil, err
	}
	d := &w.task.Data
	p := plan{Plan: w.trainer.Plan(), Start: w.from, Recipe: w.task.Recipe, Template: d.Template, Rows: len(d.Examples) + len(d.Validation)}
	for _, l := range w.trainer.Labels() {
		p.Verbalised = append(p.Verbalised, verbalised{l.Name, l.Verbaliser})
	}
	seconds, err := w.trainer.Estimate(ctx)
	if err != nil {
		return nil, err
	}
	p.Seconds = seconds.Seconds()
	return encode(p)
}

// check opens what a request asks for.
func (t *Trainer) check(ctx context.Context, adapter string, s jobs.Spec, data jobs.Data) (*work, error) {
	if err := t.o.Adapters.Trainable(adapter); err != nil {
		return nil, err
	}
	if err := checkPush(s.Push).err(); err != nil {
		return nil, err
	}
	return t.open(ctx, "", s, data, nil)
}

func checkPush(p jobs.Push) (f findings) {
	if p.Repo == "" {
		if p.Branch != "" || p.Private {
			f.add("required", "/push/repo", "name the repository to push to, as owner/name")
		}
		return f
	}
	ref, err := adapters.ParseID(p.Repo)
	if err == nil && ref.Revision != "" {
		err = errors.New("give the branch apart from the repository")
	}
	if err != nil {
		f.add("invalid", "/push/repo", err.Error())
	}
	return f
}

func encode(v any) ([]byte, error) {
	out, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	return out, nil
}
