package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"valence/runtime/torch"
)

// run is what the questions share.
type run struct {
	o      Options
	report *Report
	dir    string // for this run alone
	device torch.Device
	thread *torch.Thread
	lock   *turn
	asking string // name of the question
}

// Run asks the questions one after another. What fails is told in the report, and the
// others are asked all the same; the error is that of ctx or of what all of them need.
// Once a question is asked there is a report beside an error, too; before it is nil.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r := &run{o: o, report: &Report{
		Format: 1, Began: time.Now().UTC().Truncate(time.Second), Machine: thisMachine(o.Threads), Shape: o.Large, Rounds: o.Rounds,
		Versions: Versions{Valence: o.Version, Libtorch: torch.Version(), Go: runtime.Version()},
	}}
	if r.dir, err = os.MkdirTemp("", "valence-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	r.lock = newTurn(o.Lock)
	if r.device, err = o.device(); err != nil {
		return nil, err
	}
	if r.device.IsCUDA() {
		r.report.Machine.Device = gpu(r.device)
	}
	r.thread = torch.Start(torch.Options{Device: r.device, Threads: o.Threads})
	defer func() { err = errors.Join(err, r.thread.Close()) }()
	if err := r.learnVersions(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	err = r.all(ctx)
	r.report.count()
	r.report.Seconds = time.Since(start).Seconds()
	return r.report, err
}

func (r *run) all(ctx context.Context) error {
	r.o.Started(r.report)
	for _, make := range questions(r.device) {
		q, ask := make()
		if !r.o.asked(q.Name) || ask == nil {
			r.report.LeftOut = append(r.report.LeftOut, q.Name)
			continue
		}
		r.report.Questions = append(r.report.Questions, q)
		err := r.ask(ctx, q, ask)
		r.o.Done(q)
		if err != nil {
			return err
		}
	}
	return nil
}

// ask answers one question. The error is that of ctx alone.
func (r *run) ask(ctx context.Context, q *Question, ask asker) error {
	r.asking = q.Name
	start := time.Now()
	err := errors.Join(ask(ctx, r, q), r.lock.release())
	q.Seconds = time.Since(start).Seconds()
	if err != nil {
		q.Error = err.Error()
	}
	for _, b := range q.Bars {
		if !b.measured() && b.Peers && r.o.Python == "" {
			b.Why = "it takes the peers, which --no-peers leaves out"
		}
	}
	q.judge("the question did not get that far")
	if err != nil {
		q.cutShort(r.o.Rounds)
	}
	return ctx.Err()
}

// learnVersions asks the peers for theirs, so that what is missing is told at once.
func (r *run) learnVersions(ctx context.Context) error {
	if r.o.Python == "" {
		return nil
	}
	p, err := r.startPeer(ctx, "load", r.dir)
	if err != nil {
		return fmt.Errorf("%w\n\"make bench\" installs the peers; --no-peers measures without them", err)
	}
	return p.stop()
}

func (r *run) doing(format string, args ...any) {
	if r.o.Progress != nil {
		r.o.Progress(r.asking, fmt.Sprintf(format, args...))
	}
}
