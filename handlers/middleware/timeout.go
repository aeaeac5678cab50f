package middleware

import (
	"context"
	"net/http"
	"time"
)

// Timeout ends the request's context after d. It writes nothing itself: the
// handler sees [context.DeadlineExceeded] and answers with it. Streams stay
// outside of it.
func Timeout(d time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), d)
			defer cancel()
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

// answerTime is left to write the answer of a request whose time has run out.
const answerTime = 10 * time.Second

// LongTimeout is a [Timeout] longer than the server gives a connection: it moves the
// deadlines of reading the body and writing the answer of this request, where the
// connection has such.
func LongTimeout(d time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		timed := Timeout(d)(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, until := http.NewResponseController(w), time.Now().Add(d+answerTime)
			// A connection that takes no deadline has none, or is gone, as its reads will tell.
			_, _ = c.SetReadDeadline(until), c.SetWriteDeadline(until)
			timed.ServeHTTP(w, r)
		})
	}
}
