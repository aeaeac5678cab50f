package training

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"valence/adapters/jobs"
	"valence/runtime/train"
)

// Segment trains from a checkpoint on; see jobs.Trainer. The segment after the last step
// measures what came out and makes the result.
func (t *Trainer) Segment(ctx context.Context, s jobs.Spec, data jobs.Data, seg jobs.Segment) (jobs.SegmentResult, error) {
	w, err := t.open(ctx, seg.Job, s, data, seg.Checkpoint)
	if err != nil {
		return jobs.SegmentResult{}, err
	}
	if w.trainer.Done() {
		result, err := t.result(ctx, w, seg, s, data)
		return jobs.SegmentResult{Result: result}, err
	}
	seg.Share(w.moment)
	p := &progress{work: w, report: seg.Report}
	done, err := w.trainer.Run(ctx, func() bool { p.flush(); return seg.Stop() }, p.add)
	if err != nil {
		return jobs.SegmentResult{}, err
	}
	p.flush()
	checkpoint, err := w.checkpoint()
	if err != nil {
		return jobs.SegmentResult{}, err
	}
	if done {
		if err := diverged(w.trainer.Result(), seg); err != nil {
			return jobs.SegmentResult{Checkpoint: checkpoint}, err
		}
	}
	t.leave(w, checkpoint)
	return jobs.SegmentResult{Checkpoint: checkpoint, Trained: done}, nil
}

// diverged is an error where no run came to an end with numbers. It tells of the run that
// went furthest, whose vectors the job keeps.
func diverged(r *train.Result, seg jobs.Segment) error {
	if r.Best >= 0 {
		return nil
	}
	lead := furthest(r)
	f := r.Runs[lead].Failure
	var b strings.Builder
	if n := len(r.Runs); n > 1 {
		fmt.Fprintf(&b, "all %d runs, the last ", n)
	}
	fmt.Fprintf(&b, "at step %d", f.Step)
	if len(f.Rows) > 0 {
		fmt.Fprintf(&b, " (row %d)", f.Rows[0])
	}
	fmt.Fprintf(&b, ": %s", f.Reason)
	if r.Runs[lead].Steps > 0 {
		fmt.Fprintf(&b, "; what was learnt before that step answers as %s@job:%s", seg.Adapter, seg.Job)
	}
	return &jobs.DivergedError{Step: f.Step, Reason: b.String()}
}

// furthest is the run that has taken the most steps.
func furthest(r *train.Result) int {
	best := 0
	for i := range r.Runs {
		if r.Runs[i].Steps > r.Runs[best].Steps {
			best = i
		}
	}
	return best
}

// Live gives the vectors that a checkpoint holds; see jobs.Trainer.
func (t *Trainer) Live(ctx context.Context, s jobs.Spec, data jobs.Data, checkpoint []byte) (jobs.Live, error) {
	sum := sha256.Sum256(checkpoint)
	if live, ok, err := t.known(ctx, sum); ok {
		return live, err
	}
	w, err := t.open(ctx, "", s, data, checkpoint)
	if err != nil {
		return jobs.Live{}, err
	}
	live, err := w.moment(ctx)
	if err == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.seen = seen{sum, live}
	}
	return live, err
}

// seen is what a checkpoint holds. A job that rests is asked for often, and to read a
// checkpoint takes its data.
type seen struct {
	at   [sha256.Size]byte
	live jobs.Live
}

// known gives the vectors of a checkpoint that was left or read just before.
func (t *Trainer) known(ctx context.Context, at [sha256.Size]byte) (live jobs.Live, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.last != nil && t.last.at == at:
		live, err = t.last.moment(ctx)
		return live, true, err
	case t.seen.at == at && t.seen.live.Vectors != nil:
		return t.seen.live, true, nil
	}
	return jobs.Live{}, false, nil
}
