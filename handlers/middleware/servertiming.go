package middleware

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// ServerTimingHeader lists the stages of a request with their durations in
// milliseconds (W3C Server Timing).
const ServerTimingHeader = "Server-Timing"

type timingKey struct{}

// stages collects what a request spent, in the order in which stages were first
// named.
type stages struct {
	mu    sync.Mutex
	names []string
	took  []time.Duration
}

// ServerTiming answers with the stages that the handlers recorded by [Stage], and
// the total until the first byte of the answer.
func ServerTiming(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := new(stages)
		tw := &timingWriter{ResponseWriter: w, stages: s, start: time.Now()}
		next.ServeHTTP(tw, r.WithContext(context.WithValue(r.Context(), timingKey{}, s)))
	})
}

// Stage records what a stage of the request behind ctx took. Recorded again, the
// longer time stands: rows of one request pass a stage side by side. Names must be
// HTTP tokens. Without [ServerTiming] around the handler it does nothing.
func Stage(ctx context.Context, name string, took time.Duration) {
	s, ok := ctx.Value(timingKey{}).(*stages)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, n := range s.names {
		if n == name {
			s.took[i] = max(s.took[i], took)
			return
		}
	}
	s.names = append(s.names, name)
	s.took = append(s.took, took)
}

func (s *stages) header(total time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b []byte
	for i, name := range s.names {
		b = append(appendStage(b, name, s.took[i]), ", "...)
	}
	return string(appendStage(b, "total", total))
}

func appendStage(b []byte, name string, took time.Duration) []byte {
	b = append(append(b, name...), ";dur="...)
	return strconv.AppendFloat(b, float64(took.Microseconds())/1000, 'f', -1, 64)
}

// timingWriter adds the header when the answer's header is written.
type timingWriter struct {
	http.ResponseWriter
	stages *stages
	start  time.Time
	wrote  bool
}

func (w *timingWriter) WriteHeader(status int) {
	if !w.wrote && status >= 200 {
		w.wrote = true
		w.Header().Set(ServerTimingHeader, w.stages.header(time.Since(w.start)))
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *timingWriter) Write(p []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets [http.ResponseController] reach flush and deadlines.
func (w *timingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
