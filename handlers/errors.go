package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"valence/adapters"
	"valence/adapters/datasets"
	"valence/adapters/datasets/table"
	"valence/adapters/hub"
	"valence/adapters/jobs"
	"valence/adapters/peft"
	"valence/adapters/store"
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
	errUpload      = errors.New("the upload is not valid")
	errJuryLabels  = errors.New("the members of the jury have different labels")
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
	return slices.Concat(requestKinds(), adapterKinds(), hubKinds(), jobKinds(), dataKinds(), engineKinds(), stateKinds())
}

// requestKinds are of a request that is wrong in itself.
func requestKinds() []kind {
	return []kind{
		{errInvalidUTF8, http.StatusBadRequest, "invalid_utf8"},
		{errEmptyBody, http.StatusBadRequest, "empty_body"},
		{errReadBody, http.StatusBadRequest, "incomplete_body"},
		{errSyntax, http.StatusBadRequest, "invalid_json"},
		{errNoKey, http.StatusUnauthorized, "unauthorized"},
		{errBadKey, http.StatusUnauthorized, "unauthorized"},
		{errScope, http.StatusForbidden, "forbidden"},
		{middleware.ErrCrossOrigin, http.StatusForbidden, "cross_origin"},
		{errNoRoute, http.StatusNotFound, "not_found"},
		{errMethod, http.StatusMethodNotAllowed, "method_not_allowed"},
		{middleware.ErrBodyTooLarge, http.StatusRequestEntityTooLarge, "body_too_large"},
		{middleware.ErrMediaType, http.StatusUnsupportedMediaType, "unsupported_media_type"},
		{errInvalid, http.StatusUnprocessableEntity, codeInvalid},
		{errUpload, http.StatusUnprocessableEntity, "invalid_upload"},
		{errJuryLabels, http.StatusUnprocessableEntity, "jury_labels_differ"},
	}
}

// adapterKinds are of adapters and of what is done to them. A version that fails its
// self-test or that was made for another base is the request's fault where the request
// wants it served, and ours where it is served already.
func adapterKinds() []kind {
	return []kind{
		{errUnfitCanary, http.StatusUnprocessableEntity, codeSelfTest},
		{errUnfitBase, http.StatusUnprocessableEntity, "wrong_base"},
		{adapters.ErrCanary, http.StatusInternalServerError, codeSelfTest},
		{adapters.ErrWrongBase, http.StatusConflict, "wrong_base"},
		{adapters.ErrNotFound, http.StatusNotFound, "adapter_not_found"},
		{adapters.ErrPullForbidden, http.StatusForbidden, "pull_forbidden"},
		{adapters.ErrFixed, http.StatusConflict, "adapter_fixed"},
		{adapters.ErrConflict, http.StatusConflict, "conflict"},
		{adapters.ErrID, http.StatusUnprocessableEntity, codeID},
		{adapters.ErrBlend, http.StatusUnprocessableEntity, "invalid_blend"},
		{adapters.ErrSidecar, http.StatusUnprocessableEntity, "invalid_sidecar"},
		{engine.ErrTask, http.StatusUnprocessableEntity, "invalid_sidecar"},
		{peft.ErrAdapter, http.StatusUnprocessableEntity, "invalid_adapter"},
	}
}

// hubKinds are of the Hugging Face Hub: a dependency that failed, but where the request
// named what is not there.
func hubKinds() []kind {
	return []kind{
		{hub.ErrInvalid, http.StatusUnprocessableEntity, "hub_invalid"},
		{hub.ErrNotFound, http.StatusNotFound, "hub_not_found"},
		{hub.ErrConflict, http.StatusConflict, "hub_conflict"},
		{hub.ErrUnauthorized, http.StatusFailedDependency, "hub_unauthorized"},
		{hub.ErrGated, http.StatusFailedDependency, "hub_gated"},
		{hub.ErrRateLimited, http.StatusFailedDependency, "hub_rate_limited"},
		{hub.ErrOffline, http.StatusFailedDependency, "hub_offline"},
		{hub.ErrTooLarge, http.StatusFailedDependency, "hub_too_large"},
		{hub.ErrCorrupt, http.StatusFailedDependency, "hub_corrupt"},
		{hub.ErrRejected, http.StatusFailedDependency, "hub_rejected"},
		{hub.ErrUnavailable, http.StatusFailedDependency, "hub_unavailable"},
	}
}

// jobKinds are of trainings.
func jobKinds() []kind {
	return []kind{
		{jobs.ErrNotFound, http.StatusNotFound, "job_not_found"},
		{jobs.ErrState, http.StatusConflict, "job_state"},
		{jobs.ErrInProgress, http.StatusConflict, "request_in_progress"},
		{jobs.ErrKeyReused, http.StatusUnprocessableEntity, "idempotency_key_reused"},
		{jobs.ErrInvalidJob, http.StatusUnprocessableEntity, codeTraining},
		{jobs.ErrClosed, http.StatusServiceUnavailable, "draining"},
	}
}

// dataKinds are of data sets and feedback. An encoding is at fault where the file is, too.
func dataKinds() []kind {
	return []kind{
		{errNoDataset, http.StatusNotFound, "dataset_not_found"},
		{errNoFeedback, http.StatusNotFound, "feedback_not_found"},
		{datasets.ErrInUse, http.StatusConflict, "dataset_in_use"},
		{datasets.ErrTooLarge, http.StatusRequestEntityTooLarge, "dataset_too_large"},
		{table.ErrEncoding, http.StatusUnprocessableEntity, "unsupported_encoding"},
		{datasets.ErrMapping, http.StatusUnprocessableEntity, "invalid_mapping"},
		{datasets.ErrInvalid, http.StatusUnprocessableEntity, "invalid_dataset"},
	}
}

func engineKinds() []kind {
	return []kind{
		{engine.ErrInvalidRequest, http.StatusUnprocessableEntity, codeInvalid},
		{engine.ErrInvalidText, http.StatusUnprocessableEntity, "invalid_text"},
		{engine.ErrEmptyText, http.StatusUnprocessableEntity, "empty_text"},
		{engine.ErrTooLong, http.StatusUnprocessableEntity, "text_too_long"},
		{engine.ErrUnknownLabel, http.StatusUnprocessableEntity, "unknown_label"},
		{engine.ErrTooManyRows, http.StatusUnprocessableEntity, "too_many_inputs"},
		{engine.ErrBusy, http.StatusTooManyRequests, "busy"},
		{engine.ErrRun, http.StatusInternalServerError, "inference_failed"},
		{engine.ErrNonFinite, http.StatusInternalServerError, "inference_failed"},
	}
}

// stateKinds are of a server that cannot do now what it is asked.
func stateKinds() []kind {
	return []kind{
		{store.ErrFull, http.StatusInsufficientStorage, codeFull},
		{store.ErrBusy, http.StatusServiceUnavailable, "storage_busy"},
		{ErrNotReady, http.StatusServiceUnavailable, "not_ready"},
		{ErrDraining, http.StatusServiceUnavailable, "draining"},
		{engine.ErrClosed, http.StatusServiceUnavailable, "draining"},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, codeTimeout},
	}
}

// errUnfitCanary and errUnfitBase mark errors about a version that the request wants
// served.
var (
	errUnfitCanary = errors.New("the version fails its self-test")
	errUnfitBase   = errors.New("the version does not fit the base")
)

// changeError marks err, which came of a change to what is served.
func changeError(err error) error {
	switch {
	case errors.Is(err, adapters.ErrCanary):
		return fmt.Errorf("%w: %s", errUnfitCanary, detail(err))
	case errors.Is(err, adapters.ErrWrongBase):
		return fmt.Errorf("%w: %s", errUnfitBase, detail(err))
	default:
		return err
	}
}

const (
	codeFull     = "storage_full"
	codeID       = "invalid_adapter_id"
	codeInvalid  = "invalid_request"
	codeInternal = "internal"
	codeNoAnswer = "no_answer"
	codeSelfTest = "adapter_failed_self_test"
	codeTimeout  = "timeout"
	codeTraining = "invalid_training"
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
	p := problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: shown(err, status, code)}
	if inv, ok := errors.AsType[*invalidError](err); ok {
		p.Errors = inv.fields
	}
	if f, ok := errors.AsType[*datasets.Faults](err); ok {
		whole, rows, _ := strings.Cut(p.Detail, "\n")
		first, _, _ := strings.Cut(rows, "\n") // all of them are in Errors
		p.Detail = whole + "; " + strings.Replace(first, ": table: ", ": ", 1)
		p.Errors = rowFaults(f)
	}
	if inv, ok := errors.AsType[*jobs.InvalidError](err); ok {
		p.Errors = findingFaults(inv)
	}
	return p
}

// shown is what a client may read of err.
func shown(err error, status int, code string) string {
	if m, ok := errors.AsType[*memberError](err); ok {
		return fmt.Sprintf("jury member %q: %s", m.member, shown(m.err, status, code))
	}
	switch {
	case status == http.StatusInternalServerError && code == codeSelfTest:
		// The recorded texts and scores are not for everybody who may ask.
		return "the adapter's version does not give its recorded scores on this server, so it is not served; the log has the cause under the request id"
	case status == http.StatusInternalServerError:
		return "the server failed on this request; its log has the cause under the request id"
	case code == codeFull: // the cause names files of the server
		return "the server has no space left on its disk: nothing of this request was kept; try again when there is room"
	case code == codeTimeout:
		return "the answer would take longer than the server allows"
	default:
		return detail(err)
	}
}

func classify(err error) (status int, code string) {
	for _, k := range kinds() {
		if errors.Is(err, k.err) {
			return k.status, k.code
		}
	}
	return http.StatusInternalServerError, codeInternal
}

// detail is err's text without the names of the packages that it went through, fit for
// JSON whatever was quoted in it.
func detail(err error) string {
	s := err.Error()
	for _, pkg := range []string{"registry: ", "store: ", "hub: ", "peft: ", "engine: ", "adapters: ", "jobs: ", "datasets: ", "table: "} {
		s = strings.TrimPrefix(s, pkg)
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// rowFaults tells of rows of a file.
func rowFaults(f *datasets.Faults) []fieldError {
	out := make([]fieldError, len(f.First))
	for i, fault := range f.First {
		out[i] = fieldError{Code: "invalid", Detail: detail(errors.New(fault.Problem)), Row: fault.Row, Line: fault.Line, Column: fault.Column}
	}
	return out
}

// findingFaults tells what a trainer found in a request and its data.
func findingFaults(inv *jobs.InvalidError) []fieldError {
	out := make([]fieldError, len(inv.Findings))
	for i, f := range inv.Findings {
		out[i] = fieldError{Pointer: f.Pointer, Code: f.Code, Detail: detail(errors.New(f.Message)), Row: f.Row}
	}
	return out
}

// retryAfter is when a client should come back, or 0 where that is pointless.
func retryAfter(err error, status int) time.Duration {
	if busy, ok := errors.AsType[*engine.BusyError](err); ok {
		return busy.RetryAfter
	}
	if h, ok := errors.AsType[*hub.Error](err); ok && h.RetryAfter > 0 {
		return h.RetryAfter
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
			p.Errors = append(p.Errors, fieldError{Pointer: f.pointer, Detail: row.Detail, Code: row.Code})
		}
	}
	return p
}
