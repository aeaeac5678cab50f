package handlers

import (
	"net/http"
	"strings"
	"testing"

	"valence/adapters/jobs"
)

func TestJobsAreControlled(t *testing.T) {
	w := openWorkshop(t, newPacer(2), nil)
	id := w.train()
	w.reaches(id, jobs.Running)
	at := func(call string) string { return "/v1/jobs/" + id + "/" + call }
	var got jobDetail
	w.get(w.do(http.MethodPost, at("pause"), ""), 200, &got)
	if got.State != jobs.Paused {
		t.Errorf("paused: %s", got.State)
	}
	w.get(w.do(http.MethodPost, at("resume"), "{}", "Content-Type", typeJSON), 200, &got)
	if got.State != jobs.Running {
		t.Errorf("resumed: %s", got.State)
	}
	p := w.do(http.MethodPost, at("retry"), "").problem(t, 409, "job_state")
	if !strings.Contains(p.Detail, "a running job cannot be retried; allowed are [failed cancelled]") {
		t.Errorf("detail %q", p.Detail)
	}
	w.do(http.MethodDelete, "/v1/jobs/"+id, "").problem(t, 409, "job_state")
	w.get(w.do(http.MethodPost, at("cancel"), ""), 200, &got)
	w.reaches(id, jobs.Cancelled)
	w.get(w.do(http.MethodPost, at("retry"), ""), 200, &got)
	w.do(http.MethodPost, at("pause"), `{"x":1}`, "Content-Type", typeJSON).problem(t, 422, codeInvalid)
	close(w.pacer.free)
	w.reaches(id, jobs.Succeeded)
	if a := w.do(http.MethodDelete, "/v1/jobs/"+id, ""); a.StatusCode != http.StatusNoContent {
		t.Errorf("deleted: %d %s", a.StatusCode, a.body)
	}
	w.do(http.MethodGet, "/v1/jobs/"+id, "").problem(t, 404, "job_not_found")
}

func TestJobsThatAreNotThere(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	for _, id := range []string{noJob(), "x", "..", "%00", strings.Repeat("a", 300)} {
		for _, call := range []string{"GET ", "DELETE ", "GET /events", "POST /cancel", "POST /pause", "POST /resume", "POST /retry"} {
			method, action, _ := strings.Cut(call, " ")
			w.do(method, "/v1/jobs/"+id+action, "").problem(t, 404, "job_not_found")
		}
		w.do(http.MethodGet, "/v1/jobs/"+id+"/events", "", "Accept", typeEvents).problem(t, 404, "job_not_found")
	}
}

func TestListJobs(t *testing.T) {
	w := openWorkshop(t, newPacer(1), nil)
	var ids []string
	for range 3 {
		ids = append([]string{w.train()}, ids...)
	}
	list := func(query string) (out []string, next string) {
		var got jobList
		w.get(w.do(http.MethodGet, "/v1/jobs"+query, ""), 200, &got)
		for _, j := range got.Jobs {
			out = append(out, j.ID)
		}
		return out, got.Next
	}
	first, next := list("?limit=2&adapter=acme%2Fnew")
	if len(first) != 2 || first[0] != ids[0] || next != ids[1] {
		t.Errorf("%v %s, of %v", first, next, ids)
	}
	if rest, next := list("?limit=2&after=" + next); len(rest) != 1 || rest[0] != ids[2] || next != "" {
		t.Errorf("%v %s", rest, next)
	}
	if none, _ := list("?adapter=other"); len(none) != 0 {
		t.Errorf("%v", none)
	}
	if none, _ := list("?state=succeeded,failed"); len(none) != 0 {
		t.Errorf("%v", none)
	}
	for query, parameter := range map[string]string{
		"?limit=0": "limit", "?limit=101": "limit", "?state=done": "state", "?after=x": "after", "?after=" + noJob(): "after", "?adapter=a@v1": "adapter", "?x=1": "x",
	} {
		if p := w.do(http.MethodGet, "/v1/jobs"+query, "").problem(t, 422, codeInvalid); p.Errors[0].Parameter != parameter {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

// Everything about jobs and data sets needs an admin key, but to give feedback.
func TestTrainingScopes(t *testing.T) {
	w := openWorkshop(t, newPacer(1), withKeys(t, []string{inferKey}, []string{adminKey}))
	for _, call := range []string{
		"POST /v1/adapters/a/train", "GET /v1/jobs", "GET /v1/jobs/x", "DELETE /v1/jobs/x", "GET /v1/jobs/x/events", "POST /v1/jobs/x/cancel",
		"POST /v1/jobs/x/pause", "POST /v1/jobs/x/resume", "POST /v1/jobs/x/retry", "GET /v1/datasets", "POST /v1/datasets", "GET /v1/datasets/x",
		"DELETE /v1/datasets/x", "GET /v1/feedback", "DELETE /v1/feedback/x",
	} {
		method, path, _ := strings.Cut(call, " ")
		w.do(method, path, "").problem(t, 401, "unauthorized")
		w.do(method, path, "", "Authorization", "Bearer "+inferKey).problem(t, 403, "forbidden")
		if method != http.MethodGet {
			w.do(method, path, "", "Authorization", "Bearer "+adminKey, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site").problem(t, 403, "cross_origin")
		}
	}
	feedback := `{"text":"x","adapter":"base","label":"positive"}`
	w.do(http.MethodPost, "/v1/feedback", feedback, "Content-Type", typeJSON).problem(t, 401, "unauthorized")
	w.get(w.do(http.MethodPost, "/v1/feedback", feedback, "Content-Type", typeJSON, "Authorization", "Bearer "+inferKey), 201, nil)
	w.do(http.MethodPost, "/v1/feedback", feedback, "Content-Type", typeJSON, "Authorization", "Bearer "+inferKey, "Sec-Fetch-Site", "cross-site").problem(t, 403, "cross_origin")
}
