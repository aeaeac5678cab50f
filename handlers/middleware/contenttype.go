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

// JSON is the media type of every body of the API but uploads.
const JSON = "application/json"

// NoBody among the media types of [ContentType] lets a request without a body go
// without Content-Type.
const NoBody = "no body"

// ContentType refuses bodies of other media types than the given ones, of which the
// first is recommended and "" stands for no Content-Type at all, charsets other than
// UTF-8 and any Content-Encoding.
func ContentType(fail Fail, allowed ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := checkBodyType(r, allowed); err != nil {
				fail(w, r, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func checkBodyType(r *http.Request, allowed []string) error {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return fmt.Errorf("%w: Content-Encoding %q; send the body as it is", ErrMediaType, e)
	}
	raw := r.Header.Get("Content-Type")
	if raw == "" {
		if slices.Contains(allowed, "") || r.ContentLength == 0 && slices.Contains(allowed, NoBody) {
			return nil
		}
		return fmt.Errorf("%w: there is no Content-Type; send %s", ErrMediaType, allowed[0])
	}
	media, params, err := mime.ParseMediaType(raw)
	if err != nil || !slices.Contains(allowed, media) {
		return fmt.Errorf("%w: Content-Type %q; send %s", ErrMediaType, raw, allowed[0])
	}
	if c := params["charset"]; c != "" && !strings.EqualFold(c, "utf-8") && !strings.EqualFold(c, "us-ascii") {
		return fmt.Errorf("%w: charset %q; send UTF-8", ErrMediaType, c)
	}
	return nil
}
