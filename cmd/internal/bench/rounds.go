package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// arm is one side of a comparison. measure gives its figure, in unit, once.
type arm struct {
	name    string
	unit    string
	measure func(ctx context.Context) (float64, error)
}

// figures are those of one round, by the arms' names.
type figures map[string]float64

// settle is waited between two arms: the threads of a peer spin for a while after their
// work.
const settle = 250 * time.Millisecond

// compare measures the arms in turns: all once a round, every second time the other way
// round, so that neither what came before nor a slow drift favours one. judge hears of each
// round. The first time of each arm warms up and does not count.
func (r *run) compare(ctx context.Context, q *Question, arms []arm, judge func(figures)) error {
	return r.compareClosely(ctx, q, 1, arms, judge)
}

// compareClosely is compare with so many turns in each round, of which each arm's least counts:
// for bars that are nearer to 1 than what another tenant of the machine takes for some seconds.
func (r *run) compareClosely(ctx context.Context, q *Question, turns int, arms []arm, judge func(figures)) error {
	if err := r.lock.time(ctx); err != nil {
		return err
	}
	for _, a := range arms {
		r.doing("%s: warming up", a.name)
		if _, err := a.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	for round := range r.o.Rounds {
		got := figures{}
		for turn := range turns {
			now, err := r.round(ctx, round, turn, arms)
			if err != nil {
				return err
			}
			for name, value := range now {
				if before, ok := got[name]; !ok || value < before {
					got[name] = value
				}
			}
		}
		for _, a := range arms {
			q.add(a.name, a.unit, got[a.name])
		}
		if judge != nil {
			judge(got)
		}
	}
	return nil
}

func (r *run) round(ctx context.Context, round, turn int, arms []arm) (figures, error) {
	order := slices.Clone(arms)
	if (round+turn)%2 == 1 {
		slices.Reverse(order)
	}
	got := figures{}
	for _, a := range order {
		r.doing("%s: round %d of %d", a.name, round+1, r.o.Rounds)
		if err := sleep(ctx, settle); err != nil {
			return nil, err
		}
		value, err := a.measure(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.name, err)
		}
		got[a.name] = value
	}
	return got, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// timed gives the middle of a few times of f in milliseconds.
func timed(times int, f func() error) (float64, error) {
	all, err := clock(times, f)
	return median(all), err
}

// least gives the least of tries times of f in milliseconds.
func least(f func() error) (float64, error) {
	all, err := clock(tries, f)
	if err != nil {
		return 0, err
	}
	return slices.Min(all), nil
}

func clock(times int, f func() error) ([]float64, error) {
	var all []float64
	for range times {
		start := time.Now()
		if err := f(); err != nil {
			return nil, err
		}
		all = append(all, milliseconds(time.Since(start)))
	}
	return all, nil
}
