package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	chimw "github.com/go-chi/chi/v5/middleware"
)

// ErrPanic is wrapped by the error that [Recover] makes of a panic.
var ErrPanic = errors.New("panic in a handler")

// PanicError is a recovered panic with its stack.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("%v: %v", ErrPanic, e.Value) }

// Unwrap makes every PanicError an ErrPanic.
func (e *PanicError) Unwrap() error { return ErrPanic }

// Recover turns a panic into a *PanicError given to fail, so that one request's
// fault ends no other. When part of the answer is already out, fail is still told
// but must write to nowhere, and the connection is cut: a client never takes half
// an answer for a whole one. [http.ErrAbortHandler] passes through.
func Recover(fail Fail) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ww := chimw.NewWrapResponseWriter(w, r.ProtoMajor)
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
					panic(v)
				}
				err := &PanicError{Value: v, Stack: debug.Stack()}
				if ww.Status() != 0 {
					fail(discard{}, r, err)
					panic(http.ErrAbortHandler)
				}
				fail(w, r, err)
			}()
			next.ServeHTTP(ww, r)
		})
	}
}

// discard is a ResponseWriter to nowhere.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
