package training

import (
	"context"
	"errors"
	"fmt"

	"valence/adapters"
	"valence/adapters/jobs"
	"valence/runtime/train"
)

// publishTries is how often another version may become active while this one is compared.
const publishTries = 5

// Publish makes a version of a result and sends it to the Hub where that is asked for; see
// jobs.Publisher.
func (t *Trainer) Publish(ctx context.Context, job jobs.Job, result jobs.Result) (version string, activated bool, err error) {
	var c content
	if err := c.parse(result.Content); err != nil {
		return "", false, err
	}
	for range publishTries {
		version, activated, err = t.publish(ctx, job, &c)
		if !errors.Is(err, adapters.ErrConflict) || job.Spec.Activate != jobs.ActivateIfBetter {
			break
		}
	}
	if err != nil || job.Spec.Push.Repo == "" {
		return version, activated, err
	}
	p := job.Spec.Push
	_, err = t.o.Adapters.Push(ctx, adapters.PushRequest{
		Ref: adapters.Ref{ID: job.Adapter, Revision: version}.String(), Repo: p.Repo, Branch: p.Branch, Create: true, Private: p.Private,
	})
	if err != nil {
		err = fmt.Errorf("%s@%s is published here; push to %s: %w", job.Adapter, version, p.Repo, err)
	}
	return version, activated, err
}

func (t *Trainer) publish(ctx context.Context, job jobs.Job, c *content) (version string, activated bool, err error) {
	v := adapters.TrainedVersion{ID: job.Adapter, Files: c.Files, Origin: job.ID, Activate: job.Spec.Activate != jobs.ActivateNever}
	if job.Spec.Activate == jobs.ActivateIfBetter {
		if v.Activate, v.IfActive, err = t.better(ctx, job, c); err != nil {
			return "", false, err
		}
	}
	p, err := t.o.Adapters.PublishTrained(ctx, v)
	if err != nil {
		return "", false, err
	}
	active := p.Info.ActiveVersion()
	return p.Version, active != nil && active.Name == p.Version, nil
}

// better tells whether a result is better than the version that is active, whose name is
// given: by macro-F1 on the rows that the result was validated on.
func (t *Trainer) better(ctx context.Context, job jobs.Job, c *content) (better bool, than *string, err error) {
	name, digest, err := t.active(ctx, job.Adapter)
	if err != nil || name == "" {
		return true, &name, err
	}
	if c.Active == nil || c.Active.Digest != digest { // another became active since
		if c.Active, err = t.compareAgain(ctx, job, c); err != nil {
			return false, nil, err
		}
		if c.Active == nil || c.Active.Digest != digest {
			return false, nil, fmt.Errorf("%w: the active version of %s changes again and again", adapters.ErrConflict, job.Adapter)
		}
	}
	return !c.Active.Other && c.MacroF1 > c.Active.MacroF1, &name, nil
}

// active gives the active version's name and digest, or none.
func (t *Trainer) active(ctx context.Context, adapter string) (name, digest string, err error) {
	info, err := t.o.Adapters.Info(ctx, adapter)
	if errors.Is(err, adapters.ErrNotFound) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	if v := info.ActiveVersion(); v != nil {
		return v.Name, v.Digest, nil
	}
	return "", "", nil
}

// compareAgain reads the rows that a result was validated on and asks the active version.
func (t *Trainer) compareAgain(ctx context.Context, job jobs.Job, c *content) (*comparison, error) {
	if job.Spec.Validation.Dataset != "" {
		rows, err := t.rows(ctx, job.Data.Validation, "/validation/dataset")
		if err != nil {
			return nil, err
		}
		return t.compare(ctx, job.Adapter, rows)
	}
	all, err := t.rows(ctx, job.Data.Dataset, "/data")
	if err != nil {
		return nil, err
	}
	rows := make([]train.Example, 0, len(c.Held))
	for _, i := range c.Held {
		if i < 0 || i >= len(all) {
			return nil, fmt.Errorf("training: row %d of %d was validated on: the data set is another", i, len(all))
		}
		rows = append(rows, all[i])
	}
	return t.compare(ctx, job.Adapter, rows)
}
