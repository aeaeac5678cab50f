package engine

import (
	"context"
	"errors"
	"testing"
	"time"
)

func waiting(ctx context.Context, lengths ...int) []*row {
	rows := make([]*row, len(lengths))
	for i, n := range lengths {
		rows[i] = &row{job: &job{ctx: ctx}, index: i, mode: ModeGenerate, ids: make([]int32, n)}
	}
	return rows
}

func takeAll(rows []*row) []*row { return append([]*row(nil), rows...) }

func TestQueueGivesPermits(t *testing.T) {
	q := newQueue(4, NewMetrics(nil))
	if err := q.admit(5); !errors.Is(err, ErrTooManyRows) {
		t.Errorf("5 of 4: %v", err)
	}
	if err := q.admit(3); err != nil {
		t.Fatal(err)
	}
	if err := q.admit(2); !errors.Is(err, ErrBusy) {
		t.Errorf("2 of 1: %v", err)
	}
	q.push(waiting(context.Background(), 7, 7), 3) // one of the three came to nothing
	if err := q.admit(2); err != nil {
		t.Errorf("2 of 2: %v", err)
	}
	if got := q.take(takeAll); len(got) != 2 {
		t.Errorf("took %d", len(got))
	}
	if q.permits != 2 {
		t.Errorf("%d permits are out", q.permits)
	}
}

func TestQueueSweepsRowsOfGoneCallers(t *testing.T) {
	q := newQueue(4, NewMetrics(nil))
	gone, leave := context.WithCancel(context.Background())
	if err := q.admit(4); err != nil {
		t.Fatal(err)
	}
	q.push(waiting(gone, 1, 1), 2)
	q.push(waiting(context.Background(), 2, 2), 2)
	leave()
	q.sweep()
	if q.permits != 2 {
		t.Errorf("%d permits are out", q.permits)
	}
	for _, r := range q.take(takeAll) {
		if len(r.ids) != 2 {
			t.Error("a row of a gone caller was taken")
		}
	}
}

func TestClosedQueueEndsWhenEmpty(t *testing.T) {
	q := newQueue(4, NewMetrics(nil))
	if err := q.admit(1); err != nil {
		t.Fatal(err)
	}
	q.push(waiting(context.Background(), 1), 1)
	q.close()
	if err := q.admit(1); !errors.Is(err, ErrClosed) {
		t.Errorf("admitted: %v", err)
	}
	if got := q.take(takeAll); len(got) != 1 {
		t.Errorf("took %d", len(got))
	}
	if got := q.take(takeAll); got != nil {
		t.Errorf("took %d more", len(got))
	}
}

func TestRetryAfterFollowsTheMeasuredRate(t *testing.T) {
	q := newQueue(100, NewMetrics(nil))
	if err := q.admit(100); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		batch time.Duration // of 10 rows
		want  time.Duration
	}{
		{0, time.Second},                            // nothing known
		{time.Second, 10 * time.Second},             // 100 ms a row
		{2 * time.Second, 12500 * time.Millisecond}, // 125 ms on average
		{10 * time.Minute, time.Minute},             // the longest that is said
	} {
		if tt.batch > 0 {
			q.measured(tt.batch, 10)
		}
		busy, ok := errors.AsType[*BusyError](q.admit(1))
		if !ok || busy.RetryAfter != tt.want || busy.Waiting != 100 || busy.Limit != 100 {
			t.Errorf("after %v: %+v, want %v", tt.batch, busy, tt.want)
		}
	}
}
