package training

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"valence/adapters"
	"valence/adapters/jobs"
	"valence/runtime/mt5/spec"
)

// What a job has learnt on another base answers nothing.
func TestLiveOfAnotherBase(t *testing.T) {
	f := open(t)
	f.model.pace = 10 * time.Millisecond
	m := f.manager(t, 50*time.Millisecond)
	s := small()
	s.Epochs = 8
	job := submit(t, m, "fresh", s, f.put(t, reviews(90)))
	await(t, m, job.ID, func(j jobs.Job) bool { return j.Checkpoint > 0 })
	if _, err := m.Pause(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	await(t, m, job.ID, func(j jobs.Job) bool { return j.State == jobs.Paused && !j.Working })
	other, err := jobs.New(t.Context(), jobs.Options{Store: f.store, Trainer: f.Trainer, Publisher: f.Trainer, Base: "sha256:other", Workers: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	if _, err := Live(t.Context(), other, "fresh", job.ID); !errors.Is(err, adapters.ErrWrongBase) || !strings.Contains(err.Error(), f.base.Digest) {
		t.Errorf("%v", err)
	}
}

// All rows can be learnt from, as a refusal of too few rows advises.
func TestWithoutValidation(t *testing.T) {
	f := open(t)
	m := f.manager(t, time.Hour)
	d := f.put(t, "text,label\nawful thing,negative\ngreat thing,positive\n")
	s := small()
	if err := f.Check(t.Context(), "a", s, d); err == nil || !strings.Contains(err.Error(), "validation.split to 0") {
		t.Errorf("%v", err)
	}
	s.Validation.Split = new(0.0)
	done := await(t, m, submit(t, m, "a", s, d).ID, func(j jobs.Job) bool { return j.State == jobs.Succeeded })
	if done.Version != "v1" || strings.Contains(string(done.Metrics), "accuracy") {
		t.Errorf("%+v, %s", done.Version, done.Metrics)
	}
}

// Numbers that are none end the job, which keeps its last good vectors.
func TestDiverged(t *testing.T) {
	f := open(t)
	m := f.manager(t, 100*time.Millisecond)
	f.model.pace = 10 * time.Millisecond
	d := f.put(t, reviews(90))
	s := small()
	s.Epochs = 8
	job := submit(t, m, "a", s, d)
	await(t, m, job.ID, func(j jobs.Job) bool { return j.Checkpoint > 0 })
	if _, err := m.Pause(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	await(t, m, job.ID, func(j jobs.Job) bool { return j.State == jobs.Paused && !j.Working })
	f.model.broken = func(*spec.Lesson) bool { return true }
	if _, err := m.Resume(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	var failed jobs.Job
	for deadline := time.Now().Add(patience); failed.State != jobs.Failed; time.Sleep(5 * time.Millisecond) {
		var err error
		if failed, err = m.Get(t.Context(), job.ID); err != nil || time.Now().After(deadline) {
			t.Fatal(err, failed)
		}
	}
	if failed.Failure.Code != "diverged" || failed.Checkpoint == 0 ||
		!strings.Contains(failed.Failure.Message, "lower the learning rate") || !strings.HasSuffix(failed.Failure.Message, "a@job:"+job.ID) {
		t.Errorf("%+v", failed.Failure)
	}
	live, err := m.Live(t.Context(), job.ID)
	if err != nil || live.Step == 0 || live.Step != failed.Failure.Step-1 || slices.ContainsFunc(live.Vectors, func(x float32) bool { return x != x }) {
		t.Errorf("%v, step %d", err, live.Step)
	}
}
