package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// ErrCrossOrigin is wrapped by errors about a change that a foreign page asks for.
var ErrCrossOrigin = errors.New("the call comes from a page of another origin")

// SameOrigin refuses what pages of other origins than the server's and the given ones
// send with methods that change something, as the browser tells it by Sec-Fetch-Site or
// Origin. A page can send a request without a body anywhere without a preflight, so
// that [CORS] alone does not protect a server without keys. Clients that are no
// browsers pass. "*" among the origins lets every page pass.
func SameOrigin(origins []string, fail Fail) (func(http.Handler) http.Handler, error) {
	if slices.Contains(origins, "*") {
		return func(next http.Handler) http.Handler { return next }, nil
	}
	protection := http.NewCrossOriginProtection()
	for _, o := range origins {
		if err := protection.AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrOrigin, err)
		}
	}
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fail(w, r, fmt.Errorf("%w, %q, which the configuration does not allow", ErrCrossOrigin, r.Header.Get("Origin")))
	}))
	return protection.Handler, nil
}
