package client

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Problem is an answer that tells of an error, as RFC 9457 has it.
type Problem struct {
	Status    int          `json:"status"`
	Title     string       `json:"title"`
	Code      string       `json:"code"` // stable; "" where something between here and the server answered
	Detail    string       `json:"detail"`
	RequestID string       `json:"request_id"`
	Errors    []FieldError `json:"errors"`

	RetryAfter time.Duration `json:"-"` // when to come back; 0 where the server does not say
}

// FieldError is one fault of a request's body.
type FieldError struct {
	Pointer string `json:"pointer"` // RFC 6901; "" is the body itself
	Detail  string `json:"detail"`
	Code    string `json:"code"`

	Parameter string `json:"parameter"` // of the query; "" where it is the body's fault
	Row       int    `json:"row"`       // of a data set; 0 where none is meant
	Line      int    `json:"line"`      // of its file
	Column    string `json:"column"`
}

// String tells where the fault is, and what.
func (f *FieldError) String() string { return f.place() + ": " + f.Detail }

// place is where the fault is, for people.
func (f *FieldError) place() string {
	switch {
	case f.Line > 0 && f.Column != "":
		return fmt.Sprintf("line %d, column %q", f.Line, f.Column)
	case f.Line > 0:
		return fmt.Sprintf("line %d", f.Line)
	case f.Row > 0 && f.Column != "":
		return fmt.Sprintf("row %d, column %q", f.Row, f.Column)
	case f.Row > 0 && f.Pointer == "":
		return fmt.Sprintf("row %d", f.Row)
	case f.Parameter != "":
		return f.Parameter
	default:
		return f.Pointer
	}
}

// Error gives status, code, detail, each field's fault and the request's id.
func (p *Problem) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "the server answered %d %s", p.Status, p.Title)
	if p.Code != "" {
		fmt.Fprintf(&s, " (%s)", p.Code)
	}
	if p.Detail != "" {
		s.WriteString(": " + p.Detail)
	}
	for i := range p.Errors {
		e := &p.Errors[i]
		s.WriteString("; " + e.String())
	}
	if p.RequestID != "" {
		fmt.Fprintf(&s, " [request %s]", p.RequestID)
	}
	return s.String()
}

// maxStray is how much of a body that is no problem is shown, in bytes.
const maxStray = 200

// problemOf reads the answer. What is not a problem of the API, such as a proxy's
// page, becomes one without a code.
func problemOf(status int, header http.Header, body []byte) *Problem {
	p := &Problem{}
	if err := json.Unmarshal(body, p); err != nil || p.Code == "" {
		stray := strings.TrimSpace(string(body[:min(len(body), maxStray)]))
		p = &Problem{Title: http.StatusText(status), Detail: strings.ToValidUTF8(stray, "\uFFFD")}
	}
	p.Status = status
	p.RetryAfter = parseRetryAfter(header.Get("Retry-After"), time.Now())
	return p
}

// parseRetryAfter reads seconds or a date; 0 is neither, or a date that has passed.
func parseRetryAfter(s string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(s); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// defaultWait is for servers that do not say when to come back.
const defaultWait = time.Second

// wait is how long to wait before the same call may succeed, or 0 where it must not be
// repeated. A call that is to happen once is repeated only where it was not begun.
func (p *Problem) wait(once bool) time.Duration {
	begun := p.Code == "timeout" || p.Code == ""
	switch {
	case p.Status == http.StatusTooManyRequests:
	case p.Status != http.StatusServiceUnavailable, once && begun:
		return 0
	}
	if p.RetryAfter > 0 {
		return p.RetryAfter
	}
	return defaultWait
}
