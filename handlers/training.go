package handlers

import (
	"context"
	"io"
	"iter"

	"valence/adapters/datasets"
	"valence/adapters/datasets/table"
	"valence/adapters/jobs"
)

// Jobs runs trainings. It is met by *jobs.Manager.
//
// A request's Data names data sets that are kept: Dataset and Validation are their ids,
// Digest is Dataset, and Blobs are the files of both. Examples and feedback become data
// sets first. Pointers of a trainer's findings are into the Spec, whose fields are
// called as those of the request's body, or "/data".
type Jobs interface {
	// Plan says what a request would mean.
	Plan(ctx context.Context, r jobs.Request) (jobs.Plan, error)
	// Submit queues a training; replay says that it is that of an earlier request with the
	// same key.
	Submit(ctx context.Context, r jobs.Request) (job jobs.Job, replay bool, err error)
	// Submitted gives the job of an earlier request with a key.
	Submitted(ctx context.Context, key, fingerprint string) (jobs.Job, error)
	Get(ctx context.Context, id string) (jobs.Job, error)
	List(ctx context.Context, f jobs.Filter) ([]jobs.Job, error)
	// Events gives those after a sequence, and Follow each as it happens, too.
	Events(ctx context.Context, id string, after int64, limit int) ([]jobs.Event, error)
	Follow(ctx context.Context, id string, after int64) iter.Seq2[jobs.Event, error]
	// Metrics gives the reports of whole epochs.
	Metrics(ctx context.Context, id string) ([]jobs.Progress, error)
	Pause(ctx context.Context, id string) (jobs.Job, error)
	Resume(ctx context.Context, id string) (jobs.Job, error)
	Cancel(ctx context.Context, id string) (jobs.Job, error)
	Retry(ctx context.Context, id string) (jobs.Job, error)
	Delete(ctx context.Context, id string) error
}

// Datasets keeps labelled texts and feedback. It is met by *datasets.Store.
type Datasets interface {
	Put(ctx context.Context, name string, format table.Format, r io.Reader, m datasets.Mapping) (datasets.Dataset, error)
	// Draft gives what Put would keep, to be looked at first, and DraftRemap the data set of
	// the same file with another mapping.
	Draft(ctx context.Context, name string, format table.Format, r io.Reader, m datasets.Mapping) (*datasets.Draft, error)
	DraftRemap(ctx context.Context, id string, m datasets.Mapping) (*datasets.Draft, error)
	Get(ctx context.Context, id string) (datasets.Dataset, error)
	List(ctx context.Context) ([]datasets.Dataset, error)
	Delete(ctx context.Context, id string) error
	AddFeedback(ctx context.Context, f datasets.Feedback) (datasets.Feedback, error)
	ListFeedback(ctx context.Context, adapter string, after int64, limit int) ([]datasets.Feedback, error)
	DeleteFeedback(ctx context.Context, id string) error
	FeedbackRows(ctx context.Context, adapter string) iter.Seq2[datasets.Row, error]
}
