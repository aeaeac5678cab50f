package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tmaxmax/go-sse"
)

// Event is something that happened to a job.
type Event struct {
	Sequence int64          `json:"sequence"`
	Time     time.Time      `json:"time"`
	Kind     string         `json:"kind"` // "state", "step", "epoch" or "recovery"
	Data     jsontext.Value `json:"data"`
}

// State is the data of an event of that kind.
type State struct {
	To      string    `json:"to"`
	Failure *JobError `json:"failure"`
	Version string    `json:"version"`
}

// Progress is the data of a step or an epoch.
type Progress struct {
	Step              int         `json:"step"`
	Steps             int         `json:"steps"`
	Epoch             float64     `json:"epoch"`
	Loss              float64     `json:"loss"`
	LearningRate      float64     `json:"learning_rate"`
	ExamplesPerSecond float64     `json:"examples_per_second"`
	SecondsLeft       float64     `json:"seconds_left"`
	Metrics           *RunMetrics `json:"metrics"` // of an epoch
}

// Pauses between attempts to come back to a stream.
const (
	firstReturn = 500 * time.Millisecond
	lastReturn  = 5 * time.Second
)

// silence is after how long a stream that says nothing, not even that it lives, counts
// as broken.
const silence = time.Minute

// maxEventBytes bounds one event: those of epochs have a confusion matrix, and a line for
// each run.
const maxEventBytes = 4 << 20

// ErrUnreachable is wrapped where a stream broke and the server does not answer any more.
var ErrUnreachable = errors.New("client: the server does not answer any more")

// Follow gives the events of a job that follow a sequence, those that have happened and
// then each as it happens, until the job is in a final state. A stream that breaks is
// taken up again where it broke; lost, or nil, is told of each such pause. After patience
// without the server the last error is ErrUnreachable. Other errors are those of calls.
func (c *Client) Follow(ctx context.Context, job string, after int64, patience time.Duration, lost func(error, time.Duration)) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		pause, since := firstReturn, time.Now()
		for {
			before := after
			done, err := c.followOnce(ctx, job, &after, yield)
			if after > before {
				pause, since = firstReturn, time.Now()
			}
			switch problem, ok := errors.AsType[*Problem](err); {
			case done:
				return
			case ctx.Err() != nil:
				yield(Event{}, ctx.Err())
				return
			case ok && problem.wait(false) == 0 && problem.Code != "":
				yield(Event{}, err)
				return
			case time.Since(since) > patience:
				yield(Event{}, fmt.Errorf("%w for %v: %w", ErrUnreachable, patience, err))
				return
			}
			if lost != nil {
				lost(err, pause)
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, lastReturn)
		}
	}
}

// errBroken is a stream that ended before its job.
var errBroken = errors.New("the stream of events ended")

// followOnce reads one stream. done says that there is nothing more to come, or that the
// caller wants no more.
func (c *Client) followOnce(ctx context.Context, job string, after *int64, yield func(Event, error) bool) (done bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := c.stream(ctx, job, *after)
	if err != nil || body == nil {
		return body == nil && err == nil, err
	}
	defer body.Close()
	watchdog := time.AfterFunc(silence, func() { cancel(fmt.Errorf("nothing came for %v", silence)) })
	defer watchdog.Stop()
	alive := readerFunc(func(p []byte) (int, error) {
		n, err := body.Read(p)
		watchdog.Reset(silence)
		return n, err
	})
	for m, err := range sse.Read(alive, &sse.ReadConfig{MaxEventSize: maxEventBytes}) {
		if err != nil {
			return false, fmt.Errorf("%w: %w", errBroken, err)
		}
		e, err := eventOf(m)
		if err != nil {
			return false, err
		}
		if !yield(e, nil) {
			return true, nil
		}
		*after = e.Sequence
		if e.Kind == "state" {
			var s State
			if err := json.Unmarshal(e.Data, &s); err != nil || finalState(s.To) {
				return err == nil, err
			}
		}
	}
	return false, errBroken
}

// eventOf reads an event, or the problem that ends a stream.
func eventOf(m sse.Event) (Event, error) {
	if m.Type == "problem" {
		p := &Problem{}
		if err := json.Unmarshal([]byte(m.Data), p); err != nil {
			return Event{}, fmt.Errorf("client: the problem of a stream cannot be read: %w", err)
		}
		return Event{}, p
	}
	var e Event
	if err := json.Unmarshal([]byte(m.Data), &e); err != nil || e.Sequence < 1 {
		return e, fmt.Errorf("client: an event cannot be read: %.200q: %w", m.Data, errors.Join(errBroken, err))
	}
	return e, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// stream opens a stream of events, or nil where there is nothing more to come.
func (c *Client) stream(ctx context.Context, job string, after int64) (io.ReadCloser, error) {
	call := call{method: http.MethodGet, path: jobPath(job, "/events")}
	req, err := c.request(ctx, call)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if after > 0 {
		req.Header.Set("Last-Event-ID", strconv.FormatInt(after, 10))
	}
	resp, err := c.options.HTTP.Do(req)
	switch {
	case err != nil:
		return nil, withoutURL(err)
	case resp.StatusCode == http.StatusNoContent:
		return nil, resp.Body.Close()
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return nil, problemOf(resp.StatusCode, resp.Header, body)
}
