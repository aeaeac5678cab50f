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

// Check reads the data and plans the job; see jobs.Trainer. Errors about the adapter wrap
// adapters.ErrID or ErrFixed.
func (t *Trainer) Check(ctx context.Context, adapter string, s jobs.Spec, data jobs.Data) (jobs.Plan, error) {
	if err := t.o.Adapters.Trainable(adapter); err != nil {
		return nil, err
	}
	if err := checkPush(s.Push).err(); err != nil {
		return nil, err
	}
	from, err := t.origin(ctx, s)
	if err != nil {
		return nil, err
	}
	job, err := t.job(ctx, s, data, from)
	if err != nil {
		return nil, invalid(err)
	}
	p := plan{Start: from, Recipe: job.Recipe, Template: job.Data.Template, Rows: len(job.Data.Examples) + len(job.Data.Validation)}
	trainer, err := train.Open(job, t.o.Model, t.o.Tokenizer)
	if err != nil {
		return nil, invalid(err)
	}
	p.Plan = trainer.Plan()
	for _, l := range trainer.Labels() {
		p.Verbalised = append(p.Verbalised, verbalised{l.Name, l.Verbaliser})
	}
	seconds, err := trainer.Estimate(ctx)
	if err != nil {
		return nil, err
	}
	p.Seconds = seconds.Seconds()
	return encode(p)
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
