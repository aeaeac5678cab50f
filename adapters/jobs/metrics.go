package jobs

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what this process does.
type metrics struct {
	submitted prometheus.Counter
	finished  *prometheus.CounterVec // by state
	segments  *prometheus.HistogramVec
	recovered *prometheus.CounterVec // by reason
	running   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		submitted: prometheus.NewCounter(prometheus.CounterOpts{Name: "valence_jobs_submitted_total", Help: "Training jobs that were queued."}),
		finished: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "valence_jobs_finished_total", Help: "Training jobs that came to an end here, by state.",
		}, []string{"state"}),
		segments: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "valence_job_segment_seconds", Help: "Length of segments, by how they ended.",
			Buckets: prometheus.ExponentialBuckets(0.1, 2, 12),
		}, []string{"outcome"}),
		recovered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "valence_jobs_recovered_total", Help: "Jobs that went back to an earlier checkpoint, by reason.",
		}, []string{"reason"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "valence_job_segments_running", Help: "Segments being worked on here."}),
	}
	if reg != nil {
		reg.MustRegister(m.submitted, m.finished, m.segments, m.recovered, m.running)
	}
	return m
}
