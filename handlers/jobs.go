package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"valence/adapters/jobs"
)

// jobID is what ids look like. Others are not asked for: no job has them.
var jobID = regexp.MustCompile(`^[0-9a-v]{26}$`)

// jobIDOf is the id that the path names. Errors wrap jobs.ErrNotFound.
func jobIDOf(r *http.Request) (string, error) {
	id := pathPart(r, chi.URLParam(r, "id"))
	if !jobID.MatchString(id) {
		return "", fmt.Errorf("%w: %q", jobs.ErrNotFound, id)
	}
	return id, nil
}

// Bounds of a page of GET /v1/jobs.
const (
	defaultJobs = 50
	maxJobs     = 100
)

// listJobs answers GET /v1/jobs.
func (a *api) listJobs(w http.ResponseWriter, r *http.Request) {
	f, err := jobFilter(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	limit := f.Limit
	f.Limit++ // to tell whether there are more
	list, err := a.Jobs.List(r.Context(), f)
	if f.Before != "" && errors.Is(err, jobs.ErrNotFound) {
		q := &query{}
		q.fault("after", "invalid", "there is no such job any more; begin again without it")
		err = q.err()
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out := jobList{Jobs: make([]jobInfo, min(limit, len(list)))}
	for i := range out.Jobs {
		out.Jobs[i] = jobInfoOf(list[i])
	}
	if len(list) > limit {
		out.Next = list[limit-1].ID
	}
	a.respond(w, r, out)
}

func jobFilter(r *http.Request) (jobs.Filter, error) {
	q, err := queryOf(r, "adapter", "state", "limit", "after")
	if err != nil {
		return jobs.Filter{}, err
	}
	f := jobs.Filter{Adapter: q.id("adapter"), Limit: q.limit(defaultJobs, maxJobs), Before: q.values.Get("after")}
	if q.values.Has("after") && !jobID.MatchString(f.Before) {
		q.fault("after", "invalid", "must be the id of a job")
	}
	if q.values.Has("state") {
		f.States = q.states("state")
	}
	return f, q.err()
}

// states are names of states with commas between them.
func (q *query) states(name string) []jobs.State {
	known := jobs.States()
	var out []jobs.State
	for s := range strings.SplitSeq(q.values.Get(name), ",") {
		if !slices.Contains(known, jobs.State(s)) {
			q.fault(name, "not_allowed", "%q is none of %v", s, known)
			return nil
		}
		out = append(out, jobs.State(s))
	}
	return out
}

// getJob answers GET /v1/jobs/{id}.
func (a *api) getJob(w http.ResponseWriter, r *http.Request) {
	id, err := jobIDOf(r)
	if err == nil {
		_, err = queryOf(r)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.answerJob(w, r, func(ctx context.Context) (jobs.Job, error) { return a.Jobs.Get(ctx, id) })
}

// control answers a call that takes nothing but a job's id and gives the job as it is
// then.
func (a *api) control(do func(context.Context, string) (jobs.Job, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := jobIDOf(r)
		if err == nil {
			err = a.decodeOptional(r, new(struct{}))
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		a.answerJob(w, r, func(ctx context.Context) (jobs.Job, error) { return do(ctx, id) })
	}
}

// answerJob answers with a job and the reports of its epochs.
func (a *api) answerJob(w http.ResponseWriter, r *http.Request, get func(context.Context) (jobs.Job, error)) {
	job, err := get(r.Context())
	var epochs []jobs.Progress
	if err == nil {
		epochs, err = a.Jobs.Metrics(r.Context(), job.ID)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, jobDetailOf(job, epochs))
}

func (a *api) deleteJob(w http.ResponseWriter, r *http.Request) {
	id, err := jobIDOf(r)
	if err == nil {
		err = a.Jobs.Delete(r.Context(), id)
	}
	a.deleted(w, r, err)
}

// deleted answers that something is gone, unless err says why not.
func (a *api) deleted(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}
