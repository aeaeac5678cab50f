// Package conformance proves against a running server what it promises: a row's answer
// is the same alone, in any batch, next to any adapter, and while adapters are loaded,
// evicted, activated, rolled back, deleted and made anew; and it is never the answer of
// another version, another adapter or the base.
//
// It uploads random adapters that answer differently, asks each row alone while the
// server is quiet, and then sends mixed requests from many clients while it changes the
// adapters. What may answer a row is known from when the changes were asked for and
// answered: see timeline.
package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"valence/cmd/internal/client"
)

// Distribution says how rows are spread over adapters.
type Distribution string

// The distributions.
const (
	Zipf    Distribution = "zipf"    // few adapters get most rows: the k-th gets k^-1.1 of what the first gets
	Uniform Distribution = "uniform" // all get as many
)

// Options of Run. All but HubRepo, Lag, Progress and the switches are needed.
type Options struct {
	Adapters     int // how many are made
	Clients      int // how many ask at the same time
	Duration     time.Duration
	Distribution Distribution
	Seed         uint64
	Tolerance    float64 // most that a log-probability may differ
	Spread       float64 // standard deviation of the vectors around 1
	Churn        bool    // change adapters meanwhile
	Blend        bool    // ask for blends and strengths
	Jury         bool    // ask juries
	Keep         bool    // leave the adapters on the server
	Kept         bool    // let the load be answered with what the server has kept, too
	CompareOne   bool    // run the same load on one adapter first
	HubRepo      string  // "owner/name" to pull meanwhile, or ""
	// Lag is how long after a change was answered the state before it may still answer: 0
	// for one server, the time that replicas need to hear of it where several are behind
	// the address.
	Lag time.Duration
	// Progress is told how far a phase is, or nil. It is called by one goroutine at a time.
	Progress func(phase string, done, total int64)
}

// Validate says which option cannot be, by the name of its flag.
func (o *Options) Validate() error {
	switch {
	case o.Adapters < 1 || o.Adapters > 100_000:
		return fmt.Errorf("--adapters is %d; allowed are 1 to 100000", o.Adapters)
	case o.Clients < 1 || o.Clients > 4096:
		return fmt.Errorf("--clients is %d; allowed are 1 to 4096", o.Clients)
	case o.Duration <= 0:
		return fmt.Errorf("--duration is %v; it must be positive", o.Duration)
	case o.Distribution != Zipf && o.Distribution != Uniform:
		return fmt.Errorf("--distribution is %q; allowed are %q and %q", o.Distribution, Zipf, Uniform)
	case !(o.Tolerance > 0 && o.Tolerance < 1):
		return fmt.Errorf("--tolerance is %v; it must lie between 0 and 1", o.Tolerance)
	case !(o.Spread > 0 && o.Spread <= 1):
		return fmt.Errorf("--spread is %v; it must be above 0 and at most 1", o.Spread)
	case o.Lag < 0:
		return fmt.Errorf("--lag is %v; it must not be negative", o.Lag)
	case o.HubRepo != "" && strings.Count(o.HubRepo, "/") != 1:
		return fmt.Errorf("--hub-repo %q is not a repository; write OWNER/NAME", o.HubRepo)
	}
	return nil
}

// owner begins the names of everything that a run makes.
const owner = "conformance-"

// run is one run on its way.
type run struct {
	Options
	api        *client.Client
	prefix     string        // "conformance-<random>/"
	pause      time.Duration // between the changes of one changer, on average
	enough     func() bool   // whether a load may end when its duration is over
	base       *client.Base
	baseDigest string // of the base's answers, which its labels count to
	maker      *maker
	texts      []string
	subjects   []*subject
	references *references
	report     *Report
}

// Run proves the server that to names. The error tells of a run that could not be made
// to its end; the report, or nil, is what was found until then, and says whether the
// server fails: see Report.Failed. What the run made is deleted at the end, also where
// ctx ended, unless Options.Keep.
func Run(ctx context.Context, to client.Options, o Options) (*Report, error) {
	r, err := newRun(to, o)
	if err != nil {
		return nil, err
	}
	return r.all(ctx)
}

func (r *run) all(ctx context.Context) (*Report, error) {
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	before := r.serverFigures(ctx)
	err := r.prove(ctx)
	loaded := r.serverFigures(ctx)
	err = errors.Join(err, r.cleanUp(ctx))
	r.report.setServer(before, loaded, r.serverFigures(ctx))
	return r.report, err
}

func newRun(to client.Options, o Options) (*run, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	r := &run{
		Options: o, prefix: owner + strings.ToLower(rand.Text()[:10]) + "/",
		pause: changePause, enough: func() bool { return true },
	}
	to.Waiting = func(p *client.Problem, _ time.Duration) { r.report.waited(p.Code) }
	var err error
	if r.api, err = client.New(to); err != nil {
		return nil, err
	}
	r.report = newReport(r)
	return r, nil
}

// prepare learns of the base and makes what is to be asked.
func (r *run) prepare(ctx context.Context) (err error) {
	if r.base, err = r.api.Base(ctx); err != nil {
		return err
	}
	base, err := r.api.Adapter(ctx, baseID)
	if err != nil {
		return err
	}
	r.baseDigest = base.Digest
	if r.maker, err = newMaker(r.base, r.Seed, r.Spread); err != nil {
		return err
	}
	r.texts = makeTexts(r.Seed, groupsOf(r.Adapters))
	r.references = newReferences(r.Tolerance)
	r.report.Base = baseReport{r.base.Name, r.base.Digest, r.base.DType, r.base.Device}
	if r.subjects, err = r.makeSubjects(); err != nil {
		return err
	}
	for _, s := range r.subjects {
		r.report.Versions += max(1, len(s.variants))
	}
	return nil
}

// prove uploads everything, asks every row alone, and runs the load.
func (r *run) prove(ctx context.Context) error {
	if err := r.uploadAll(ctx); err != nil {
		return err
	}
	if err := r.measure(ctx); err != nil {
		return err
	}
	if r.CompareOne {
		alone, err := r.load(ctx, r.subjects[:1], false)
		if err != nil {
			return err
		}
		r.report.One = alone
	}
	if r.Churn {
		if err := r.removeNewcomers(ctx); err != nil {
			return err
		}
	}
	many, err := r.load(ctx, r.subjects, r.Churn)
	if err != nil {
		return err
	}
	r.report.setLoad(many)
	return r.audit(ctx)
}

// serverFigures reads the metrics, or gives nil where they cannot be had: they inform,
// and a proxy may hide them.
func (r *run) serverFigures(ctx context.Context) map[string]float64 {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	figures, err := r.api.Metrics(ctx)
	if err != nil {
		r.report.NoMetrics = err.Error()
		return nil
	}
	return figures
}
