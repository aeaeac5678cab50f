package bench

import (
	"context"
	"errors"
)

// warmStart is the bar of the start question.
const warmStart = "start of a server with the large base, until it is warm, against from_pretrained"

func startQuestion() (*Question, asker) {
	return &Question{Name: "start", Title: "a start with the large base whose files were read before, beside transformers", Bars: []*Bar{
		{Name: warmStart, Need: 0.2, AtMost: true, Unit: "times", Peers: true},
	}}, askStart
}

// askStart times whole starts, from the first instruction of the program to the first
// readiness; transformers' imports are not counted.
func askStart(ctx context.Context, r *run, q *Question) (err error) {
	base, folder, err := r.large(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(base.Close(), r.lock.time(ctx)); err != nil {
		return err
	}
	ours := arm{"Valence, from start to ready", "ms", func(ctx context.Context) (float64, error) {
		s, err := r.serve(ctx, folder)
		if err != nil {
			return 0, err
		}
		return milliseconds(s.ready), s.stop()
	}}
	if r.o.Python == "" {
		return r.compare(ctx, q, []arm{ours}, nil)
	}
	p, err := r.startPeer(ctx, "load", folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	theirs := arm{"transformers, from_pretrained", "ms", func(context.Context) (float64, error) {
		got, err := p.ask(map[string]any{"op": "load"})
		return got.Seconds * 1e3, err
	}}
	return r.compare(ctx, q, []arm{theirs, ours}, func(got figures) { q.figure(warmStart, got[ours.name]/got[theirs.name]) })
}
