package middleware

import (
	"net/http"
	"time"
)

// Stream lets an answer go on for as long as it likes: it takes away the deadlines of
// the connection. Each write then has its own, after which a client that takes nothing
// counts as gone.
func Stream(patience time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := http.NewResponseController(w)
			// A connection that takes no deadline has none, or is gone, as its writes will tell.
			_ = c.SetReadDeadline(time.Time{})
			next.ServeHTTP(&streamWriter{w, c, patience}, r)
		})
	}
}

// streamWriter gives each write a deadline of its own.
type streamWriter struct {
	http.ResponseWriter
	c        *http.ResponseController
	patience time.Duration
}

func (w *streamWriter) Write(p []byte) (int, error) {
	_ = w.c.SetWriteDeadline(time.Now().Add(w.patience))
	return w.ResponseWriter.Write(p)
}

// Unwrap lets [http.ResponseController] reach flush and deadlines.
func (w *streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
