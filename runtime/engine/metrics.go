package engine

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Values of the label "outcome" of valence_engine_rows_total.
const (
	outcomeAnswered = "answered"
	outcomeKnown    = "known"   // answered from the cache
	outcomeRefused  = "refused" // the request itself is at fault
	outcomeFailed   = "failed"
	outcomeDropped  = "dropped" // its caller left before it was answered
)

// Values of the label "reason" of valence_engine_rejected_rows_total.
const (
	rejectedBusy    = "busy"
	rejectedClosed  = "closed"
	rejectedTooMany = "too_many"
)

// Metrics are the engine's Prometheus collectors.
type Metrics struct {
	rows     *prometheus.CounterVec
	rejected *prometheus.CounterVec
	batches  *prometheus.CounterVec
	tokens   *prometheus.CounterVec
	queued   prometheus.Gauge

	keptAnswers prometheus.Gauge
	wait        prometheus.Histogram
	run         prometheus.Histogram
}

// NewMetrics makes the collectors and registers them with reg, or nowhere if reg
// is nil. Like prometheus' own MustRegister it panics if reg has them already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	// From a short text on a GPU to a full batch of long ones on a small CPU.
	seconds := prometheus.ExponentialBuckets(0.001, 2, 15)
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "valence", Subsystem: "engine", Name: name, Help: help}
	}
	histogram := func(name, help string) prometheus.Histogram {
		return f.NewHistogram(prometheus.HistogramOpts{
			Namespace: "valence", Subsystem: "engine", Name: name, Help: help, Buckets: seconds,
		})
	}
	counter := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := f.NewCounterVec(prometheus.CounterOpts(opts(name, help)), []string{label})
		for _, value := range values {
			v.WithLabelValues(value) // exported as 0 before the first event
		}
		return v
	}
	return &Metrics{
		rows: counter("rows_total", "Rows by what became of them.", "outcome",
			outcomeAnswered, outcomeKnown, outcomeRefused, outcomeFailed, outcomeDropped),
		rejected: counter("rejected_rows_total", "Rows turned away before they were read.", "reason",
			rejectedBusy, rejectedClosed, rejectedTooMany),
		batches: counter("batches_total", "Batches run, by whether they were answered or failed as a whole.", "outcome",
			outcomeAnswered, outcomeFailed),
		tokens:      counter("tokens_total", "Encoder tokens run: those of texts, and padding.", "kind", "text", "padding"),
		queued:      f.NewGauge(prometheus.GaugeOpts(opts("queued_rows", "Rows that wait, those being tokenised included."))),
		keptAnswers: f.NewGauge(prometheus.GaugeOpts(opts("cache_bytes", "Memory of the answers that are kept, about."))),
		wait:        histogram("wait_seconds", "Time of a row from tokenised to taken into a batch."),
		run:         histogram("run_seconds", "Time of a batch on the runner."),
	}
}

// ran counts one batch that took d on the runner.
func (m *Metrics) ran(rows []*row, d time.Duration, err error) {
	outcome := outcomeAnswered
	if err != nil {
		outcome = outcomeFailed
	}
	var s shape
	for _, r := range rows {
		s = s.with(r)
	}
	m.batches.WithLabelValues(outcome).Inc()
	m.tokens.WithLabelValues("text").Add(float64(s.real))
	m.tokens.WithLabelValues("padding").Add(float64(s.padded() - s.real))
	m.run.Observe(d.Seconds())
}
