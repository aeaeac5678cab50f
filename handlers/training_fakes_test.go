package handlers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"valence/adapters/datasets"
	"valence/adapters/jobs"
	"valence/adapters/store"
)

// fakeJobs and fakeDatasets panic: the call was not expected.
type (
	fakeJobs     struct{ Jobs }
	fakeDatasets struct{ Datasets }
)

// pacer is a Trainer whose steps wait until they are let go.
type pacer struct {
	steps int
	check error

	mu     sync.Mutex
	free   chan struct{} // one for each step; closed lets all go
	checks int
}

func newPacer(steps int) *pacer { return &pacer{steps: steps, free: make(chan struct{})} }

func (p *pacer) Check(context.Context, string, jobs.Spec, jobs.Data) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checks++
	return p.check
}

func (p *pacer) Plan(ctx context.Context, adapter string, spec jobs.Spec, data jobs.Data) (jobs.Plan, error) {
	if err := p.Check(ctx, adapter, spec, data); err != nil {
		return nil, err
	}
	plan, err := json.Marshal(map[string]any{"steps": p.steps, "epochs": spec.Epochs, "of": data.Dataset})
	return plan, err
}

func (p *pacer) Segment(ctx context.Context, _ jobs.Spec, _ jobs.Data, s jobs.Segment) (jobs.SegmentResult, error) {
	step := len(s.Checkpoint)
	for ; step < p.steps && !s.Stop(); step++ {
		select {
		case <-p.free:
		case <-time.After(20 * time.Millisecond):
			step--
			continue
		case <-ctx.Done():
			return jobs.SegmentResult{}, ctx.Err()
		}
		progress := jobs.Progress{Step: step + 1, Steps: p.steps, Epoch: float64(step+1) / float64(p.steps), Loss: 1 / float64(step+1)}
		if step+1 == p.steps {
			progress.Metrics = []byte(`{"accuracy":0.5}`)
		}
		s.Report(progress)
	}
	if step < p.steps {
		return jobs.SegmentResult{Checkpoint: make([]byte, max(step, 1))}, nil
	}
	return jobs.SegmentResult{Result: &jobs.Result{Digest: "sha256:1", Metrics: []byte(`{"accuracy":0.5}`)}}, nil
}

func (p *pacer) Live(context.Context, jobs.Spec, jobs.Data, []byte) (jobs.Live, error) {
	return jobs.Live{}, jobs.ErrNoLive
}

func (p *pacer) Publish(context.Context, jobs.Job, jobs.Result) (string, bool, error) {
	return "v1", true, nil
}

// workshop is a server with real data sets and jobs on an empty database.
type workshop struct {
	*server
	manager *jobs.Manager
	data    *datasets.Store
	gate    *Gate
	pacer   *pacer
}

// open builds it; change, or nil, replaces dependencies first.
func openWorkshop(t *testing.T, p *pacer, change func(*Deps)) *workshop {
	t.Helper()
	state, err := store.Open(t.Context(), store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	data, err := datasets.New(t.Context(), state, datasets.Options{Limits: datasets.Limits{Bytes: 1 << 16}, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	manager, err := jobs.New(t.Context(), jobs.Options{
		Store: state, Trainer: p, Publisher: p, Base: "sha256:ba5e", Beat: 20 * time.Millisecond, Lease: time.Second, Poll: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &workshop{manager: manager, data: data, gate: new(Gate), pacer: p}
	w.gate.Open()
	t.Cleanup(func() {
		if err := manager.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := state.Close(); err != nil {
			t.Error(err)
		}
	})
	w.server = serve(t, func(d *Deps) {
		d.Jobs, d.Datasets, d.Ready = manager, data, w.gate
		d.Heartbeat = 30 * time.Millisecond
		if change != nil {
			change(d)
		}
	})
	return w
}

// reviews is a small set of labelled texts.
const reviews = "text,label\nI love it,positive\nawful,negative\nnever again,negative\nfine,positive\n"

// upload puts a data set there and gives its id.
func (w *workshop) upload(csv string) string {
	w.t.Helper()
	var d datasetDetail
	w.get(w.do("POST", "/v1/datasets?name=reviews.csv", csv, "Content-Type", "text/csv"), 201, &d)
	return d.ID
}

// get fails the test unless the answer has the status; it decodes it into v, unless nil.
func (w *workshop) get(a answer, status int, v any) {
	w.t.Helper()
	if a.StatusCode != status {
		w.t.Fatalf("status %d, not %d: %s", a.StatusCode, status, a.body)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		w.t.Fatalf("%v: %s", err, a.body)
	}
}

// train starts a job and gives its id.
func (w *workshop) train() string {
	w.t.Helper()
	var job jobDetail
	body := fmt.Sprintf(`{"data":{"dataset":%q}}`, w.upload(reviews))
	w.get(w.do("POST", "/v1/adapters/acme/new/train", body, "Content-Type", typeJSON), 202, &job)
	return job.ID
}

// reaches waits until a job is in a state.
func (w *workshop) reaches(id string, state jobs.State) {
	w.t.Helper()
	for range 1000 {
		job, err := w.manager.Get(w.t.Context(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		if job.State == state {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	job, _ := w.manager.Get(w.t.Context(), id)
	w.t.Fatalf("job %s is %s, not %s: %+v", id, job.State, state, job.Failure)
}

func noDataset(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func noJob() string { return strings.Repeat("0", 26) }
