package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"valence/adapters"
	"valence/runtime/mt5"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
	"valence/runtime/tokenizer"
)

// The bars of the http question.
const (
	overHTTP = "one short text over HTTP, p50, against the bare forward at the same pace"
	keptRate = "kept answers a second, sustained, against 3,000"
)

// Arms of the http question. A forward that comes after a rest is slower than one after
// another: the cores have slept, and the caches hold other things. Each pace over HTTP is
// held against the same pace of the bare forward.
const (
	armBare     = "bare forward of one short text, one after the other, p50"
	armBareCalm = "bare forward of one short text, 20 a second, p50"
	armHTTP     = "the same over HTTP, one after the other, p50"
	armHTTPCalm = "the same over HTTP, 20 a second in an open loop, p50"
	armTail     = "the same over HTTP, 20 a second, p99"
	armKept     = "kept answers, sustained"
)

// keptNeed is what keptRate is taken of.
const keptNeed = 3000

// shortText is asked.
const shortText = "I love this phone, the camera is wonderful."

func httpQuestion() (*Question, asker) {
	return &Question{Name: "http", Title: "the builtin base behind HTTP, asked in an open loop", Bars: []*Bar{
		{Name: overHTTP, Need: 1.5, AtMost: true, Unit: "times"},
		{Name: keptRate, Need: 1, Unit: "times"},
	}}, askHTTP
}

func askHTTP(ctx context.Context, r *run, q *Question) (err error) {
	base, _, err := r.small()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	m, err := r.load(ctx, base, "auto")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx))) }()
	b, err := shortBatch(base)
	if err != nil {
		return err
	}
	r.doing("starting a server")
	s, err := r.serve(ctx, "builtin")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	q.note(fmt.Sprintf("auto is %s; the generator of the load and the server share the cores", m.Precision()))
	if err := r.compare(ctx, q, []arm{bareArm(b, m), bareCalmArm(b, m), httpArm(s), httpCalmArm(q, s)}, func(got figures) {
		q.figure(overHTTP, max(got[armHTTP]/got[armBare], got[armHTTPCalm]/got[armBareCalm]))
	}); err != nil {
		return err
	}
	return r.compare(ctx, q, []arm{keptArm(s)}, func(got figures) { q.figure(keptRate, got[armKept]/keptNeed) })
}

// shortBatch is the short text as the server reads it.
func shortBatch(base *checkpoint.Checkpoint) (b batch, err error) {
	tok, err := tokenizer.Parse(base.Tokenizer)
	if err != nil {
		return b, err
	}
	side, err := adapters.ParseSidecar(base.Sidecar)
	if err != nil {
		return b, err
	}
	enc, err := tok.Encode(shortText, tokenizer.Options{AddSpecial: true})
	if err != nil {
		return b, err
	}
	var paths [][]int32
	for _, l := range side.Labels {
		path, err := tok.Encode(l.Verbaliser, tokenizer.Options{AddSpecial: true})
		if err != nil {
			return b, err
		}
		paths = append(paths, path.IDs)
	}
	b.rows = &spec.Batch{IDs: [][]int32{enc.IDs}, Adapters: make([]*spec.Vectors, 1)}
	for _, node := range spec.NewTrie(paths).Nodes {
		b.probes = append(b.probes, spec.Probe{Prefix: node.Prefix, Next: node.Next})
	}
	return b, nil
}

// Load of the comparison: so many requests, at a rate far below what a server can do, so
// that the time of one is measured and not that of a queue.
const (
	calmRate = 20 // a second
	calmTime = 4 * time.Second
	calmAsks = int(calmRate * calmTime / time.Second)
)

// oneByOne stands for the rate of one request after the other.
const oneByOne = 0

func bareArm(b batch, m *mt5.Model) arm {
	return arm{armBare, "ms", func(ctx context.Context) (float64, error) {
		return timed(calmAsks, func() error { return b.score(ctx, m) })
	}}
}

func bareCalmArm(b batch, m *mt5.Model) arm {
	return arm{armBareCalm, "ms", func(ctx context.Context) (float64, error) {
		var all []float64
		next := time.NewTicker(time.Second / calmRate)
		defer next.Stop()
		for range calmAsks {
			select {
			case <-next.C:
			case <-ctx.Done():
				return 0, ctx.Err()
			}
			one, err := clock(1, func() error { return b.score(ctx, m) })
			if err != nil {
				return 0, err
			}
			all = append(all, one...)
		}
		return median(all), nil
	}}
}

func httpArm(s *server) arm {
	return arm{armHTTP, "ms", func(ctx context.Context) (float64, error) {
		got, err := attack(ctx, s.url, true, oneByOne, calmTime/4)
		if err != nil {
			return 0, err
		}
		return milliseconds(got.Latencies.P50), nil
	}}
}

func httpCalmArm(q *Question, s *server) arm {
	return arm{armHTTPCalm, "ms", func(ctx context.Context) (float64, error) {
		got, err := attack(ctx, s.url, true, calmRate, calmTime)
		if err != nil {
			return 0, err
		}
		q.add(armTail, "ms", milliseconds(got.Latencies.P99))
		return milliseconds(got.Latencies.P50), nil
	}}
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// attack asks for the short text in an open loop: requests leave when they are due, whether
// or not those before have come back, but for oneByOne. Any answer but 200 is an error.
func attack(ctx context.Context, url string, fresh bool, rate int, d time.Duration) (*vegeta.Metrics, error) {
	body, err := json.Marshal(map[string]string{"text": shortText})
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if fresh {
		header.Set("Cache-Control", "no-cache")
	}
	targets := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodPost, URL: url + "/v1/sentiment", Body: body, Header: header})
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	defer transport.CloseIdleConnections() // those of many attacks would add up at the server
	attacker := vegeta.NewAttacker(vegeta.Client(&http.Client{Transport: transport, Timeout: 30 * time.Second}))
	if rate == oneByOne {
		vegeta.Workers(1)(attacker)
		vegeta.MaxWorkers(1)(attacker)
	}
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	defer stop()
	got := &vegeta.Metrics{}
	for result := range attacker.Attack(targets, vegeta.Rate{Freq: rate, Per: time.Second}, d, "") {
		got.Add(result)
	}
	got.Close()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case got.Success < 1:
		return nil, fmt.Errorf("%.2f %% of %d requests failed at %d a second: %v", 100*(1-got.Success), got.Requests, rate, got.Errors)
	}
	return got, nil
}

// What is called sustained: all are answered, as many a second as are sent, and the wait
// does not grow over the attack. Twice what is needed is enough to know: a machine takes
// some time to come back from much more than it can do. What fails is tried once more,
// since a shared machine stands still now and then.
const (
	keptTime   = 2 * time.Second
	keptStep   = 1.2
	keptMost   = 2 * keptNeed
	keptTail   = 100 * time.Millisecond
	keptBehind = 0.98
)

// keptArm finds the highest rate of requests for a kept answer that is sustained: up or
// down by steps from what is asked.
func keptArm(s *server) arm {
	sustained := func(ctx context.Context, rate int) (bool, error) {
		got, err := attack(ctx, s.url, false, rate, keptTime)
		if err != nil {
			return false, err
		}
		return got.Throughput >= keptBehind*float64(rate) && got.Latencies.P99 <= keptTail, nil
	}
	return arm{armKept, "answers/s", func(ctx context.Context) (float64, error) {
		return highest(keptNeed, keptStep, keptMost, func(rate int) (bool, error) {
			ok, err := sustained(ctx, rate)
			if ok || err != nil {
				return ok, err
			}
			return sustained(ctx, rate)
		})
	}}
}

// highest gives the highest rate that holds, in steps by a factor from start: upwards while
// it holds, else downwards until it does; 0 where nothing does.
func highest(start int, factor float64, most int, holds func(rate int) (bool, error)) (float64, error) {
	rate := float64(start)
	ok, err := holds(start)
	if err != nil {
		return 0, err
	}
	if ok {
		for rate*factor <= float64(most) {
			if ok, err = holds(int(rate * factor)); err != nil || !ok {
				return rate, err
			}
			rate *= factor
		}
		return rate, nil
	}
	for rate /= factor; rate >= 1; rate /= factor {
		if ok, err = holds(int(rate)); err != nil || ok {
			return rate, err
		}
	}
	return 0, nil
}
