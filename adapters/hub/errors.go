package hub

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What an Error's Kind can be; or the context's error, where the caller's context
// ended. Every error of a Client's methods is an *Error, but for those of arguments,
// which wrap adapters.ErrID or ErrInvalid.
var (
	ErrInvalid      = errors.New("hub: invalid argument")
	ErrNotFound     = errors.New("hub: not found")                       // or private, to a token that may not see it
	ErrUnauthorized = errors.New("hub: not authorized")                  // no token, a wrong one, or one without the right
	ErrGated        = errors.New("hub: gated repository")                // its owner must grant access first
	ErrRateLimited  = errors.New("hub: rate limited")                    // see Error.RetryAfter
	ErrOffline      = errors.New("hub: offline")                         // by configuration, and the cache has no answer
	ErrTooLarge     = errors.New("hub: too large")                       // more than Options.MaxBytes
	ErrCorrupt      = errors.New("hub: corrupt")                         // content that is not what was announced
	ErrConflict     = errors.New("hub: conflict")                        // the branch has moved on from the given parent
	ErrRejected     = errors.New("hub: request rejected")                // by the Hub, for a reason that Detail gives
	ErrUnavailable  = errors.New("hub: unavailable")                     // unreachable, failing or too slow, after retries
	ErrCache        = errors.New("hub: the cache folder cannot be used") // the file system refused
)

// Error says what failed and what to do about it.
type Error struct {
	Kind       error // one of the package's sentinels, or of a context's
	Repo       string
	Revision   string // may be empty
	File       string // may be empty
	Detail     string
	Status     int           // of the Hub's last answer, or 0
	RetryAfter time.Duration // how long the Hub asks to wait, or 0
	Cause      error         // may be nil

	code      string // X-Error-Code
	temporary bool   // another try may succeed
	progress  bool   // the try that failed got further than those before it
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %s", e.Kind, e.Repo)
	if e.Revision != "" {
		b.WriteString("@" + e.Revision)
	}
	for _, part := range []string{e.File, e.Detail} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	return b.String()
}

// Unwrap gives the sentinel and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// target names what a call is about, for its errors and the log.
type target struct{ repo, revision, file string }

func (t target) fail(kind error, cause error, detail string, args ...any) *Error {
	return &Error{
		Kind: kind, Repo: t.repo, Revision: t.revision, File: t.file, Detail: fmt.Sprintf(detail, args...), Cause: cause,
	}
}

// of is the target with a file of it.
func (t target) of(file string) target {
	t.file = file
	return t
}
