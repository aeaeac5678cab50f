package handlers

import (
	"context"
	"fmt"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"valence/adapters/jobs"
	"valence/handlers/middleware"
)

// Bounds of a page of GET /v1/jobs/{id}/events.
const (
	defaultEvents = 100
	maxEvents     = 1000
)

// headerLastEventID is sent by clients that come back to a stream.
const headerLastEventID = "Last-Event-ID"

// eventList answers GET /v1/jobs/{id}/events.
type eventList struct {
	Events []jobs.Event `json:"events"`
	Next   int64        `json:"next,omitzero"` // "after" of the next page; none of the last one
}

// jobEvents answers GET /v1/jobs/{id}/events: with a page of them, or with a stream
// where the client takes one.
func (a *api) jobEvents() http.HandlerFunc {
	page := middleware.Timeout(a.Limits.Timeout)(http.HandlerFunc(a.pageEvents))
	stream := middleware.Stream(streamPatience)(http.HandlerFunc(a.streamEvents))
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept")
		if takesEvents(r) {
			stream.ServeHTTP(w, r)
			return
		}
		page.ServeHTTP(w, r)
	}
}

// takesEvents tells whether a client names the media type of streams among those that it
// accepts.
func takesEvents(r *http.Request) bool {
	for _, header := range r.Header.Values("Accept") {
		for entry := range strings.SplitSeq(header, ",") {
			media, params, err := mime.ParseMediaType(entry)
			if err != nil || media != typeEvents {
				continue
			}
			if q, err := strconv.ParseFloat(params["q"], 64); params["q"] == "" || err == nil && q > 0 {
				return true
			}
		}
	}
	return false
}

func (a *api) pageEvents(w http.ResponseWriter, r *http.Request) {
	id, err := jobIDOf(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	q, err := queryOf(r, "after", "limit")
	if err != nil {
		a.fail(w, r, err)
		return
	}
	after, limit := q.sequence("after"), q.limit(defaultEvents, maxEvents)
	if err := q.err(); err != nil {
		a.fail(w, r, err)
		return
	}
	out, err := a.eventsAfter(r.Context(), id, after, limit)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, out)
}

func (a *api) eventsAfter(ctx context.Context, id string, after int64, limit int) (eventList, error) {
	events, err := a.Jobs.Events(ctx, id, after, limit)
	if err != nil {
		return eventList{}, err
	}
	out := eventList{Events: events}
	if len(events) == 0 {
		out.Events = []jobs.Event{}
		return out, nil
	}
	last := events[len(events)-1].Sequence
	job, err := a.Jobs.Get(ctx, id)
	if job.Events > last {
		out.Next = last
	}
	return out, err
}

// sequence is a whole number from 0, or 0 where it is absent.
func (q *query) sequence(name string) int64 {
	if !q.values.Has(name) {
		return 0
	}
	n, err := parseSequence(q.values.Get(name))
	if err != nil {
		q.fault(name, "out_of_range", "%v", err)
	}
	return n
}

func parseSequence(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("must be a whole number from 0 to %d", math.MaxInt64)
	}
	return n, nil
}
