package conformance

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"valence/cmd/internal/client"
)

// Load is what came of one load.
type Load struct {
	Requests      int     `json:"requests"`
	Rows          int     `json:"rows"` // that were checked
	Seconds       float64 `json:"seconds"`
	RowsPerSecond float64 `json:"rows_per_s"`
	P50           float64 `json:"p50_s"` // of a request's latency
	P90           float64 `json:"p90_s"`
	P99           float64 `json:"p99_s"`
	Max           float64 `json:"max_s"`
}

// worker is one client that asks.
type worker struct {
	*run
	generator *generator
	latencies []time.Duration
	rows      int
	undecided []judged
}

// load asks from all clients at once for the duration, and judges every answer. With
// churn, the adapters change meanwhile.
func (r *run) load(ctx context.Context, subjects []*subject, churn bool) (*Load, error) {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	workers := make([]*worker, r.Clients)
	var asking, changing sync.WaitGroup
	start := time.Now()
	for n := range workers {
		workers[n] = &worker{run: r, generator: r.newGenerator(n, subjects)}
		asking.Go(func() { workers[n].work(ctx, loading.Done()) })
	}
	if churn {
		changing.Go(func() { r.churn(ctx, loading.Done()) })
	}
	r.watch(ctx, start, len(subjects))
	stop()
	asking.Wait()
	seconds := time.Since(start).Seconds()
	changing.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.decide(workers)
	return summarise(workers, seconds), nil
}

// watch shows how far the load is, in seconds, and returns when it is to end.
func (r *run) watch(ctx context.Context, start time.Time, adapters int) {
	phase := "asking many adapters"
	if adapters == 1 {
		phase = "asking one adapter"
	}
	end := time.After(r.Duration)
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for over := false; !over || !r.enough(); {
		r.Progress(phase, int64(min(time.Since(start), r.Duration)/time.Second), max(1, int64(r.Duration/time.Second)))
		select {
		case <-ticker.C:
		case <-end:
			over = true
		case <-ctx.Done():
			return
		}
	}
}

// watchEvery is how often the progress of a load is told.
const watchEvery = 200 * time.Millisecond

// work asks until the load ends. A request that is under way then is waited for.
func (w *worker) work(ctx context.Context, ended <-chan struct{}) {
	for ctx.Err() == nil {
		select {
		case <-ended:
			return
		default:
			w.once(ctx)
		}
	}
}

func (w *worker) once(ctx context.Context) {
	rows, request := w.generator.request()
	request.Kept = w.Kept
	answer, err := w.api.Sentiment(ctx, request)
	if ctx.Err() != nil {
		return
	}
	w.latencies = append(w.latencies, answer.Trip.Received.Sub(answer.Trip.Sent))
	answered, err := pair(rows, answer, err)
	if err != nil {
		w.report.fault(rows[0], err)
		return
	}
	for _, row := range answered {
		w.rows++
		w.report.checked(row)
		switch err := w.judge(row); {
		case err == nil:
		case errors.Is(err, errUndecided):
			w.undecided = append(w.undecided, row)
		default:
			w.report.fault(row.asked, err)
		}
	}
}

// decide judges what could not be while changes were under way. A change without an
// outcome, which is wrong by itself, leaves its rows open.
func (r *run) decide(workers []*worker) {
	for _, w := range workers {
		for _, row := range w.undecided {
			if err := r.judge(row); errors.Is(err, errUndecided) {
				r.report.open()
			} else if err != nil {
				r.report.fault(row.asked, err)
			}
		}
	}
}

func summarise(workers []*worker, seconds float64) *Load {
	l := &Load{Seconds: seconds}
	var all []time.Duration
	for _, w := range workers {
		all = append(all, w.latencies...)
		l.Rows += w.rows
	}
	slices.Sort(all)
	l.Requests = len(all)
	l.RowsPerSecond = float64(l.Rows) / seconds
	l.P50, l.P90, l.P99, l.Max = quantile(all, 0.5), quantile(all, 0.9), quantile(all, 0.99), quantile(all, 1)
	return l
}

// quantile of sorted durations in seconds, by the nearest rank; 0 where there are none.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)].Seconds()
}

// uploaders is how many adapters are uploaded, or deleted, at the same time.
const uploaders = 4

// each does something with every subject, several at a time. The first error ends it.
func (r *run) each(ctx context.Context, phase string, subjects []*subject, do func(context.Context, *subject) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Int64
	var wg sync.WaitGroup
	var showing sync.Mutex
	for range min(uploaders, len(subjects)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(subjects)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := do(ctx, subjects[i]); err != nil {
					cancel(err)
					return
				}
				showing.Lock()
				r.Progress(phase, done.Add(1), int64(len(subjects)))
				showing.Unlock()
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// problemStatus is the status of a *client.Problem, or 0.
func problemStatus(err error) int {
	if p, ok := errors.AsType[*client.Problem](err); ok {
		return p.Status
	}
	return 0
}
