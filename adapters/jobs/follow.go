package jobs

import (
	"context"
	"iter"
	"time"
)

// Follow gives the events of a job that follow a sequence, those that have happened and
// then each as it happens, until the job is in a final state and all are given, ctx ends
// or the manager is closed. An event is durable before it is given. The error, if any,
// comes last.
func (m *Manager) Follow(ctx context.Context, job string, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			done, err := m.followOnce(ctx, job, &after, yield)
			if err != nil {
				yield(Event{}, err)
			}
			if done || err != nil {
				return
			}
		}
	}
}

// followOnce gives what there is and waits for more. done says that this was all.
func (m *Manager) followOnce(ctx context.Context, job string, after *int64, yield func(Event, error) bool) (done bool, err error) {
	told, forget := m.signals.wait(job) // before looking, so that nothing is missed
	defer forget()
	j, err := m.Get(ctx, job) // before the events, so that a final state has all of them
	if err != nil {
		return true, err
	}
	for *after < j.Events {
		events, err := m.Events(ctx, job, *after, 0)
		if err != nil {
			return true, err
		}
		if len(events) == 0 { // the job was deleted in this moment
			return true, ErrNotFound
		}
		for _, e := range events {
			if !yield(e, nil) {
				return true, nil
			}
			*after = e.Sequence
		}
	}
	if j.State.Final() {
		return true, nil
	}
	select {
	case <-told:
	case <-time.After(m.o.Poll): // for what other processes do
	case <-ctx.Done():
		return true, ctx.Err()
	case <-m.ctx.Done():
		return true, ErrClosed
	}
	return false, nil
}
