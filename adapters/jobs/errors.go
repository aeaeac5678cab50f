package jobs

import (
	"errors"
	"fmt"
)

// What the errors of this package wrap, besides the store's, the trainer's and the context's.
var (
	ErrNotFound   = errors.New("jobs: no such job")
	ErrState      = errors.New("jobs: the job's state does not allow it")
	ErrInvalidJob = errors.New("jobs: the job cannot be trained")                        // Trainer.Check says why
	ErrKeyReused  = errors.New("jobs: the idempotency key belongs to another request")   // use a new one
	ErrInProgress = errors.New("jobs: a request with this idempotency key is under way") // try again
	ErrClosed     = errors.New("jobs: closed")
	ErrNoLive     = errors.New("jobs: the job has no vectors yet")
)

// What a failed job's reason wraps, besides ErrInvalidJob.
var (
	// ErrBaseChanged says that the job was made for another base than the server has now.
	ErrBaseChanged = errors.New("jobs: the base changed")
	// ErrDiverged is wrapped by a Trainer whose loss is not a number any more; see
	// DivergedError.
	ErrDiverged = errors.New("jobs: the training diverged")
	// ErrPanic says that the trainer or the publisher panicked.
	ErrPanic = errors.New("jobs: panic")
	// ErrDamaged says that no checkpoint is what was written.
	ErrDamaged = errors.New("jobs: damaged checkpoint")
)

// What ends a change, or work, early.
var (
	errUnchanged = errors.New("jobs: there is nothing to change")
	errLost      = errors.New("jobs: the segment was taken over") // nothing of this worker's may be written any more
	errCancelled = errors.New("jobs: cancelled")
)

// What a Failure's code is made of, besides the above.
var (
	errWorkerLost = errors.New("jobs: the workers of this job die again and again")
	errPublish    = errors.New("jobs: publishing failed")
)

// own tells errors of this package from those of the database.
func own(err error) bool {
	for _, e := range []error{ErrNotFound, ErrState, ErrKeyReused, ErrClosed, errUnchanged, errLost} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// DivergedError says where a loss was no number any more. It wraps ErrDiverged.
type DivergedError struct {
	Step   int    // from 1
	Reason string // with what to do
}

func (e *DivergedError) Error() string { return fmt.Sprintf("%v: %s", ErrDiverged, e.Reason) }

func (e *DivergedError) Unwrap() error { return ErrDiverged }

// InvalidError is what a Trainer returns for a request that cannot be trained. It wraps
// ErrInvalidJob.
type InvalidError struct {
	Findings []Finding // at least one
}

// Finding is one thing that is wrong with a request or its data.
type Finding struct {
	Code    string `json:"code"`
	Pointer string `json:"pointer,omitempty"` // JSON pointer into the Spec, or ""
	Row     int    `json:"row,omitempty"`     // of the data, from 1; 0 where none is meant
	Message string `json:"message"`
}

func (e *InvalidError) Error() string {
	first := e.Findings[0].Message
	if n := len(e.Findings) - 1; n > 0 {
		return fmt.Sprintf("%v: %s (and %d more)", ErrInvalidJob, first, n)
	}
	return fmt.Sprintf("%v: %s", ErrInvalidJob, first)
}

func (e *InvalidError) Unwrap() error { return ErrInvalidJob }
