package training

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"valence/adapters"
	"valence/adapters/jobs"
	"valence/adapters/peft"
	"valence/runtime/engine"
	"valence/runtime/mt5/spec"
)

func submit(t testing.TB, m *jobs.Manager, adapter string, s jobs.Spec, d jobs.Data) jobs.Job {
	t.Helper()
	job, _, err := m.Submit(t.Context(), jobs.Request{Adapter: adapter, Spec: s, Data: d})
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func await(t testing.TB, m *jobs.Manager, id string, is func(jobs.Job) bool) jobs.Job {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		job, err := m.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if is(job) {
			return job
		}
		if job.State == jobs.Failed || time.Now().After(deadline) {
			t.Fatalf("job: %+v, failure %+v", job, job.Failure)
		}
	}
}

func succeed(t testing.TB, m *jobs.Manager, id string) jobs.Job {
	t.Helper()
	return await(t, m, id, func(j jobs.Job) bool { return j.State == jobs.Succeeded })
}

func metricsIn(t testing.TB, data []byte) (m allMetrics) {
	t.Helper()
	if err := json.Unmarshal(data, &m, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	return m
}

// A job goes from rows to an active version, which says how it was made, passes its own
// canaries when it is loaded, and is a folder that package peft reads.
func TestTrain(t *testing.T) {
	f := open(t)
	m := f.manager(t, 0)
	d := f.put(t, reviews(90))
	job := succeed(t, m, submit(t, m, "acme/reviews", small(), d).ID)
	if job.Version != "v1" || !job.Activated {
		t.Errorf("%+v", job)
	}
	lease, err := f.registry.Lease(t.Context(), adapters.Ask("acme/reviews"))
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	if lease.Digest != job.Digest {
		t.Errorf("digest %s, not %s", lease.Digest, job.Digest)
	}
	side := lease.Sidecar
	if len(side.Canary) != len(canaryTexts) || len(side.Labels) != 3 || side.Labels[0].Name != "negative" || side.Temperature <= 0 {
		t.Errorf("%+v", side)
	}
	var how made
	if err := json.Unmarshal(side.Training, &how, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	if how.Data != d.Digest || how.Base != "sha256:base" || how.Rows != 90 || how.Recipe.LearningRate != 0.05 || how.Run.Steps != 18 || how.Run.Epoch != 2 {
		t.Errorf("%+v", how)
	}
	got := metricsIn(t, job.Metrics)
	if got.Accuracy < 0.9 || got.Rows != 18 || got.Epoch != 2 || got.Runs != nil || len(got.Confusion) != 3 {
		t.Errorf("%+v", got)
	}
	reports, err := m.Metrics(t.Context(), job.ID)
	if err != nil || len(reports) != 2 || reports[0].Step != 9 || reports[1].Step != 18 || reports[1].Steps != 18 || reports[1].Epoch != 2 {
		t.Errorf("%v, %+v", err, reports)
	}
	if e := metricsIn(t, reports[0].Metrics); e.Epoch != 1 || e.TrainLoss <= 0 || e.ValidationLoss <= 0 {
		t.Errorf("%+v", e)
	}
	files, err := f.store.Files(t.Context(), "acme/reviews", 1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := peft.ParseConfig(files["adapter_config.json"])
	if err != nil || c.BaseModel != "acme/base" || c.TaskType != "SEQ_2_SEQ_LM" {
		t.Errorf("%v, %+v", err, c)
	}
	for name, data := range files {
		if strings.Contains(string(data), "row8") {
			t.Errorf("%s holds a text of the data", name)
		}
	}
}

// However a job is cut into segments, and whether or not each goes on from what is in
// memory, it ends at the same digest and reports the same losses.
func TestSegmentsLeadToOneDigest(t *testing.T) {
	f := open(t)
	d := f.put(t, reviews(90))
	s := small()
	s.Objective, s.Dropout, s.ClassWeights, s.ClipNorm, s.Sweep.Seed = "seq2seq", true, true, 1, []int64{1, 2}
	run := func(stopAfter int, forget bool) (digest string, losses []float64) {
		var checkpoint []byte
		for segment := 0; ; segment++ {
			steps := 0
			out, err := f.Segment(t.Context(), s, d, jobs.Segment{
				Job: "j", Adapter: "a", Checkpoint: checkpoint, Stop: func() bool { return stopAfter > 0 && steps >= stopAfter },
				Report: func(p jobs.Progress) { steps++; losses = append(losses, p.Loss) }, Share: func(func(context.Context) (jobs.Live, error)) {},
			})
			if err != nil {
				t.Fatal(err)
			}
			if out.Result != nil {
				return out.Result.Digest, losses
			}
			if checkpoint = out.Checkpoint; forget {
				f.last = nil
			}
		}
	}
	digest, losses := run(0, false)
	if len(losses) != 20 {
		t.Errorf("%d reports", len(losses))
	}
	for _, stop := range []int{1, 4} {
		for _, forget := range []bool{false, true} {
			if d, l := run(stop, forget); d != digest || !slices.Equal(l, losses) {
				t.Errorf("stopped every %d steps, forgotten %v: %s, %v, not %s, %v", stop, forget, d, l, digest, losses)
			}
		}
	}
}

// A job's vectors answer while it trains, with their step's scores, and become those of
// the version when it is published.
func TestLive(t *testing.T) {
	f := open(t)
	f.model.pace = 10 * time.Millisecond
	m := f.manager(t, 100*time.Millisecond)
	s := small()
	s.Epochs = 8
	job := submit(t, m, "fresh", s, f.put(t, reviews(90)))
	ref := "fresh@job:" + job.ID
	for _, bad := range []string{"other@job:" + job.ID, "fresh@job:none"} {
		if _, err := f.registry.Lease(t.Context(), adapters.Ask(bad)); !errors.Is(err, adapters.ErrNotFound) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	seen := map[string]bool{}
	for {
		j, err := m.Get(t.Context(), job.ID)
		if err != nil {
			t.Fatal(err)
		}
		if j.State == jobs.Failed {
			t.Fatalf("%+v", j.Failure)
		}
		if j.State == jobs.Succeeded {
			break
		}
		lease, err := f.registry.Lease(t.Context(), adapters.Ask(ref))
		if err != nil {
			if !errors.Is(err, jobs.ErrNoLive) && !errors.Is(err, adapters.ErrNotFound) {
				t.Fatal(err)
			}
			continue
		}
		out, err := f.engine.Predict(t.Context(), []engine.Request{{Text: "great item", Task: lease.Task}})
		if err != nil || out[0].Err != nil {
			t.Fatal(err, out)
		}
		want := scores(lease.Vectors, lease.Sidecar)
		for i, lp := range out[0].LogProbs {
			if math.Abs(math.Exp(lp)-want[i]) > 1e-5 {
				t.Fatalf("scores %v, not %v", out[0].LogProbs, want)
			}
		}
		seen[lease.Digest] = true
		lease.Release()
		time.Sleep(5 * time.Millisecond)
	}
	if len(seen) < 10 {
		t.Errorf("%d moments were seen", len(seen))
	}
	lease, err := f.registry.Lease(t.Context(), adapters.Ask(ref))
	if err != nil || lease.Version != "v1" {
		t.Fatal(err, lease)
	}
	lease.Release()
	for _, r := range f.registry.List() {
		for _, v := range r.Versions {
			if v.Leases != 0 {
				t.Errorf("%s@%s is leased", r.ID, v.Name)
			}
		}
	}
}

// scores are those of "great item" by the model itself: each label is one token and the
// end marker, so that the trie has one node.
func scores(v *spec.Vectors, side adapters.Sidecar) []float64 {
	tok := &words{text: map[int32]string{}}
	ids, _ := tok.Encode("great item", optionsNone)
	var paths []int32
	for _, l := range side.Labels {
		e, _ := tok.Encode(l.Verbaliser, optionsNone)
		paths = append(paths, e.IDs[0])
	}
	x := logits(v.Data, ids.IDs, nil, paths)
	for i := range x {
		x[i] /= side.Temperature // as fitted, once the version answers
	}
	return softmax(x)
}

// if_better activates what is better on the same rows, and nothing else; the same result
// is the same version.
func TestActivate(t *testing.T) {
	f := open(t)
	m := f.manager(t, 0)
	d := f.put(t, reviews(90))
	weak := small()
	weak.Epochs, weak.LearningRate, weak.Activate = 1, 1e-5, jobs.ActivateIfBetter
	first := succeed(t, m, submit(t, m, "a", weak, d).ID)
	if first.Version != "v1" || !first.Activated {
		t.Errorf("the first: %+v", first)
	}
	never := small()
	never.Activate = jobs.ActivateNever
	if j := succeed(t, m, submit(t, m, "a", never, d).ID); j.Version != "v2" || j.Activated {
		t.Errorf("never: %+v", j)
	}
	better := small()
	better.Activate = jobs.ActivateIfBetter
	again := succeed(t, m, submit(t, m, "a", better, d).ID)
	if again.Version != "v2" || !again.Activated || again.Digest == first.Digest {
		t.Errorf("better: %+v", again)
	}
	if got := metricsIn(t, again.Metrics); got.Active == nil || got.Active.Version != "v1" || !(got.MacroF1 > got.Active.MacroF1) {
		t.Errorf("%+v", got.Active)
	}
	weak.Seed, weak.LearningRate = 4, 2e-5
	worse := succeed(t, m, submit(t, m, "a", weak, d).ID)
	if worse.Version != "v3" || worse.Activated {
		t.Errorf("worse: %+v", worse)
	}
	if info, err := f.registry.Info(t.Context(), "a"); err != nil || info.ActiveVersion().Name != "v2" {
		t.Errorf("%v, %+v", err, info)
	}
}

// A publication that a killed process has made is made again without a second version.
func TestPublishAgain(t *testing.T) {
	f := open(t)
	m := f.manager(t, 0)
	s := small()
	s.Activate = jobs.ActivateIfBetter
	d := f.put(t, reviews(90))
	job := succeed(t, m, submit(t, m, "a", s, d).ID)
	result := resultOf(t, f, s, d)
	for range 2 {
		version, activated, err := f.Publish(t.Context(), job, *result)
		if err != nil || version != "v1" || !activated {
			t.Errorf("%s, %v, %v", version, activated, err)
		}
	}
}

// A job starts from the version that was active when it began, whatever happens to that.
func TestWarmStart(t *testing.T) {
	f := open(t)
	m := f.manager(t, 0)
	d := f.put(t, reviews(90))
	s := small()
	template := "it says {text}"
	s.Template, s.Verbalisers = &template, map[string]string{"neutral": "plain"}
	succeed(t, m, submit(t, m, "a", s, d).ID)
	warm := small()
	warm.WarmStartFrom, warm.LearningRate = "a", 0.01
	var checkpoint []byte
	segment := func(stop bool) jobs.SegmentResult {
		out, err := f.Segment(t.Context(), warm, d, jobs.Segment{
			Job: "w", Adapter: "b", Checkpoint: checkpoint, Stop: func() bool { return stop }, Report: func(jobs.Progress) {},
			Share: func(func(context.Context) (jobs.Live, error)) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	checkpoint = segment(true).Checkpoint
	if err := f.registry.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	f.last = nil
	start, err := f.Live(t.Context(), warm, d, checkpoint)
	if err != nil || start.Step != 0 || start.Vectors[0] == 1 {
		t.Errorf("%v, %+v", err, start.Vectors[:3])
	}
	if again, err := f.Live(t.Context(), warm, jobs.Data{Dataset: "sha256:gone"}, checkpoint); err != nil || again.Step != 0 || !slices.Equal(again.Vectors, start.Vectors) {
		t.Errorf("a checkpoint is read again for its vectors: %v", err)
	}
	checkpoint = segment(false).Checkpoint
	result := segment(false).Result
	var c content
	if err := c.parse(result.Content); err != nil {
		t.Fatal(err)
	}
	side, err := adapters.ParseSidecar(c.Files["valence.json"])
	if err != nil || side.Template != template || side.Labels[1] != (adapters.Label{Name: "neutral", Verbaliser: "plain"}) {
		t.Errorf("%v, %+v", err, side)
	}
	if _, err := f.Plan(t.Context(), "b", warm, d); invalidAt(err) != "/warm_start_from warm_start_unavailable" {
		t.Error(err)
	}
}

// One request tries values and folds; the best run is published and all are told of.
func TestSweepAndFolds(t *testing.T) {
	f := open(t)
	m := f.manager(t, 0)
	d := f.put(t, reviews(90))
	s := small()
	s.Sweep = jobs.Sweep{LearningRate: []float64{1e-5, 0.05}, Seed: []int64{1, 2}}
	got := metricsIn(t, succeed(t, m, submit(t, m, "a", s, d).ID).Metrics)
	if len(got.Runs) != 4 || got.LearningRate != 0.05 || got.CrossValidation != nil {
		t.Errorf("%+v", got)
	}
	for _, r := range got.Runs {
		if r.MacroF1 > got.MacroF1 {
			t.Errorf("%v is better than %v", r, got.runMetrics)
		}
	}
	folds := small()
	folds.Validation, folds.CrossValidation = jobs.Validation{}, 3
	job := succeed(t, m, submit(t, m, "b", folds, d).ID)
	got = metricsIn(t, job.Metrics)
	if x := got.CrossValidation; len(got.Runs) != 3 || x == nil || x.Folds != 3 || !(x.MacroF1.Mean > 0.8) || *got.Runs[2].Fold != 2 {
		t.Errorf("%+v", got)
	}
	events, err := m.Events(t.Context(), job.ID, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Kind == jobs.KindStep && !strings.Contains(string(e.Data), `"runs":[`) {
			t.Errorf("%s", e.Data)
		}
	}
}
