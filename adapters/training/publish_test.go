package training

import (
	"context"
	"errors"
	"strings"
	"testing"

	"valence/adapters"
	"valence/adapters/jobs"
	"valence/adapters/registry"
)

// hubbed is a registry whose Hub is a func.
type hubbed struct {
	*registry.Registry
	push func(ctx context.Context, p adapters.PushRequest) (adapters.Pushed, error)
}

func (h hubbed) Push(ctx context.Context, p adapters.PushRequest) (adapters.Pushed, error) {
	return h.push(ctx, p)
}

// A version goes to the Hub when it is published; while the Hub fails, the job waits and
// the version answers here.
func TestPush(t *testing.T) {
	f := open(t)
	var asked []adapters.PushRequest
	fails := 2
	f.o.Adapters = hubbed{f.registry, func(_ context.Context, p adapters.PushRequest) (adapters.Pushed, error) {
		asked = append(asked, p)
		if fails--; fails >= 0 {
			return adapters.Pushed{}, errors.New("the hub is down")
		}
		return adapters.Pushed{}, nil
	}}
	m := f.manager(t, 0)
	s := small()
	s.Push = jobs.Push{Repo: "acme/tone", Branch: "next", Private: true}
	job := submit(t, m, "a", s, f.put(t, reviews(90)))
	waiting := await(t, m, job.ID, func(j jobs.Job) bool { return strings.Contains(j.Waiting, "the hub is down") })
	if !strings.Contains(waiting.Waiting, "a@v1 is published here") {
		t.Errorf("%q", waiting.Waiting)
	}
	lease, err := f.registry.Lease(t.Context(), adapters.Ask("a@v1"))
	if err != nil {
		t.Fatal(err)
	}
	lease.Release()
	if done := succeed(t, m, job.ID); done.Version != "v1" {
		t.Errorf("%+v", done)
	}
	want := adapters.PushRequest{Ref: "a@v1", Repo: "acme/tone", Branch: "next", Private: true, Create: true}
	if len(asked) != 3 || asked[0] != want || asked[2] != want {
		t.Errorf("%+v", asked)
	}
}

// What became active while a result was made is what the result is compared with, on the
// rows that it was validated on.
func TestBetterThanWhatIsActiveNow(t *testing.T) {
	f := open(t)
	m := f.manager(t, 0)
	d := f.put(t, reviews(90))
	validation := f.put(t, strings.ReplaceAll(reviews(30), " of row", " in row"))
	strong := small()
	strong.Activate = jobs.ActivateAlways
	weak := small()
	weak.LearningRate, weak.Activate = 1e-5, jobs.ActivateIfBetter
	other := weak
	other.Validation = jobs.Validation{Dataset: validation.Dataset}
	withOther := d
	withOther.Validation = validation.Dataset
	results := map[string]*jobs.Result{"a part": resultOf(t, f, weak, d), "a data set": resultOf(t, f, other, withOther)}
	succeed(t, m, submit(t, m, "a", strong, d).ID)
	for name, result := range results {
		job := jobs.Job{ID: name, Adapter: "a", Spec: weak, Data: d}
		if name == "a data set" {
			job.Spec, job.Data = other, withOther
		}
		version, activated, err := f.Publish(t.Context(), job, *result)
		if err != nil || version == "v1" || activated {
			t.Errorf("%s: %s, %v, %v", name, version, activated, err)
		}
	}
	if info, err := f.registry.Info(t.Context(), "a"); err != nil || info.ActiveVersion().Name != "v1" {
		t.Errorf("%v, %+v", err, info)
	}
}

func resultOf(t testing.TB, f *fixture, s jobs.Spec, d jobs.Data) *jobs.Result {
	t.Helper()
	var checkpoint []byte
	for {
		out, err := f.Segment(t.Context(), s, d, jobs.Segment{
			Job: "x", Adapter: "a", Checkpoint: checkpoint, Stop: func() bool { return false }, Report: func(jobs.Progress) {},
			Share: func(func(context.Context) (jobs.Live, error)) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		if out.Result != nil {
			return out.Result
		}
		checkpoint = out.Checkpoint
	}
}
