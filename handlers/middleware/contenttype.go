package middleware

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// ErrMediaType is wrapped by errors about a body's type, charset or encoding.
var ErrMediaType = errors.New("unsupported media type")

// JSON is the media type of every body of the API.
const JSON = "application/json"

// ContentType refuses bodies of other media types than the given ones, "" among
// them standing for no Content-Type at all, charsets other than UTF-8 and any
// Content-Encoding.
//
// Routes that change something accept only [JSON]: a page of a foreign origin
// cannot send that without a preflight, so CORS protects them.
func ContentType(fail Fail, allowed ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := checkBodyType(r.Header, allowed); err != nil {
				fail(w, r, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func checkBodyType(h http.Header, allowed []string) error {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return fmt.Errorf("%w: Content-Encoding %q; send the body as it is", ErrMediaType, e)
	}
	raw := h.Get("Content-Type")
	if raw == "" {
		if slices.Contains(allowed, "") {
			return nil
		}
		return fmt.Errorf("%w: there is no Content-Type; send %s", ErrMediaType, JSON)
	}
	media, params, err := mime.ParseMediaType(raw)
	if err != nil || !slices.Contains(allowed, media) {
		return fmt.Errorf("%w: Content-Type %q; send %s", ErrMediaType, raw, JSON)
	}
	if c := params["charset"]; c != "" && !strings.EqualFold(c, "utf-8") && !strings.EqualFold(c, "us-ascii") {
		return fmt.Errorf("%w: charset %q; send UTF-8", ErrMediaType, c)
	}
	return nil
}
