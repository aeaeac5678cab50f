package engine

import (
	"errors"
	"fmt"
	"time"
)

// Errors of one row, found in Outcome.Err, or of one task.
var (
	// ErrInvalidRequest is wrapped when a request contradicts itself.
	ErrInvalidRequest = errors.New("engine: invalid request")
	// ErrInvalidText is wrapped when a text is not UTF-8 or cannot be tokenised.
	ErrInvalidText = errors.New("engine: invalid text")
	// ErrEmptyText is returned for a text that holds no token: white space and
	// what the tokenizer's normaliser removes.
	ErrEmptyText = errors.New("engine: the text is empty")
	// ErrTooLong is wrapped by TooLongError.
	ErrTooLong = errors.New("engine: the text is too long")
	// ErrUnknownLabel is wrapped when a request names a label its task lacks.
	ErrUnknownLabel = errors.New("engine: unknown label")
	// ErrTask is wrapped by every error about a TaskSpec.
	ErrTask = errors.New("engine: task")
	// ErrRun is wrapped when the runner failed, panicked or answered nonsense.
	ErrRun = errors.New("engine: run")
	// ErrNonFinite is wrapped when the model's logits hold NaN or an infinity.
	ErrNonFinite = errors.New("engine: non-finite logits")
)

// Errors of a whole call.
var (
	// ErrBusy is wrapped by BusyError.
	ErrBusy = errors.New("engine: the queue is full")
	// ErrTooManyRows is wrapped when one call brings more rows than may ever wait.
	ErrTooManyRows = errors.New("engine: too many rows in one call")
	// ErrClosed is returned once Close was called.
	ErrClosed = errors.New("engine: closed")
)

// TooLongError says by how much a text exceeds the limit. It wraps ErrTooLong.
type TooLongError struct {
	Tokens int // of the row, template and end marker included
	Limit  int
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("%v: it has %d tokens; at most %d are allowed", ErrTooLong, e.Tokens, e.Limit)
}

func (e *TooLongError) Unwrap() error { return ErrTooLong }

// BusyError says when to come back. It wraps ErrBusy.
type BusyError struct {
	Waiting    int           // rows in the queue
	Limit      int           // rows that may wait
	RetryAfter time.Duration // time the waiting rows need at the rate measured lately, at least a second
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("%v: %d of %d rows wait; try again in %v", ErrBusy, e.Waiting, e.Limit, e.RetryAfter)
}

func (e *BusyError) Unwrap() error { return ErrBusy }
