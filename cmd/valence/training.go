package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"valence/adapters"
	"valence/adapters/datasets"
	"valence/adapters/jobs"
	"valence/adapters/registry"
	"valence/adapters/store"
	"valence/adapters/training"
)

// trainings are the jobs of a server and what they are trained on.
type trainings struct {
	jobs     *jobs.Manager
	datasets *datasets.Store
}

// openTrainings starts to work on the jobs of the state, and lets their vectors be asked
// for.
func openTrainings(ctx context.Context, s *stack, state *store.Store, known *registry.Registry, metrics prometheus.Registerer, log *slog.Logger, limits datasets.Limits, checkpointEvery time.Duration) (*trainings, error) {
	sets, err := datasets.New(ctx, state, datasets.Options{Limits: limits})
	if err != nil {
		return nil, err
	}
	base := s.adapters.List()[0]
	o := training.Options{
		Model: s.model, Tokenizer: s.tok, Config: s.base.Config, Base: base, BaseName: s.base.Name,
		Engine: s.engine, Datasets: sets, Adapters: known, Log: log,
		CanaryTolerance: adapters.CanaryTolerance(s.model.Precision()),
	}
	if s.thread.Device().IsCUDA() {
		o.MicroTokens = training.CUDAMicroTokens(s.base.Config)
	}
	trainer, err := training.New(o)
	if err != nil {
		return nil, err
	}
	m, err := jobs.New(ctx, jobs.Options{
		SegmentTime: checkpointEvery,
		Store:       state, Trainer: trainer, Publisher: trainer, Base: base.Digest, Log: log, Metrics: metrics,
	})
	if err != nil {
		return nil, err
	}
	known.ServeLive(func(ctx context.Context, id, job string) (adapters.Live, error) {
		return training.Live(ctx, m, id, job)
	})
	return &trainings{m, sets}, nil
}

// Close stops the work at its next step, with a checkpoint. It goes on at the next start.
func (t *trainings) Close(ctx context.Context) error {
	err := t.jobs.Close(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.Join(errors.New("a training was broken off; it goes on from its last checkpoint at the next start"), err)
	}
	return err
}
