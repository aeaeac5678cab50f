package jobs

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"valence/adapters/store"
)

// Defaults of Options.
const (
	DefaultWorkers         = 1
	DefaultSegmentTime     = 30 * time.Second
	DefaultBeat            = 500 * time.Millisecond
	DefaultLease           = 8 * time.Second
	DefaultPoll            = 250 * time.Millisecond
	DefaultRetention       = 30 * 24 * time.Hour
	DefaultMaxLost         = 25
	DefaultPublishAttempts = 8
)

// minRetention is how long idempotency keys are kept at least.
const minRetention = 24 * time.Hour

// Options configures a Manager. Zero values of all but the first four mean the defaults.
type Options struct {
	Store     *store.Store
	Trainer   Trainer
	Publisher Publisher
	Base      string // digest of the base that this server trains on

	Workers     int           // segments at once in this process; negative for none
	SegmentTime time.Duration // after which a segment is told to stop
	Beat        time.Duration // how often a worker shows that it lives, and tells its progress
	Lease       time.Duration // without a beat, after which a worker counts as dead: several beats
	Poll        time.Duration // how often the queue, and events of other processes, are looked for
	Retention   time.Duration // of finished jobs and their idempotency keys: 24 hours at least
	MaxLost     int           // workers that a segment may lose one after another before its job fails
	// PublishAttempts is how often publishing is tried, with growing pauses, before the job fails.
	PublishAttempts int

	Log     *slog.Logger          // nil logs nothing
	Metrics prometheus.Registerer // nil exports nothing
}

func (o *Options) check() error {
	if o.Store == nil || o.Trainer == nil || o.Publisher == nil || o.Base == "" {
		return errors.New("jobs: Store, Trainer, Publisher and Base are needed")
	}
	o.setDefaults()
	switch {
	case o.Lease < 3*o.Beat:
		return fmt.Errorf("jobs: Lease is %v: it must be three times Beat (%v) at least", o.Lease, o.Beat)
	case o.Retention < minRetention:
		return fmt.Errorf("jobs: Retention is %v: it must be %v at least", o.Retention, minRetention)
	case o.SegmentTime < 0 || o.Beat < 0 || o.Poll < 0 || o.MaxLost < 0 || o.PublishAttempts < 0:
		return errors.New("jobs: SegmentTime, Beat, Poll, MaxLost and PublishAttempts must not be negative")
	}
	return nil
}

func (o *Options) setDefaults() {
	setDefault(&o.Workers, DefaultWorkers)
	setDefault(&o.SegmentTime, DefaultSegmentTime)
	setDefault(&o.Beat, DefaultBeat)
	setDefault(&o.Lease, DefaultLease)
	setDefault(&o.Poll, DefaultPoll)
	setDefault(&o.Retention, DefaultRetention)
	setDefault(&o.MaxLost, DefaultMaxLost)
	setDefault(&o.PublishAttempts, DefaultPublishAttempts)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
