package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"valence/adapters/jobs"
	"valence/handlers/middleware"
)

const (
	typeEvents = "text/event-stream"
	// streamPatience is how long a client may take nothing of a stream.
	streamPatience = 30 * time.Second
	// heartbeat is how often a stream without events shows that it lives: less than the
	// minute after which proxies usually give up.
	heartbeat = 15 * time.Second
	// reconnectMillis is after how long a client comes back when a stream breaks off.
	reconnectMillis = 2000
)

// streamEvents follows a job as Server-Sent Events, from its first event or from the one
// that the client had last, until the job is in a final state. A client that has all
// events of such a job gets 204, which keeps it from coming back.
func (a *api) streamEvents(w http.ResponseWriter, r *http.Request) {
	id, after, err := streamFrom(r)
	var job jobs.Job
	if err == nil {
		job, err = a.Jobs.Get(r.Context(), id)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if job.State.Final() && after >= job.Events {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", typeEvents)
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	s := &stream{w: w, c: http.NewResponseController(w)}
	s.send(fmt.Sprintf("retry: %d\n\n", reconnectMillis))
	if err := a.follow(r.Context(), s, id, after); err != nil {
		a.breakOff(r, s, err)
	}
	if s.err != nil {
		a.logOf(r).Debug("stream not sent", "error", s.err)
	}
}

// streamFrom is the job and the event after which to begin. A client that comes back
// says so in a header, and repeats the URL that it began with.
func streamFrom(r *http.Request) (id string, after int64, err error) {
	if id, err = jobIDOf(r); err != nil {
		return "", 0, err
	}
	q, err := queryOf(r, "after")
	if err != nil {
		return "", 0, err
	}
	after = q.sequence("after")
	if last := r.Header.Get(headerLastEventID); last != "" {
		if after, err = parseSequence(last); err != nil {
			q.fault(headerLastEventID, "out_of_range", "%v", err)
		}
	}
	return id, after, q.err()
}

// follow sends events until there are no more to come, the client is gone or the server
// drains.
func (a *api) follow(ctx context.Context, s *stream, id string, after int64) error {
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan jobs.Event)
	failed := make(chan error, 1)
	go func() {
		defer close(events)
		failed <- a.forward(ctx, events, id, after)
	}()
	defer func() { // what reads the store has ended when the request has
		cancel()
		for range events { // until it is closed
		}
	}()
	beat := time.NewTicker(a.heartbeat())
	defer beat.Stop()
	for s.err == nil {
		select {
		case e, more := <-events:
			if !more {
				return <-failed
			}
			s.event(e)
			beat.Reset(a.heartbeat())
		case <-beat.C:
			s.send(": heartbeat\n\n")
		case <-a.Ready.Draining():
			return nil
		}
	}
	return nil
}

// forward sends a job's events to a channel, until ctx ends.
func (a *api) forward(ctx context.Context, to chan<- jobs.Event, id string, after int64) error {
	for e, err := range a.Jobs.Follow(ctx, id, after) {
		if err != nil {
			return err
		}
		select {
		case to <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (a *api) heartbeat() time.Duration {
	if a.Heartbeat > 0 {
		return a.Heartbeat
	}
	return heartbeat
}

// breakOff tells a client why its stream ends early, unless it is to come back or is
// gone.
func (a *api) breakOff(r *http.Request, s *stream, err error) {
	if r.Context().Err() != nil || errors.Is(err, jobs.ErrClosed) {
		return
	}
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		logInternal(a.logOf(r), err)
	}
	p.RequestID = middleware.RequestIDFrom(r.Context())
	s.message("problem", 0, p)
}

// stream writes Server-Sent Events. After the first error it writes nothing.
type stream struct {
	w   http.ResponseWriter
	c   *http.ResponseController
	err error
}

func (s *stream) event(e jobs.Event) { s.message(string(e.Kind), e.Sequence, e) }

// message sends one event; id 0 is none.
func (s *stream) message(kind string, id int64, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var b bytes.Buffer
	if id > 0 {
		fmt.Fprintf(&b, "id: %d\n", id)
	}
	fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", kind, data)
	s.send(b.String())
}

func (s *stream) send(text string) {
	if s.err != nil {
		return
	}
	if _, s.err = s.w.Write([]byte(text)); s.err == nil {
		s.err = s.c.Flush()
	}
}
