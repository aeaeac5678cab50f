package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"valence/adapters"
	"valence/runtime/engine"
	"valence/runtime/mt5"
	"valence/runtime/mt5/spec"
)

// heldModel runs each batch to its end, but not before go is sent to.
type heldModel struct {
	*mt5.Model
	begun, run chan struct{}
}

func (m heldModel) Score(ctx context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error) {
	m.begun <- struct{}{}
	<-m.run
	return m.Model.Score(context.WithoutCancel(ctx), b, probes)
}

// TestForget lets the only caller of some vectors leave while a batch with its row is on
// its way to the device. When they have been forgotten they are not there, although the
// batch brought them.
func TestForget(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	s, err := (&baseFlags{Base: "builtin", Device: "cpu", Dtype: "auto", Threads: 1, MaxTokens: 512}).open(t.Context(), openOptions{log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.engine.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	held := heldModel{s.model, make(chan struct{}), make(chan struct{})}
	s.engine = engine.New(held, s.tok, engine.Options{}, log)
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	sites := s.base.Config.DefaultSites()
	v, err := spec.NewVectors(sites, slices.Repeat([]float32{1.1}, spec.Total(sites)))
	if err != nil {
		t.Fatal(err)
	}
	side := adapters.DefaultSidecar()
	task, err := s.engine.NewTask(side.TaskSpec(v))
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := s.engine.Predict(ctx, []engine.Request{{Text: "It opens at nine.", Task: task}})
		left <- err
	}()
	<-held.begun
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	forgotten := make(chan error, 1)
	go func() { forgotten <- s.forget(t.Context(), []*spec.Vectors{v}) }()
	select {
	case err := <-forgotten:
		t.Errorf("forgotten while a batch has them: %v", err)
		forgotten <- err
	case <-time.After(50 * time.Millisecond):
	}
	held.run <- struct{}{}
	if err := <-forgotten; err != nil {
		t.Fatal(err)
	}
	if used, _ := s.model.Copies(); used != 0 {
		t.Errorf("%d copies are on the device", used)
	}
}
