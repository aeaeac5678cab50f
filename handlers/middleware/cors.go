package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/go-chi/cors"
)

// ErrOrigin is wrapped by errors about an allowed origin that is not one.
var ErrOrigin = errors.New("not an origin")

// preflightSeconds is how long a browser may remember a preflight's answer.
const preflightSeconds = 600

// CORS lets pages of the given origins call the server, "*" meaning any. Each is
// a scheme and a host, such as "https://app.example.com". Without origins no CORS
// header is ever sent. Credentials are never allowed.
func CORS(origins []string) (func(http.Handler) http.Handler, error) {
	for _, o := range origins {
		if err := checkOrigin(o); err != nil {
			return nil, err
		}
	}
	if len(origins) == 0 { // the library would take none for all
		return func(next http.Handler) http.Handler { return next }, nil
	}
	return cors.Handler(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowedHeaders: []string{"Authorization", "Cache-Control", "Content-Type", "Idempotency-Key", "Last-Event-ID", RequestIDHeader, HubTokenHeader},
		ExposedHeaders: []string{"Location", "Retry-After", ServerTimingHeader, RequestIDHeader},
		MaxAge:         preflightSeconds,
	}), nil
}

func checkOrigin(o string) error {
	if o == "*" {
		return nil
	}
	u, err := url.Parse(o)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Scheme+"://"+u.Host != o {
		return fmt.Errorf("CORS origin %q: %w: give \"*\" or a scheme, a host and maybe a port, such as \"https://app.example.com\"", o, ErrOrigin)
	}
	return nil
}
