package training

import (
	"context"
	"errors"
	"fmt"

	"valence/adapters"
	"valence/adapters/jobs"
)

// Jobs has the jobs whose vectors are asked for. It is met by *jobs.Manager.
type Jobs interface {
	Get(ctx context.Context, id string) (jobs.Job, error)
	Live(ctx context.Context, id string) (jobs.Live, error)
}

// Live gives what a job of an adapter has trained so far, or the version that it has
// published. adapters.ErrNotFound is wrapped where there is no such job of the adapter, or
// nothing of it yet.
func Live(ctx context.Context, m Jobs, adapter, id string) (adapters.Live, error) {
	job, err := m.Get(ctx, id)
	if errors.Is(err, jobs.ErrNotFound) || err == nil && job.Adapter != adapter {
		return adapters.Live{}, fmt.Errorf("%w: %s has no job %q", adapters.ErrNotFound, adapter, id)
	}
	if err != nil {
		return adapters.Live{}, err
	}
	if job.Version != "" {
		return adapters.Live{Version: job.Version}, nil
	}
	live, err := m.Live(ctx, id)
	if errors.Is(err, jobs.ErrNoLive) {
		if job, err := m.Get(ctx, id); err == nil && job.Version != "" { // it has just been published
			return adapters.Live{Version: job.Version}, nil
		}
		return adapters.Live{}, fmt.Errorf("%w: %w; it is %s", adapters.ErrNotFound, err, job.State)
	}
	if errors.Is(err, jobs.ErrBaseChanged) {
		return adapters.Live{}, fmt.Errorf("%w: %w", adapters.ErrWrongBase, err)
	}
	if err != nil {
		return adapters.Live{}, err
	}
	return adapters.Live{Step: live.Step, Vectors: live.Vectors, Sidecar: live.Sidecar}, nil
}
