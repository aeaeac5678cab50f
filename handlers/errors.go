package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"valence/adapters"
	"valence/handlers/middleware"
	"valence/runtime/engine"
)

// Errors of requests that reach no resource.
var (
	errNoRoute     = errors.New("no such resource")
	errMethod      = errors.New("method not allowed")
	errEmptyBody   = errors.New("the body is empty")
	errReadBody    = errors.New("the body could not be read to its end")
	errInvalidUTF8 = errors.New("the body is not UTF-8")
	errSyntax      = errors.New("the body is not JSON")
	errInvalid     = errors.New("the request is not valid")
)

// kind gives an error its status and stable code.
type kind struct {
	err    error
	status int
	code   string
}

// kinds has every error that a request can meet. The first that matches counts;
// an error that none matches is codeInternal.
func kinds() []kind {
	return []kind{
		{errInvalidUTF8, http.StatusBadRequest, "invalid_utf8"},
		{errEmptyBody, http.StatusBadRequest, "empty_body"},
		{errReadBody, http.StatusBadRequest, "incomplete_body"},
		{errSyntax, http.StatusBadRequest, "invalid_json"},
		{errNoRoute, http.StatusNotFound, "not_found"},
		{adapters.ErrNotFound, http.StatusNotFound, "adapter_not_found"},
		{errMethod, http.StatusMethodNotAllowed, "method_not_allowed"},
		{middleware.ErrBodyTooLarge, http.StatusRequestEntityTooLarge, "body_too_large"},
		{middleware.ErrMediaType, http.StatusUnsupportedMediaType, "unsupported_media_type"},
		{errInvalid, http.StatusUnprocessableEntity, codeInvalid},
		{adapters.ErrID, http.StatusUnprocessableEntity, "invalid_adapter_id"},
		{engine.ErrInvalidRequest, http.StatusUnprocessableEntity, codeInvalid},
		{errNoKey, http.StatusUnauthorized, "unauthorized"},
		{errBadKey, http.StatusUnauthorized, "unauthorized"},
		{errScope, http.StatusForbidden, "forbidden"},
		{engine.ErrInvalidText, http.StatusUnprocessableEntity, "invalid_text"},
		{engine.ErrEmptyText, http.StatusUnprocessableEntity, "empty_text"},
		{engine.ErrTooLong, http.StatusUnprocessableEntity, "text_too_long"},
		{engine.ErrUnknownLabel, http.StatusUnprocessableEntity, "unknown_label"},
		{engine.ErrTooManyRows, http.StatusUnprocessableEntity, "too_many_inputs"},
		{engine.ErrBusy, http.StatusTooManyRequests, "busy"},
		{engine.ErrRun, http.StatusInternalServerError, "inference_failed"},
		{engine.ErrNonFinite, http.StatusInternalServerError, "inference_failed"},
		{ErrNotReady, http.StatusServiceUnavailable, "not_ready"},
		{ErrDraining, http.StatusServiceUnavailable, "draining"},
		{engine.ErrClosed, http.StatusServiceUnavailable, "draining"},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, "timeout"},
	}
}

const (
	codeInvalid  = "invalid_request"
	codeInternal = "internal"
	codeNoAnswer = "no_answer"
)

// unavailableRetry is the Retry-After of a 503: the time a replica takes to warm
// up or a balancer to look elsewhere, roughly.
const unavailableRetry = 2 * time.Second

// problemOf describes err to a client. Errors of ours are not shown: the log has
// them.
func problemOf(err error) problem {
	if n, ok := errors.AsType[*noAnswerError](err); ok {
		return n.problem()
	}
	status, code := classify(err)
	p := problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail(err)}
	switch {
	case status == http.StatusInternalServerError:
		p.Detail = "the server failed on this request; its log has the cause under the request id"
	case errors.Is(err, context.DeadlineExceeded):
		p.Detail = "the answer would take longer than the server allows"
	}
	if inv, ok := errors.AsType[*invalidError](err); ok {
		p.Errors = inv.fields
	}
	return p
}

func classify(err error) (status int, code string) {
	for _, k := range kinds() {
		if errors.Is(err, k.err) {
			return k.status, k.code
		}
	}
	return http.StatusInternalServerError, codeInternal
}

// detail is err's text without the name of the package that it is from, fit for
// JSON whatever was quoted in it.
func detail(err error) string {
	s := err.Error()
	for _, pkg := range []string{"engine: ", "adapters: "} {
		s = strings.TrimPrefix(s, pkg)
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// retryAfter is when a client should come back, or 0 where that is pointless.
func retryAfter(err error, status int) time.Duration {
	if busy, ok := errors.AsType[*engine.BusyError](err); ok {
		return busy.RetryAfter
	}
	if status == http.StatusServiceUnavailable {
		return unavailableRetry
	}
	return 0
}

// rowFault is an input that failed alone.
type rowFault struct {
	index   int
	pointer string // to the part of the body that is at fault
	err     error
}

// noAnswerError says that no input of a request could be answered.
type noAnswerError struct {
	faults []rowFault // at least one
}

func (e *noAnswerError) Error() string {
	return fmt.Sprintf("none of %d inputs could be answered; the first: %v", len(e.faults), e.faults[0].err)
}

func (e *noAnswerError) Unwrap() error { return e.faults[0].err }

// problem is that of the inputs where they failed alike. Otherwise its status is
// the highest among theirs: what a later try may cure counts more than what it
// cannot.
func (e *noAnswerError) problem() problem {
	p := problemOf(e.faults[0].err)
	n := len(e.faults)
	if n > 1 {
		p.Detail = fmt.Sprintf("none of the %d inputs could be answered: %s", n, p.Detail)
	}
	for _, f := range e.faults {
		row := problemOf(f.err)
		if row.Code != p.Code {
			p.Code = codeNoAnswer
			p.Detail = fmt.Sprintf("none of the %d inputs could be answered, for different reasons", n)
		}
		if row.Status > p.Status {
			p.Status, p.Title = row.Status, row.Title
		}
		if row.Status < http.StatusInternalServerError {
			p.Errors = append(p.Errors, fieldError{f.pointer, row.Detail, row.Code})
		}
	}
	return p
}
