package store

import (
	"context"
	"database/sql"
	"time"
)

// batch is how many events are read at once.
const batch = 500

// Events gives at most limit events after a sequence, in order.
func (s *Store) Events(ctx context.Context, after int64, limit int) (out []Event, err error) {
	err = s.read(ctx, func(tx *sql.Tx) error {
		out, err = rows(ctx, tx, scanEvent, `
			SELECT sequence, created, adapter, kind, number FROM events WHERE sequence > $1 ORDER BY sequence LIMIT $2`, after, limit)
		return err
	})
	return out, err
}

func scanEvent(row scanner) (e Event, err error) {
	var created int64
	err = row.Scan(&e.Sequence, &created, &e.Adapter, &e.Kind, &e.Number)
	e.Time = fromMicros(created)
	return e, err
}

// Watch calls changed with the events after a sequence, each once and in order, whoever
// makes the changes: those that have happened at once, others within moments, until ctx
// ends, whose error it returns, or the store is closed. Faults of the database are
// logged and waited out.
func (s *Store) Watch(ctx context.Context, after int64, changed func([]Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closed, cancel)()
	woken, forget := s.await()
	defer forget()

	listening := make(chan struct{})
	go func() {
		defer close(listening)
		s.listen(ctx, func() { signal(woken) })
	}()
	defer func() { cancel(); <-listening }()

	backoff := firstBackoff
	for ctx.Err() == nil {
		next, err := s.drain(ctx, after, changed)
		after = next
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "cannot read what has changed; trying again", "error", err, "in", backoff)
			pause(ctx, backoff)
			backoff = min(2*backoff, lastBackoff)
			continue
		}
		backoff = firstBackoff
		select {
		case <-woken:
		case <-time.After(s.poll):
		case <-ctx.Done():
		}
	}
	if s.closed.Err() != nil {
		return ErrClosed
	}
	return ctx.Err()
}

// drain hands on what has happened since a sequence, and gives the last one.
func (s *Store) drain(ctx context.Context, after int64, changed func([]Event)) (int64, error) {
	for {
		events, err := s.Events(ctx, after, batch)
		if err != nil || len(events) == 0 {
			return after, err
		}
		changed(events)
		after = events[len(events)-1].Sequence
	}
}

// await gives a channel that holds something after each change of this process.
func (s *Store) await() (woken chan struct{}, forget func()) {
	woken = make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[woken] = struct{}{}
	return woken, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting, woken)
	}
}

// wake tells the watchers of this process that something has changed.
func (s *Store) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for woken := range s.waiting {
		signal(woken)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it holds one already
	}
}
