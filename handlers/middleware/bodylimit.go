package middleware

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// ErrBodyTooLarge is wrapped by errors about a body beyond the limit.
var ErrBodyTooLarge = errors.New("the body is too large")

// BodyLimit refuses a body of more than limit bytes: at once when the request
// declares its length, else while the handler reads it. Both errors wrap
// ErrBodyTooLarge.
func BodyLimit(limit int64, fail Fail) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength > limit {
				fail(w, r, tooLarge(limit))
				return
			}
			r.Body = limitedBody{http.MaxBytesReader(w, r.Body, limit)}
			next.ServeHTTP(w, r)
		})
	}
}

func tooLarge(limit int64) error {
	return fmt.Errorf("%w: at most %d bytes are allowed", ErrBodyTooLarge, limit)
}

// limitedBody gives http.MaxBytesReader's error the name of this package.
type limitedBody struct{ io.ReadCloser }

func (b limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if limited, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = tooLarge(limited.Limit)
	}
	return n, err
}
