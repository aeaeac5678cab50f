package middleware

import (
	"context"
	"crypto/rand"
	"net/http"
)

// RequestIDHeader carries the id of a request, in and out.
const RequestIDHeader = "X-Request-Id"

// maxRequestID bounds an id taken from a caller, in bytes.
const maxRequestID = 128

type requestIDKey struct{}

// RequestID takes the caller's request id where it is sane, makes one otherwise,
// and echoes it. An id is sane when it can stand in a log line unquoted: 1 to 128
// ASCII letters, digits and ".:_-/+=".
func RequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(RequestIDHeader)
		if !saneID(id) {
			id = rand.Text()
		}
		w.Header().Set(RequestIDHeader, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
	})
}

// RequestIDFrom gives the id of the request that ctx belongs to, or "".
func RequestIDFrom(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

func saneID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == ':', c == '_', c == '-', c == '/', c == '+', c == '=':
		default:
			return false
		}
	}
	return true
}
