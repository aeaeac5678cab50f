package jobs

import "context"

// Trainer trains. It must be deterministic: the same spec and data give the same steps
// and the same result, however they are cut into segments. Its methods may be called for
// several jobs at once.
type Trainer interface {
	// Check says whether an adapter can get such a version. Its error is an *InvalidError
	// where the request or its data is at fault. A caller waits for it.
	Check(ctx context.Context, adapter string, spec Spec, data Data) error
	// Plan checks the same, and says what the training would mean; that may take as long as
	// a step.
	Plan(ctx context.Context, adapter string, spec Spec, data Data) (Plan, error)
	// Segment goes on from a checkpoint until all is done or until s.Stop says to stop,
	// which it asks after each step. An error or a panic fails the job, which can be
	// retried from its last checkpoint. A checkpoint beside an error that wraps ErrDiverged
	// is kept: it holds what was learnt before.
	Segment(ctx context.Context, spec Spec, data Data, s Segment) (SegmentResult, error)
	// Live gives the vectors that a checkpoint holds.
	Live(ctx context.Context, spec Spec, data Data, checkpoint []byte) (Live, error)
}

// Segment is a part of a training, as its trainer sees it.
type Segment struct {
	Job        string         // id
	Adapter    string         // id of the adapter that gets the version
	Checkpoint []byte         // to go on from; nil is the start
	Stop       func() bool    // cheap; true when the segment is to end at this step
	Report     func(Progress) // to be called after each step; returns at once
	// Share, which may be called once, tells how to get the vectors of the moment. They
	// are asked for from other goroutines, and not after Segment has returned.
	Share func(live func(context.Context) (Live, error))
}

// SegmentResult is where a segment stopped.
type SegmentResult struct {
	Checkpoint []byte  // to go on from; not nil unless there is a Result
	Trained    bool    // all steps are done, and the next segment evaluates
	Result     *Result // what came out when nothing is left to do, or nil
}

// Live are vectors as they are while they are trained: of the run that is ahead, where
// there are several.
type Live struct {
	Step    int
	Vectors []float32 // in the order of the base's sites
	Sidecar []byte    // the valence.json that they are served with
}

// Publisher makes a version of an adapter out of a result. The same result must give the
// same version, however often it is published: a process may die before it is noted that
// it was.
type Publisher interface {
	Publish(ctx context.Context, job Job, result Result) (version string, activated bool, err error)
}
