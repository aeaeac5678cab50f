package engine

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// queue holds the rows that wait, in order of arrival, and the permits that
// bound them. A permit is held from admit until its row is taken into a batch,
// swept, or found to be no row at all.
type queue struct {
	limit   int // permits
	metrics *Metrics

	mu      sync.Mutex
	changed sync.Cond
	rows    []*row
	permits int           // given out
	running chan struct{} // closed at the end of the batch that runs; nil while none does
	closed  bool
	perRow  time.Duration // moving average of the time one row takes; 0 before the first batch
}

func newQueue(limit int, m *Metrics) *queue {
	q := &queue{limit: limit, metrics: m}
	q.changed.L = &q.mu
	return q
}

// admit takes n permits or none.
func (q *queue) admit(n int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		q.metrics.rejected.WithLabelValues(rejectedClosed).Add(float64(n))
		return ErrClosed
	case n > q.limit:
		q.metrics.rejected.WithLabelValues(rejectedTooMany).Add(float64(n))
		return fmt.Errorf("%w: %d; at most %d may wait", ErrTooManyRows, n, q.limit)
	case q.permits+n > q.limit:
		q.metrics.rejected.WithLabelValues(rejectedBusy).Add(float64(n))
		return &BusyError{Waiting: q.permits, Limit: q.limit, RetryAfter: q.retryAfter()}
	}
	q.hold(n)
	return nil
}

// push queues rows and gives back those of the admitted permits that they do
// not need.
func (q *queue) push(rows []*row, admitted int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rows = append(q.rows, rows...)
	q.hold(len(rows) - admitted)
	q.changed.Signal()
}

// take waits for rows and removes those that choose picks, never none. It
// returns nil when the queue is closed and empty.
func (q *queue) take(choose func(waiting []*row) []*row) []*row {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		q.sweepLocked()
		if len(q.rows) > 0 {
			batch := choose(q.rows)
			q.removeLocked(func(r *row) bool { return slices.Contains(batch, r) })
			q.running = make(chan struct{})
			return batch
		}
		if q.closed && q.permits == 0 {
			return nil
		}
		q.changed.Wait()
	}
}

// ended tells that the batch that was taken is over.
func (q *queue) ended() {
	q.mu.Lock()
	defer q.mu.Unlock()
	close(q.running)
	q.running = nil
}

// batch is closed at the end of the batch that runs; nil while none does.
func (q *queue) batch() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running
}

// sweep drops the rows whose callers are gone.
func (q *queue) sweep() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sweepLocked()
	q.changed.Signal()
}

func (q *queue) sweepLocked() {
	n := q.removeLocked(func(r *row) bool { return r.job.ctx.Err() != nil })
	q.metrics.rows.WithLabelValues(outcomeDropped).Add(float64(n))
}

func (q *queue) removeLocked(f func(*row) bool) int {
	n := len(q.rows)
	q.rows = slices.DeleteFunc(q.rows, f)
	n -= len(q.rows)
	q.hold(-n)
	return n
}

// hold changes the number of permits given out. q.mu must be held.
func (q *queue) hold(n int) {
	q.permits += n
	q.metrics.queued.Set(float64(q.permits))
}

// close lets no further row in.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Signal()
}

// measured tells the queue that a batch of n rows took d.
func (q *queue) measured(d time.Duration, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	perRow := d / time.Duration(n)
	if q.perRow > 0 {
		perRow = (perRow + 3*q.perRow) / 4
	}
	q.perRow = perRow
}

// Bounds of BusyError.RetryAfter: the header counts whole seconds, and a rate
// measured now says little about what comes after a minute.
const (
	minRetryAfter = time.Second
	maxRetryAfter = time.Minute
)

// retryAfter estimates when the rows waiting now will have been answered.
func (q *queue) retryAfter() time.Duration {
	d := time.Duration(q.permits) * q.perRow
	return min(max(d, minRetryAfter), maxRetryAfter)
}
