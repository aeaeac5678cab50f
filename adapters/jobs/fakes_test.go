package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"valence/adapters/store"
	"valence/adapters/store/storetest"
)

// chain is a trainer whose result depends on every step: a chain of hashes. A spec's
// BatchSize is its steps in an epoch. The hooks may be nil.
type chain struct {
	pace     time.Duration // of a step
	bytes    int           // that a checkpoint is filled up with
	grow     int           // bytes more for each step
	evaluate bool          // in a segment of its own

	onCheck func(ctx context.Context, spec Spec) error
	onStep  func(ctx context.Context, job string, step int) error // before it
}

// link is a checkpoint of a chain.
type link struct {
	Step int
	Hash []byte
	Fill []byte
}

func (c *chain) Check(ctx context.Context, _ string, spec Spec, _ Data) error {
	if c.onCheck != nil {
		return c.onCheck(ctx, spec)
	}
	return nil
}

func (c *chain) Plan(ctx context.Context, adapter string, spec Spec, data Data) (Plan, error) {
	if err := c.Check(ctx, adapter, spec, data); err != nil {
		return nil, err
	}
	return Plan(fmt.Sprintf(`{"steps":%d}`, steps(spec))), nil
}

func steps(spec Spec) int { return spec.Epochs * spec.BatchSize }

func (c *chain) Segment(ctx context.Context, spec Spec, _ Data, s Segment) (SegmentResult, error) {
	l, err := parseLink(s.Checkpoint)
	if err != nil {
		return SegmentResult{}, err
	}
	if c.evaluate && l.Step == steps(spec) {
		return SegmentResult{Result: l.result()}, nil
	}
	var mu sync.Mutex
	s.Share(func(context.Context) (Live, error) {
		mu.Lock()
		defer mu.Unlock()
		return l.live(), nil
	})
	for l.Step < steps(spec) {
		if err := c.step(ctx, s.Job, l.Step+1); err != nil {
			return SegmentResult{}, err
		}
		mu.Lock()
		l.next(spec.Seed)
		mu.Unlock()
		s.Report(l.progress(spec))
		if s.Stop() {
			break
		}
	}
	l.Fill = make([]byte, c.bytes+c.grow*l.Step)
	checkpoint, err := json.Marshal(l)
	res := SegmentResult{Checkpoint: checkpoint, Trained: l.Step == steps(spec)}
	if res.Trained && !c.evaluate {
		res.Result = l.result()
	}
	return res, err
}

func (c *chain) step(ctx context.Context, job string, step int) error {
	if c.onStep != nil {
		if err := c.onStep(ctx, job, step); err != nil {
			return err
		}
	}
	select {
	case <-time.After(c.pace):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func parseLink(checkpoint []byte) (l link, err error) {
	if checkpoint != nil {
		err = json.Unmarshal(checkpoint, &l)
	}
	return l, err
}

func (l *link) next(seed int64) {
	l.Step++
	b := binary.BigEndian.AppendUint64(l.Hash, uint64(seed))
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(l.Step)))
	l.Hash = sum[:]
}

func (l *link) live() Live { return Live{Step: l.Step, Vectors: []float32{float32(l.Step)}} }

func (l *link) progress(spec Spec) Progress {
	p := Progress{Step: l.Step, Steps: steps(spec), Loss: 1 / float64(l.Step)}
	if l.Step%spec.BatchSize == 0 {
		p.Metrics = jsontext.Value(fmt.Sprintf(`{"epoch":%d}`, l.Step/spec.BatchSize))
	}
	return p
}

func (l *link) result() *Result {
	return &Result{Digest: "sha256:" + hex.EncodeToString(l.Hash), Content: l.Hash, Metrics: jsontext.Value(`{"accuracy":1}`)}
}

func (c *chain) Live(_ context.Context, _ Spec, _ Data, checkpoint []byte) (Live, error) {
	l, err := parseLink(checkpoint)
	return l.live(), err
}

// undisturbed is the digest that a spec leads to.
func undisturbed(spec Spec) string {
	var l link
	for range steps(spec) {
		l.next(spec.Seed)
	}
	return l.result().Digest
}

// publisher publishes into the store itself.
type publisher struct {
	store     *store.Store
	onPublish func(ctx context.Context, job Job) error // before it, or nil
}

func (p *publisher) Publish(ctx context.Context, job Job, r Result) (string, bool, error) {
	if p.onPublish != nil {
		if err := p.onPublish(ctx, job); err != nil {
			return "", false, err
		}
	}
	_, v, err := p.store.Publish(ctx, store.NewVersion{
		Adapter: job.Adapter, Digest: r.Digest, Base: job.Base, Source: store.SourceTrain, Origin: job.ID,
		Files: map[string][]byte{"adapter_config.json": r.Content}, Activate: true,
	})
	return fmt.Sprintf("v%d", v.Number), true, err
}

// fixture is a manager on a store of its own.
type fixture struct {
	*Manager
	store     *store.Store
	trainer   *chain
	publisher *publisher
}

// start opens a manager that is quick in all it does.
func start(t testing.TB, so store.Options, trainer *chain, changes ...func(*Options)) *fixture {
	t.Helper()
	s := storetest.Open(t, so)
	f := &fixture{store: s, trainer: trainer, publisher: &publisher{store: s}}
	o := quick(s, f.trainer, f.publisher)
	for _, change := range changes {
		change(&o)
	}
	m, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	f.Manager = m
	t.Cleanup(func() { f.close(t) })
	return f
}

func quick(s *store.Store, trainer Trainer, p Publisher) Options {
	return Options{
		Store: s, Trainer: trainer, Publisher: p, Base: "sha256:base",
		SegmentTime: 50 * time.Millisecond, Beat: 20 * time.Millisecond, Lease: 500 * time.Millisecond, Poll: 10 * time.Millisecond,
	}
}

// close may be called before the test's end.
func (f *fixture) close(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
}

func idle(o *Options) { o.Workers = -1 }

// patience is how long a busy machine may take.
const patience = time.Minute

// small is a job of 24 steps.
func small() Request {
	return Request{Adapter: "acme/reviews", Spec: Spec{Epochs: 3, BatchSize: 8, Seed: 7}, Data: Data{Digest: "sha256:data"}}
}

func (f *fixture) submit(t testing.TB, r Request) Job {
	t.Helper()
	job, _, err := f.Submit(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// eventually waits until a job is as wanted.
func (f *fixture) eventually(t testing.TB, id, what string, is func(Job) bool) Job {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		job, err := f.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if is(job) {
			return job
		}
		if time.Now().After(deadline) {
			t.Fatalf("job %s is not %s: %+v", id, what, job)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (f *fixture) await(t testing.TB, id string, state State) Job {
	t.Helper()
	return f.eventually(t, id, string(state), func(j Job) bool {
		if j.State == Failed && state != Failed {
			t.Fatalf("the job failed: %+v", j.Failure)
		}
		return j.State == state && !j.Working
	})
}

// allEvents reads a job's events and checks that they have no gap.
func (f *fixture) allEvents(t testing.TB, id string) (all []Event) {
	t.Helper()
	for {
		events, err := f.Events(t.Context(), id, int64(len(all)), 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			return all
		}
		for _, e := range events {
			if all = append(all, e); e.Sequence != int64(len(all)) {
				t.Fatalf("event %d has the sequence %d", len(all), e.Sequence)
			}
		}
	}
}

// story is what a job went through, by its events.
func (f *fixture) story(t testing.TB, id string) (states []State, steps, epochs []int, recoveries []string) {
	t.Helper()
	for _, e := range f.allEvents(t, id) {
		switch e.Kind {
		case KindState:
			states = append(states, decode[StateChange](t, e).To)
		case KindStep:
			steps = append(steps, decode[Progress](t, e).Step)
		case KindEpoch:
			epochs = append(epochs, decode[Progress](t, e).Step)
		case KindRecovery:
			recoveries = append(recoveries, decode[Recovery](t, e).Reason)
		}
	}
	return states, steps, epochs, recoveries
}

func decode[T any](t testing.TB, e Event) (v T) {
	t.Helper()
	if err := json.Unmarshal(e.Data, &v, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("event %d: %v", e.Sequence, err)
	}
	return v
}

// succeeds waits for a job's end and checks that it is the end that it should come to.
func (f *fixture) succeeds(t testing.TB, id string) Job {
	t.Helper()
	job := f.await(t, id, Succeeded)
	if want := undisturbed(job.Spec); job.Digest != want {
		t.Errorf("the digest is %s, not %s", job.Digest, want)
	}
	a, err := f.store.Adapter(t.Context(), job.Adapter)
	if err != nil {
		t.Fatal(err)
	}
	from := 0
	for _, v := range a.Versions {
		if v.Origin == id {
			from++
		}
	}
	if from != 1 || !job.Activated || job.Version == "" || job.Finished.IsZero() || job.Failure != nil {
		t.Errorf("%d versions came out of %+v", from, job)
	}
	_, steps, epochs, _ := f.story(t, id)
	rising(t, "steps", steps)
	rising(t, "epochs", epochs)
	if len(epochs) != job.Spec.Epochs {
		t.Errorf("%d epochs were told of, not %d", len(epochs), job.Spec.Epochs)
	}
	return job
}

// rising checks that nothing was told twice.
func rising(t testing.TB, what string, steps []int) {
	t.Helper()
	for i := 1; i < len(steps); i++ {
		if steps[i] <= steps[i-1] {
			t.Errorf("%s: %d was told of after %d", what, steps[i], steps[i-1])
		}
	}
}

// equal compares two values by their text.
func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: %s, not %s", what, g, w)
	}
}
