package bench

import (
	"context"
	"errors"
	"fmt"

	"valence/runtime/mt5"
	"valence/runtime/mt5/spec"
)

// The bars of the adapters question: throughput against that of one adapter for all rows.
const (
	eachOwn  = "every row its own adapter, throughput against one for all"
	rotation = "1,000 adapters in rotation, throughput against one"
)

// Arms of the adapters question.
const (
	armOne      = "64 x 32, one adapter"
	armOwn      = "64 x 32, 64 adapters"
	armRotation = "64 x 32, the next 64 of 1,000 adapters"
)

// many is how many adapters are in rotation; crowd is the rows of a batch; tries is how
// often an arm is timed in a round, the least of which counts.
const (
	many  = 1000
	crowd = 64
	tries = 3
)

func adaptersQuestion() (*Question, asker) {
	return &Question{Name: "adapters", Title: "throughput of the large base with many adapters", Bars: []*Bar{
		{Name: eachOwn, Need: 0.98, Unit: "times"},
		{Name: rotation, Need: 0.97, Unit: "times"},
	}}, askAdapters
}

func askAdapters(ctx context.Context, r *run, q *Question) (err error) {
	base, _, err := r.large(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	adapters, err := makeAdapters(base.Config, many, 11)
	if err != nil {
		return err
	}
	m, err := r.load(ctx, base, "auto")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx))) }()
	if err := base.Close(); err != nil {
		return err
	}
	q.note("auto is " + m.Precision())
	r.doing("reading a token with each of %d adapters", many)
	next := rotate(base.Config, adapters)
	for range many/crowd + 1 { // from now on the table holds what was used last, as in a long run
		if err := next(2).score(ctx, m); err != nil {
			return err
		}
	}
	_, slots := m.Copies()
	q.note(fmt.Sprintf("the table on the device has room for %d adapters", slots))
	one := makeBatch(base.Config, crowd, 32, adapters[:1], 1)
	own := makeBatch(base.Config, crowd, 32, adapters[:crowd], 1)
	return r.compareClosely(ctx, q, tries, []arm{
		{armOne, "ms", func(ctx context.Context) (float64, error) {
			return timed(1, func() error { return one.score(ctx, m) })
		}},
		{armOwn, "ms", func(ctx context.Context) (float64, error) {
			// Their vectors are brought to the device first: here it is asked what reading with
			// them costs, and the rotation tells what fetching does.
			if err := touch(ctx, base.Config, m, adapters[:crowd]); err != nil {
				return 0, err
			}
			return timed(1, func() error { return own.score(ctx, m) })
		}},
		{armRotation, "ms", func(ctx context.Context) (float64, error) {
			batch := next(32)
			return timed(1, func() error { return batch.score(ctx, m) })
		}},
	}, func(got figures) {
		q.figure(eachOwn, got[armOne]/got[armOwn])
		q.figure(rotation, got[armOne]/got[armRotation])
	})
}

// touch reads a token with each adapter.
func touch(ctx context.Context, config *spec.Config, m *mt5.Model, adapters []*spec.Vectors) error {
	return makeBatch(config, len(adapters), 2, adapters, 2).score(ctx, m)
}

// rotate gives a function that makes rows of so many tokens with the next of all adapters, round
// and round.
func rotate(config *spec.Config, adapters []*spec.Vectors) func(tokens int) batch {
	at := 0
	return func(tokens int) batch {
		turn := make([]*spec.Vectors, crowd)
		for i := range turn {
			turn[i] = adapters[(at+i)%len(adapters)]
		}
		at += crowd
		return makeBatch(config, crowd, tokens, turn, 1)
	}
}
