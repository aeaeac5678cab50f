package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Dataset is a file of labelled texts that a server keeps.
type Dataset struct {
	ID     string       `json:"id"`
	Name   string       `json:"name"`
	Rows   int          `json:"rows"`
	Labels []LabelCount `json:"labels"` // the most frequent first
	Report Report       `json:"report"`
}

// LabelCount is how many rows have a label.
type LabelCount struct {
	Label string `json:"label"`
	Rows  int    `json:"rows"`
}

// Report is what a data set's rows tell as a whole.
type Report struct {
	Dropped struct {
		Empty    int `json:"empty"`
		Unmapped int `json:"unmapped"`
	} `json:"dropped"`
	Duplicates struct {
		Exact int `json:"exact"`
		Near  int `json:"near"`
	} `json:"duplicates"`
	Conflicts struct {
		Rows int `json:"rows"`
	} `json:"conflicts"`
}

// UploadDataset sends a file. The query says how it is to be read, as the contract has
// it; a "name" is needed there. The same file again gives the data set that is there.
func (c *Client) UploadDataset(ctx context.Context, path string, query url.Values) (*Dataset, error) {
	out := &Dataset{}
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/datasets", query: query, media: "application/octet-stream", file: path}, out)
	return out, err
}

// TrainRequest asks for a training. Zero values leave the choice to the server.
type TrainRequest struct {
	Data            TrainData         `json:"data"`
	Validation      *Validation       `json:"validation,omitzero"`
	Objective       string            `json:"objective,omitzero"`
	Epochs          int               `json:"epochs,omitzero"`
	BatchSize       int               `json:"batch_size,omitzero"`
	LearningRate    float64           `json:"learning_rate,omitzero"`
	Seed            int64             `json:"seed,omitzero"`
	Dropout         bool              `json:"dropout,omitzero"`
	ClassWeights    bool              `json:"class_weights,omitzero"`
	EarlyStop       int               `json:"early_stop,omitzero"`
	MaxTokens       int               `json:"max_tokens,omitzero"`
	WarmStartFrom   string            `json:"warm_start_from,omitzero"`
	Sweep           *Sweep            `json:"sweep,omitzero"`
	CrossValidation int               `json:"cross_validation,omitzero"`
	Verbalisers     map[string]string `json:"verbalisers,omitempty"`
	Activate        string            `json:"activate,omitzero"`
	Push            *TrainPush        `json:"push,omitzero"`
	DryRun          bool              `json:"dry_run,omitzero"`
}

// TrainData says what is learnt from: a data set, or feedback.
type TrainData struct {
	Dataset  string `json:"dataset,omitzero"`
	Feedback bool   `json:"feedback,omitzero"`
}

// Validation says which rows are measured on: a part of the data, or a data set.
type Validation struct {
	Split   *float64 `json:"split,omitzero"` // 0 measures on none
	Dataset string   `json:"dataset,omitzero"`
}

// Sweep lists values to try.
type Sweep struct {
	LearningRate []float64 `json:"learning_rate,omitempty"`
	Seed         []int64   `json:"seed,omitempty"`
}

// TrainPush says where on the Hub the version goes.
type TrainPush struct {
	Repo    string `json:"repo"`
	Private bool   `json:"private,omitzero"`
}

// Train queues a training. The key makes it the same job however often it is asked for.
func (c *Client) Train(ctx context.Context, adapter string, r TrainRequest, key string) (*Job, error) {
	out := &Job{}
	return out, c.train(ctx, adapter, r, key, out)
}

// Plan tells what a training would mean.
func (c *Client) Plan(ctx context.Context, adapter string, r TrainRequest) (*Plan, error) {
	r.DryRun = true
	out := struct {
		Plan Plan `json:"plan"`
	}{}
	return &out.Plan, c.train(ctx, adapter, r, "", &out)
}

func (c *Client) train(ctx context.Context, adapter string, r TrainRequest, key string, out any) error {
	call, err := post(adapterPath(adapter, "/train"), r)
	if err != nil {
		return err
	}
	call.key = key
	_, err = c.do(ctx, call, out)
	return err
}

// Plan is what a training would do.
type Plan struct {
	Rows      int          `json:"rows"`
	Labels    []LabelCount `json:"labels"`
	Truncated int          `json:"truncated"`
	Tokens    struct {
		Mean   float64 `json:"mean"`
		Median int     `json:"p50"`
		P95    int     `json:"p95"`
		Max    int     `json:"max"`
	} `json:"tokens"`
	Runs []struct {
		Train      int `json:"train"`
		Validation int `json:"validation"`
	} `json:"runs"`
	Steps      int           `json:"steps"` // of the run with the most
	Parameters int           `json:"parameters"`
	Seconds    float64       `json:"seconds"` // at the present load
	Findings   []PlanFinding `json:"findings"`
}

// PlanFinding is something about the data that its owner should know.
type PlanFinding struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Count   int    `json:"count"`
}

// Job is a training as it stands.
type Job struct {
	ID        string         `json:"id"`
	Adapter   string         `json:"adapter"`
	State     string         `json:"state"`
	Waiting   string         `json:"waiting"`
	Version   string         `json:"version"`
	Digest    string         `json:"digest"`
	Activated bool           `json:"activated"`
	Created   time.Time      `json:"created"`
	Started   time.Time      `json:"started"`
	Finished  time.Time      `json:"finished"`
	Error     *JobError      `json:"error"`
	Result    *RunMetrics    `json:"result"`
	Raw       jsontext.Value `json:"-"` // all of it
}

// UnmarshalJSON keeps the text beside what is read of it.
func (j *Job) UnmarshalJSON(data []byte) error {
	type job Job // without this method
	if err := json.Unmarshal(data, (*job)(j)); err != nil {
		return err
	}
	j.Raw = jsontext.Value(data).Clone()
	return nil
}

// Final says that nothing happens to the job any more.
func (j *Job) Final() bool { return finalState(j.State) }

func finalState(s string) bool { return s == "succeeded" || s == "failed" || s == "cancelled" }

// JobError says why a job failed.
type JobError struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Phase    string `json:"phase"`
	Findings []struct {
		Pointer string `json:"pointer"`
		Row     int    `json:"row"`
		Message string `json:"message"`
	} `json:"findings"`
}

// RunMetrics is a run after an epoch, or at its end.
type RunMetrics struct {
	Run            int          `json:"run"`
	LearningRate   float64      `json:"learning_rate"`
	Seed           uint64       `json:"seed"`
	Fold           *int         `json:"fold"`
	Epoch          int          `json:"epoch"`
	TrainLoss      float64      `json:"train_loss"`
	ValidationLoss float64      `json:"validation_loss"`
	Rows           int          `json:"validation_rows"`
	Accuracy       float64      `json:"accuracy"`
	MacroF1        float64      `json:"macro_f1"`
	ECE            float64      `json:"ece"`
	Failure        string       `json:"failure"`
	Runs           []RunMetrics `json:"runs"` // of all, where there are several
}

// Job asks for a job as it stands.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	out := &Job{}
	_, err := c.do(ctx, call{method: http.MethodGet, path: jobPath(id, "")}, out)
	return out, err
}

// Cancel ends a job.
func (c *Client) Cancel(ctx context.Context, id string) (*Job, error) {
	return c.control(ctx, id, "/cancel")
}

// Pause holds a job.
func (c *Client) Pause(ctx context.Context, id string) (*Job, error) {
	return c.control(ctx, id, "/pause")
}

// Resume lets a paused job go on.
func (c *Client) Resume(ctx context.Context, id string) (*Job, error) {
	return c.control(ctx, id, "/resume")
}

// Retry lets a failed or cancelled job go on.
func (c *Client) Retry(ctx context.Context, id string) (*Job, error) {
	return c.control(ctx, id, "/retry")
}

func (c *Client) control(ctx context.Context, id, action string) (*Job, error) {
	out := &Job{}
	_, err := c.do(ctx, call{method: http.MethodPost, path: jobPath(id, action)}, out)
	return out, err
}

func jobPath(id, action string) string { return "/v1/jobs/" + url.PathEscape(id) + action }

// openBody opens the file of a call and gives its size.
func (call *call) openBody() (*os.File, int64, error) {
	f, err := os.Open(call.file)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", call.file)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
