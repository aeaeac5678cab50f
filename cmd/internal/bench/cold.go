package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"valence/adapters/peft"
	"valence/cmd/internal/client"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
)

// The bars of the cold question.
const (
	coldLarge = "large base, first answer of an adapter from the store, p50 above a warm one"
	coldSmall = "builtin base, first answer of an adapter from the store, p50 above a warm one"
)

// visitors are how many adapters take turns; the server's memory holds the last few.
const (
	visitors  = 24
	remembers = 4
	pairs     = 24 // of a cold and a warm answer, in a round
)

func coldQuestion() (*Question, asker) {
	return &Question{Name: "cold", Title: "an adapter that is not in memory, over HTTP", Bars: []*Bar{
		{Name: coldLarge, Need: 3, AtMost: true, Unit: "ms"},
		{Name: coldSmall, Need: 3, AtMost: true, Unit: "ms"},
	}}, askCold
}

func askCold(ctx context.Context, r *run, q *Question) error {
	small, _, err := r.small()
	if err != nil {
		return err
	}
	err = r.cold(ctx, q, small, "builtin", "builtin base", coldSmall)
	if err = errors.Join(err, small.Close()); err != nil {
		return fmt.Errorf("builtin base: %w", err)
	}
	large, folder, err := r.large(ctx)
	if err != nil {
		return err
	}
	err = r.cold(ctx, q, large, folder, "large base", coldLarge)
	if err = errors.Join(err, large.Close()); err != nil {
		return fmt.Errorf("large base: %w", err)
	}
	return nil
}

// cold asks adapters in rotation, each twice: the first answer waits for the store, the
// second does not.
func (r *run) cold(ctx context.Context, q *Question, base *checkpoint.Checkpoint, folder, name, bar string) (err error) {
	if err := errors.Join(r.lock.release(), r.lock.time(ctx)); err != nil {
		return err
	}
	r.doing("starting a server with the %s", name)
	bytes := 4 * spec.Total(base.Config.DefaultSites())
	s, err := r.serve(ctx, folder, "--cache-bytes", strconv.Itoa(remembers*bytes+bytes/2))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	ids, err := uploadVisitors(ctx, s.api, base.Config)
	if err != nil {
		return err
	}
	q.note(fmt.Sprintf("%s: %d adapters of %d bytes take turns, the server remembers %d", name, visitors, bytes, remembers))
	asked := 0
	misses, err := s.misses(ctx)
	if err != nil {
		return err
	}
	warm := 0.0
	cold := arm{name + ", cold, p50", "ms", func(ctx context.Context) (float64, error) {
		var first, second []float64
		for range pairs {
			id := ids[asked%len(ids)]
			asked++
			for _, into := range []*[]float64{&first, &second} {
				ms, err := askOnce(ctx, s.api, id)
				if err != nil {
					return 0, err
				}
				*into = append(*into, ms)
			}
		}
		warm = median(second)
		return median(first), nil
	}}
	if err := r.compare(ctx, q, []arm{cold}, func(got figures) {
		q.add(name+", warm, p50", "ms", warm)
		q.figure(bar, got[cold.name]-warm)
	}); err != nil {
		return err
	}
	after, err := s.misses(ctx)
	if err == nil && after-misses != float64(asked) {
		err = fmt.Errorf("the server read %v adapters from its store and not %d: what is called cold or warm was not", after-misses, asked)
	}
	return err
}

func uploadVisitors(ctx context.Context, api *client.Client, config *spec.Config) ([]string, error) {
	vectors, err := makeAdapters(config, visitors, 23)
	if err != nil {
		return nil, err
	}
	var ids []string
	for i, v := range vectors {
		folder, err := peft.NewFolder(config, peft.DefaultConfig(config), v, nil)
		if err != nil {
			return nil, err
		}
		files, err := folder.Encode()
		if err != nil {
			return nil, err
		}
		ids = append(ids, fmt.Sprintf("bench/visitor-%d", i))
		if _, err := api.Upload(ctx, ids[i], files, true); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// askOnce gives the time of one fresh answer in milliseconds.
func askOnce(ctx context.Context, api *client.Client, id string) (float64, error) {
	start := time.Now()
	_, err := api.Sentiment(ctx, client.Request{Inputs: []client.Input{{Text: shortText, Adapter: client.One(id)}}})
	return milliseconds(time.Since(start)), err
}

// misses is how many leases have waited for the store.
func (s *server) misses(ctx context.Context) (float64, error) {
	m, err := s.api.Metrics(ctx)
	return m["valence_adapter_cache_misses_total"], err
}
