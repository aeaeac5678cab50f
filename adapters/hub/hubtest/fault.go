package hubtest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// Kind is what goes wrong.
type Kind string

// The kinds of faults.
const (
	Status      Kind = "status"       // Status with Code and Message in place of the answer, and Header
	Cut         Kind = "cut"          // the connection ends after Bytes of the body
	WrongLength Kind = "wrong_length" // Bytes more, or fewer where negative, are sent and announced; on HEAD announced
	WrongHash   Kind = "wrong_hash"   // one bit of the body is another
	Drip        Kind = "drip"         // a byte each Delay
	Stall       Kind = "stall"        // no answer, until the client leaves
	Endless     Kind = "endless"      // zeros follow the body without an end
	NoRange     Kind = "no_range"     // the whole file in answer to a range
	Redirect    Kind = "redirect"     // to the storage, which gives the same answer as to one without a token
)

// Fault makes requests go wrong.
type Fault struct {
	Kind   Kind   `json:"kind"`
	Method string `json:"method"` // of the requests that meet it; "" is all
	Path   string `json:"path"`   // what their path holds, at the hub or at the storage
	Times  int    `json:"times"`  // how many requests meet it; 0 is all

	Bytes   int64             `json:"bytes"`
	Status  int               `json:"status"`
	Code    string            `json:"code"`
	Message string            `json:"message"`
	Header  map[string]string `json:"header"`
	Delay   time.Duration     `json:"delay"` // nanoseconds

	met int
}

// Fail adds a fault. Of several that a request could meet, it meets the first that
// is not spent.
func (h *Hub) Fail(f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, &f)
}

// Heal removes all faults.
func (h *Hub) Heal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = nil
}

// fault gives a request what it meets, or nil.
func (h *Hub) fault(r *http.Request) *Fault {
	for _, f := range h.faults {
		spent := f.Times > 0 && f.met >= f.Times
		spent = spent || f.Kind == Redirect && strings.HasPrefix(r.URL.Path, mirror) // has been redirected
		if !spent && (f.Method == "" || f.Method == r.Method) && strings.Contains(r.URL.Path, f.Path) {
			f.met++
			return f
		}
	}
	return nil
}

// serve lets the fault have its way with the answer of next.
func (f *Fault) serve(w http.ResponseWriter, r *http.Request, storage string, next http.HandlerFunc) {
	switch f.Kind {
	case Status:
		for name, value := range f.Header {
			w.Header().Set(name, value)
		}
		(&refusal{f.Status, f.Code, f.Message}).write(w)
	case Stall:
		_, _ = io.Copy(io.Discard, r.Body) // the server notices that a client leaves once the body is read
		<-r.Context().Done()
	case Redirect:
		w.Header().Set("Location", storage+mirror+r.URL.EscapedPath())
		w.WriteHeader(http.StatusFound)
	case NoRange:
		r.Header.Del("Range")
		next(w, r)
	default:
		answer := httptest.NewRecorder()
		next(answer, r)
		f.distort(w, r, answer)
	}
}

// distort passes an answer on with the fault in its body.
func (f *Fault) distort(w http.ResponseWriter, r *http.Request, answer *httptest.ResponseRecorder) {
	body := answer.Body.Bytes()
	header := w.Header()
	for name, values := range answer.Header() {
		header[name] = values
	}
	switch f.Kind {
	case WrongLength:
		for _, name := range []string{"Content-Length", "X-Linked-Size"} {
			if n, err := strconv.ParseInt(header.Get(name), 10, 64); err == nil {
				header.Set(name, strconv.FormatInt(n+f.Bytes, 10))
			}
		}
		body = resize(body, f.Bytes)
	case WrongHash:
		if len(body) > 0 {
			body[0] ^= 1
		}
	case Endless:
		header.Del("Content-Length")
	}
	w.WriteHeader(answer.Code)
	f.send(w, r, body)
}

func resize(body []byte, by int64) []byte {
	if by < 0 {
		return body[:max(0, len(body)+int(by))]
	}
	return append(body, make([]byte, by)...)
}

// send writes a body, all at once but for those faults that are about time.
func (f *Fault) send(w http.ResponseWriter, r *http.Request, body []byte) {
	switch f.Kind {
	case Cut:
		_, _ = w.Write(body[:min(int64(len(body)), f.Bytes)])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case Drip:
		for _, b := range body {
			_, _ = w.Write([]byte{b})
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(f.Delay):
			case <-r.Context().Done():
				return
			}
		}
	case Endless:
		_, _ = w.Write(body)
		zeros := bytes.Repeat([]byte{0}, 4096)
		for r.Method != http.MethodHead && r.Context().Err() == nil {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	default:
		if r.Method != http.MethodHead {
			_, _ = w.Write(body)
		}
	}
}
