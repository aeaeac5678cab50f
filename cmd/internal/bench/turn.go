package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/gofrs/flock"
)

// turn is a lock file through which programs that share a machine keep out of each
// other's way: many prepare side by side, one times. Without a file it does nothing.
//
// A base is loaded within the turn that times it: who waits for a turn should not keep
// gigabytes meanwhile.
type turn struct{ file *flock.Flock }

// lockEvery is how often a lock is asked for that another one has. Others that share it come
// and go, and a moment without any of them is short.
const lockEvery = 5 * time.Millisecond

func newTurn(path string) *turn {
	if path == "" {
		return &turn{}
	}
	return &turn{flock.New(path)}
}

// prepare is held while something heavy is done whose time nobody asks for. Who has a turn
// to time has this, too.
func (t *turn) prepare(ctx context.Context) error {
	if t.held() {
		return ctx.Err()
	}
	return t.take(ctx, func(ctx context.Context) (bool, error) { return t.file.TryRLockContext(ctx, lockEvery) })
}

// time is held while something is timed.
func (t *turn) time(ctx context.Context) error {
	if t.held() {
		return ctx.Err()
	}
	return t.take(ctx, func(ctx context.Context) (bool, error) { return t.file.TryLockContext(ctx, lockEvery) })
}

// held tells whether the turn to time is ours.
func (t *turn) held() bool { return t.file != nil && t.file.Locked() }

// take gives back what is held before it takes another hold: two that wait for each
// other's would wait for ever.
func (t *turn) take(ctx context.Context, lock func(context.Context) (bool, error)) error {
	if t.file == nil {
		return ctx.Err()
	}
	if err := t.release(); err != nil {
		return err
	}
	if _, err := lock(ctx); err != nil {
		return fmt.Errorf("the lock file %s: %w", t.file.Path(), err)
	}
	return nil
}

// release gives back what is held, if anything is.
func (t *turn) release() error {
	if t.file == nil {
		return nil
	}
	return t.file.Unlock()
}
