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
