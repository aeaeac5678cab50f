package train

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"valence/runtime/mt5/spec"
)

// recipes are the kinds of jobs that must resume and repeat.
var recipes = map[string]func(r *Recipe){
	"plain":      nil,
	"labels":     func(r *Recipe) { r.Objective, r.ClipNorm = LabelTrie, 0.1 },
	"dropout":    func(r *Recipe) { r.Dropout = 0.2 },
	"sweep":      func(r *Recipe) { r.LearningRates, r.Seeds = []float64{0.01, 0.3}, []uint64{1, 2} },
	"folds":      func(r *Recipe) { r.Folds, r.Seeds = 3, []uint64{4, 5} },
	"early stop": func(r *Recipe) { r.Epochs, r.EarlyStop, r.LearningRates = 12, 1, []float64{0.02, 2} },
	"no rows":    func(r *Recipe) { r.Validation, r.ClassWeights = 0, map[string]float64{"bad": 2, "fair": 0} },
}

func TestTrainingLearns(t *testing.T) {
	tr := mustOpen(t, testJob(func(r *Recipe) { r.Epochs, r.AbstainTarget = 20, 0.99 }), linearModel())
	events := finish(t, tr)
	r := tr.Result().Runs[0]
	first, last := r.Epochs[0], r.Epochs[19]
	if !(last.TrainLoss < 0.7*first.TrainLoss) || !(last.ValidationLoss < first.ValidationLoss) {
		t.Errorf("losses: %+v, then %+v", first, last)
	}
	if last.Perplexity != math.Exp(last.ValidationLoss) || r.Kept != 20 || r.Steps != 20*6 {
		t.Errorf("%+v", r)
	}
	if r.Report == nil || r.Report.ECE > 0.35 || r.Temperature == 1 {
		t.Errorf("calibration: temperature %v, %+v", r.Temperature, r.Report)
	}
	steps, epochs := 0, 0
	for _, e := range events {
		switch e.Kind {
		case Stepped:
			if steps++; e.Step != steps || e.Steps != 120 || e.LearningRate != rateAt(0.02, steps-1, 120) || !(e.Seconds > 0) || !(e.Rate > 0) {
				t.Errorf("event %+v", e)
			}
		case Evaluated:
			if epochs++; e.Epoch.Epoch != epochs || e.Epoch.Report == nil {
				t.Errorf("event %+v", e)
			}
		}
	}
	if steps != 120 || epochs != 20 || events[len(events)-1].Kind != Finished {
		t.Errorf("%d steps and %d epochs, the last event is %+v", steps, epochs, events[len(events)-1])
	}
}

// TestResumeEndsAtTheSameBits stops after every unit of work and goes on from bytes.
func TestResumeEndsAtTheSameBits(t *testing.T) {
	for name, change := range recipes {
		t.Run(name, func(t *testing.T) {
			job := testJob(change)
			whole := mustOpen(t, job, linearModel())
			events := finish(t, whole)
			pieces, count := mustOpen(t, job, linearModel()), 0
			for done := false; !done; {
				units := 0
				var err error
				done, err = pieces.Run(t.Context(), func() bool { units++; return units > 1 }, func(Event) { count++ })
				if err != nil {
					t.Fatal(err)
				}
				state, err := pieces.Checkpoint()
				if err != nil {
					t.Fatal(err)
				}
				if pieces, err = Resume(job, linearModel(), wordTokenizer{}, state); err != nil {
					t.Fatal(err)
				}
			}
			if count != len(events) {
				t.Errorf("%d events in pieces, %d in one", count, len(events))
			}
			sameResult(t, pieces.Result(), whole.Result())
		})
	}
}

func TestTheSameSeedGivesTheSameBits(t *testing.T) {
	for name, change := range recipes {
		a, b := mustOpen(t, testJob(change), linearModel()), mustOpen(t, testJob(change), linearModel())
		finish(t, a)
		finish(t, b)
		t.Run(name, func(t *testing.T) { sameResult(t, a.Result(), b.Result()) })
	}
	a, b := mustOpen(t, testJob(nil), linearModel()), mustOpen(t, testJob(func(r *Recipe) { r.Seed = 1 }), linearModel())
	finish(t, a)
	finish(t, b)
	if slices.Equal(a.LiveVectors(0).Data, b.LiveVectors(0).Data) {
		t.Error("another seed gives the same vectors")
	}
}

// TestRunsDoNotDependOnTheirMates trains each run of a sweep alone.
func TestRunsDoNotDependOnTheirMates(t *testing.T) {
	rates, seeds := []float64{0.01, 0.05}, []uint64{3, 4}
	sweep := mustOpen(t, testJob(func(r *Recipe) { r.LearningRates, r.Seeds, r.Dropout = rates, seeds, 0.1 }), linearModel())
	finish(t, sweep)
	if sweep.Runs() != 4 {
		t.Fatalf("%d runs", sweep.Runs())
	}
	for i := range 4 {
		alone := mustOpen(t, testJob(func(r *Recipe) {
			r.LearningRates, r.Seeds, r.Dropout = rates[i/2:i/2+1], seeds[i%2:i%2+1], 0.1
		}), linearModel())
		finish(t, alone)
		got := sweep.Result().Runs[i]
		if got.LearningRate != rates[i/2] || got.Seed != seeds[i%2] {
			t.Errorf("run %d: %+v", i, got)
		}
		want := alone.LiveVectors(0).Data
		for k, x := range got.Vectors.Data {
			if math.Abs(float64(x-want[k])) > 1e-5 {
				t.Fatalf("run %d, element %d: %v together, %v alone", i, k, x, want[k])
			}
		}
	}
}

// TestMicroBatchesAddUp cuts the steps in other ways.
func TestMicroBatchesAddUp(t *testing.T) {
	var want []float32
	for _, tokens := range []int{1, 50, 100000} {
		tr := mustOpen(t, testJob(func(r *Recipe) { r.MicroTokens = tokens }), linearModel())
		finish(t, tr)
		got := tr.LiveVectors(0).Data
		if want == nil {
			want = got
		}
		for k := range got {
			if math.Abs(float64(got[k]-want[k])) > 1e-5 {
				t.Fatalf("micro-batches of %d tokens: element %d is %v, not %v", tokens, k, got[k], want[k])
			}
		}
	}
}

func TestCancelledUnitLeavesNoTrace(t *testing.T) {
	whole := mustOpen(t, testJob(nil), linearModel())
	finish(t, whole)
	model := linearModel()
	tr := mustOpen(t, testJob(nil), model)
	plain, calls := *model, 0
	model.learn = func(ctx context.Context, l *spec.Lesson) (*spec.Gradient, error) {
		if calls++; calls%3 == 0 {
			return nil, context.Canceled
		}
		return plain.learn(ctx, l)
	}
	model.judge = func(ctx context.Context, l *spec.Lesson) ([][]spec.Verdict, error) {
		if calls++; calls%3 == 0 {
			return nil, context.Canceled
		}
		return plain.judge(ctx, l)
	}
	failures := 0
	for !tr.Done() {
		if _, err := tr.Run(t.Context(), nil, nil); err != nil {
			if failures++; !errors.Is(err, context.Canceled) || failures > 1000 {
				t.Fatal(err)
			}
			if calls%3 == 0 && failures%2 == 0 {
				calls++ // lets a step of three micro-batches pass at last
			}
		}
	}
	if failures == 0 {
		t.Fatal("nothing was interrupted")
	}
	sameResult(t, tr.Result(), whole.Result())
}

// TestNonFiniteLossEndsThatRunOnly breaks one row's loss at some step of one run.
func TestNonFiniteLossEndsThatRunOnly(t *testing.T) {
	sweep := func(r *Recipe) { r.LearningRates = []float64{0.01, 0.02} }
	clean := mustOpen(t, testJob(sweep), linearModel())
	finish(t, clean)
	for name, spoil := range map[string]func(g *spec.Gradient, i int){
		"loss":     func(g *spec.Gradient, i int) { g.Losses[i][0] = float32(math.Inf(1)) },
		"gradient": func(g *spec.Gradient, i int) { g.Broken, g.Runs[1][3] = []int{i}, float32(math.NaN()) },
	} {
		t.Run(name, func(t *testing.T) {
			model := linearModel()
			plain := *model
			var good []float32
			tr := mustOpen(t, testJob(sweep), model)
			model.learn = func(ctx context.Context, l *spec.Lesson) (*spec.Gradient, error) {
				g, err := plain.learn(ctx, l)
				if tr.runs[1].step == 7 {
					good = l.Vectors[1]
					if i := slices.IndexFunc(l.Rows, func(r spec.LessonRow) bool { return r.Run == 1 }); i >= 0 {
						spoil(g, i)
					}
				}
				return g, err
			}
			events := finish(t, tr)
			i := slices.IndexFunc(events, func(e Event) bool { return e.Kind == Failed })
			if i < 0 || events[i].Run != 1 || events[i].Failure.Step != 8 || len(events[i].Failure.Rows) == 0 || events[i].Failure.Rows[0] < 2 {
				t.Fatalf("failure: %+v", events)
			}
			got := tr.Result()
			if got.Best != 0 || got.Runs[1].Failure == nil || !slices.Equal(got.Runs[1].Vectors.Data, good) || got.Runs[1].Report != nil {
				t.Errorf("%+v", got)
			}
			want := clean.LiveVectors(0).Data
			for k, x := range got.Runs[0].Vectors.Data {
				if math.Abs(float64(x-want[k])) > 1e-5 {
					t.Fatalf("the other run's element %d is %v, not %v", k, x, want[k])
				}
			}
			state, err := tr.Checkpoint()
			if err != nil {
				t.Fatal(err)
			}
			again, err := Resume(testJob(sweep), model, wordTokenizer{}, state)
			if err != nil || !again.Done() {
				t.Fatal(err)
			}
			sameResult(t, again.Result(), got)
		})
	}
}

func TestNonFiniteValidationEndsTheRun(t *testing.T) {
	model := linearModel()
	plain := *model
	model.judge = func(ctx context.Context, l *spec.Lesson) ([][]spec.Verdict, error) {
		v, err := plain.judge(ctx, l)
		v[0][0].LogProbs[1] = float32(math.NaN())
		return v, err
	}
	tr := mustOpen(t, testJob(nil), model)
	finish(t, tr)
	r := tr.Result()
	if f := r.Runs[0].Failure; r.Best != -1 || f == nil || !f.Validation || f.Step != 6 || len(f.Rows) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestEarlyStopKeepsTheBest(t *testing.T) {
	tr := mustOpen(t, testJob(recipes["early stop"]), linearModel())
	events := finish(t, tr)
	r := tr.Result().Runs[1] // whose learning rate is far too large
	if len(r.Epochs) >= 12 || r.Kept != len(r.Epochs)-1 {
		t.Fatalf("kept epoch %d of %d", r.Kept, len(r.Epochs))
	}
	for i, e := range r.Epochs {
		if e.ValidationLoss < r.Epochs[r.Kept-1].ValidationLoss {
			t.Errorf("epoch %d is better than the one kept", i+1)
		}
	}
	if !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == Stopped && e.Run == 1 }) {
		t.Error("no event tells that the run stopped")
	}
	if slices.Equal(r.Vectors.Data, tr.LiveVectors(1).Data) {
		t.Error("the vectors are the last, not the best")
	}
}

func TestWarmStart(t *testing.T) {
	first := mustOpen(t, testJob(nil), linearModel())
	finish(t, first)
	job := testJob(nil)
	job.Start = first.LiveVectors(0)
	tr := mustOpen(t, job, linearModel())
	events := finish(t, tr)
	if !(tr.Result().Runs[0].Epochs[0].TrainLoss < first.Result().Runs[0].Epochs[0].TrainLoss) {
		t.Errorf("the first epoch is no better: %+v", events[0])
	}
	for name, start := range map[string]*spec.Vectors{
		"other sites": {Sites: sites[:1], Data: make([]float32, 20)},
		"too short":   {Sites: sites, Data: make([]float32, 20)},
		"not finite":  {Sites: sites, Data: slices.Repeat([]float32{float32(math.NaN())}, 30)},
	} {
		job.Start = start
		if _, err := Open(job, linearModel(), wordTokenizer{}); !errors.Is(err, ErrJob) {
			t.Errorf("%s: %v", name, err)
		}
	}
	job.Start, job.Sites = nil, nil
	if _, err := Open(job, linearModel(), wordTokenizer{}); !errors.Is(err, ErrJob) {
		t.Errorf("no sites: %v", err)
	}
}

// TestLiveVectorsWhileTraining reads them from other goroutines.
func TestLiveVectorsWhileTraining(t *testing.T) {
	tr := mustOpen(t, testJob(nil), linearModel())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v := tr.LiveVectors(0)
				before := slices.Clone(v.Data)
				if !slices.Equal(before, v.Data) {
					t.Error("live vectors changed")
				}
			}
		})
	}
	finish(t, tr)
	close(stop)
	wg.Wait()
	if first, again := tr.LiveVectors(0), tr.LiveVectors(0); first != again {
		t.Error("the vectors of one step have two addresses")
	}
}

func TestCheckpointRefusals(t *testing.T) {
	job := testJob(recipes["sweep"])
	tr := mustOpen(t, job, linearModel())
	if _, err := tr.Run(t.Context(), func() bool { return tr.runs[0].step == 8 }, nil); err != nil {
		t.Fatal(err)
	}
	state, err := tr.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	resume := func(job Job, state []byte) error {
		_, err := Resume(job, linearModel(), wordTokenizer{}, state)
		return err
	}
	for _, n := range []int{0, 5, 30, len(state) / 2, len(state) - 1} {
		if err := resume(job, state[:n]); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for at := 0; at < len(state); at += 97 {
		damaged := slices.Clone(state)
		damaged[at] ^= 1
		if err := resume(job, damaged); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("byte %d damaged: %v", at, err)
		}
	}
	for name, change := range map[string]func(j *Job){
		"recipe": func(j *Job) { j.Recipe.LearningRate = 1 },
		"data":   func(j *Job) { j.Data.Examples[3].Text += " 9" },
		"base":   func(j *Job) { j.Base = "sha256:other" },
		"start":  func(j *Job) { j.Start = &spec.Vectors{Sites: sites, Data: make([]float32, elements)} },
	} {
		other := testJob(recipes["sweep"])
		change(&other)
		if err := resume(other, state); !errors.Is(err, ErrCheckpoint) || !strings.Contains(err.Error(), "another job") {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if err := resume(job, state); err != nil {
		t.Error(err)
	}
}
