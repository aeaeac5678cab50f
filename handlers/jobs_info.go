package handlers

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"valence/adapters/jobs"
)

// jobList answers GET /v1/jobs.
type jobList struct {
	Jobs []jobInfo `json:"jobs"`          // the newest first
	Next string    `json:"next,omitzero"` // "after" of the next page; none of the last one
}

// jobInfo is a job as it stands.
type jobInfo struct {
	ID        string         `json:"id"`
	Adapter   string         `json:"adapter"`
	State     jobs.State     `json:"state"`
	Phase     jobs.State     `json:"phase"`
	Working   bool           `json:"working"`
	Waiting   string         `json:"waiting,omitzero"`
	Settings  jobs.Spec      `json:"settings"`
	Data      jobData        `json:"data"`
	Base      string         `json:"base"`
	Plan      jsontext.Value `json:"plan,omitzero"`
	Progress  *jobs.Progress `json:"progress,omitzero"` // none before the first step
	Result    jsontext.Value `json:"result,omitzero"`
	Digest    string         `json:"digest,omitzero"`
	Version   string         `json:"version,omitzero"`
	Activated bool           `json:"activated"`
	Error     *jobs.Failure  `json:"error,omitzero"`
	Created   time.Time      `json:"created"`
	Started   time.Time      `json:"started,omitzero"`
	Finished  time.Time      `json:"finished,omitzero"`
	Events    int64          `json:"events"`
}

// jobData is what a job trains on.
type jobData struct {
	Dataset    string `json:"dataset"`
	Validation string `json:"validation,omitzero"`
	Digest     string `json:"digest"`
}

// jobDetail answers GET /v1/jobs/{id} and what is done to a job.
type jobDetail struct {
	jobInfo
	Metrics []jobs.Progress `json:"metrics"` // of each epoch
}

func jobInfoOf(j jobs.Job) jobInfo {
	out := jobInfo{
		ID: j.ID, Adapter: j.Adapter, State: j.State, Phase: j.Phase, Working: j.Working, Waiting: j.Waiting,
		Settings: j.Spec, Data: jobData{j.Data.Dataset, j.Data.Validation, j.Data.Digest}, Base: j.Base,
		Plan: j.Plan, Result: j.Metrics, Digest: j.Digest, Version: j.Version, Activated: j.Activated, Error: j.Failure,
		Created: j.Created, Started: j.Started, Finished: j.Finished, Events: j.Events,
	}
	if j.Progress.Steps > 0 {
		out.Progress = &j.Progress
	}
	return out
}

func jobDetailOf(j jobs.Job, epochs []jobs.Progress) jobDetail {
	if epochs == nil {
		epochs = []jobs.Progress{}
	}
	return jobDetail{jobInfoOf(j), epochs}
}

// queuedJob is a job as it was when it was queued: the answer to the request that made
// it, however often that comes.
func queuedJob(j jobs.Job) jobDetail {
	return jobDetailOf(jobs.Job{
		ID: j.ID, Adapter: j.Adapter, State: jobs.Queued, Phase: jobs.Queued, Spec: j.Spec, Data: j.Data, Base: j.Base,
		Created: j.Created, Events: 1,
	}, nil)
}
