package hub

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// Values of the header X-Error-Code.
const (
	codeRepo     = "RepoNotFound"
	codeRevision = "RevisionNotFound"
	codeEntry    = "EntryNotFound"
	codeGated    = "GatedRepo"
)

// refused makes an *Error of an answer that is no success.
func (c *Client) refused(r *request, at *url.URL, resp *http.Response) *Error {
	e := &Error{Repo: r.repo, Revision: r.revision, File: r.file, Status: resp.StatusCode, code: resp.Header.Get("X-Error-Code")}
	e.RetryAfter = retryAfter(resp.Header, c.now())
	e.Detail, e.Kind = c.explain(r, at, resp, e.code)
	e.temporary = errors.Is(e.Kind, ErrUnavailable) || errors.Is(e.Kind, ErrRateLimited)
	if errors.Is(e.Kind, ErrNotFound) && e.code == "" && r.file != "" && resp.Header.Get("X-Repo-Commit") != "" {
		e.code = codeEntry
	}
	if message := serverMessage(resp); message != "" {
		e.Detail += " (" + at.Host + " says: " + message + ")"
	}
	return e
}

// explain says what can be done about a failure, and gives its kind.
func (c *Client) explain(r *request, at *url.URL, resp *http.Response, code string) (detail string, kind error) {
	status := resp.StatusCode
	switch {
	case status == http.StatusTooManyRequests:
		return "too many requests; wait, or give a token, whose limits are wider", ErrRateLimited
	case status >= 500 || status == http.StatusRequestTimeout || (status >= 300 && status < 400):
		return at.Host + " answers " + resp.Status, ErrUnavailable
	case status == http.StatusRequestedRangeNotSatisfiable:
		return "the part fetched before is longer than the file", ErrCorrupt
	case !c.isEndpoint(at): // storage, reached by an address that may have expired
		return at.Host + " answers " + resp.Status, ErrUnavailable
	case code == codeGated:
		return "ask for access at " + c.endpoint.String() + "/" + r.repo + ", and give the token of the account that has it", ErrGated
	case code == codeRepo:
		return "no such repository, or a private one that needs another token", ErrNotFound
	case code == codeRevision:
		return "the repository has no such branch, tag or commit", ErrNotFound
	case code == codeEntry:
		return "the repository has no such file at this revision", ErrNotFound
	case status == http.StatusUnauthorized && r.token == "":
		return "the repository does not exist or needs a token: give one, or set HF_TOKEN", ErrUnauthorized
	case status == http.StatusUnauthorized:
		return "the token is not valid", ErrUnauthorized
	case status == http.StatusForbidden:
		return "the token has not the right to do this", ErrUnauthorized
	case status == http.StatusNotFound:
		return at.Host + " answers " + resp.Status, ErrNotFound
	case status == http.StatusConflict || status == http.StatusPreconditionFailed:
		return "the repository has changed, or is changing; look and try again", ErrConflict
	case status == http.StatusRequestEntityTooLarge:
		return "the Hub takes no request of this size", ErrTooLarge
	}
	return at.Host + " answers " + resp.Status, ErrRejected
}

// maxMessage bounds what is shown of a server's own words, in bytes.
const maxMessage = 200

// serverMessage is the reason that the Hub gives in a header or as JSON, or "".
func serverMessage(resp *http.Response) string {
	message := resp.Header.Get("X-Error-Message")
	if message == "" && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		var body struct{ Error any }
		data, err := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
		if err == nil && json.Unmarshal(data, &body) == nil {
			message, _ = body.Error.(string)
		}
	}
	message = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, message)
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "..."
	}
	return strings.TrimSpace(message)
}
