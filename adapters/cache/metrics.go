package cache

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what a cache does.
type Metrics struct {
	hits, misses, evictions prometheus.Counter
	values, bytes           prometheus.Gauge
	load                    *prometheus.HistogramVec
}

// NewMetrics makes the collectors and registers them unless reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		hits:      prometheus.NewCounter(prometheus.CounterOpts{Name: "valence_adapter_cache_hits_total", Help: "Leases answered from memory."}),
		misses:    prometheus.NewCounter(prometheus.CounterOpts{Name: "valence_adapter_cache_misses_total", Help: "Leases that had to wait for a load."}),
		evictions: prometheus.NewCounter(prometheus.CounterOpts{Name: "valence_adapter_cache_evictions_total", Help: "Adapters forgotten to make room."}),
		values:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "valence_adapter_cache_resident", Help: "Adapters that the cache keeps in memory."}),
		bytes:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "valence_adapter_cache_resident_bytes", Help: "Their size."}),
		load: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "valence_adapter_load_seconds", Help: "Time to load an adapter, by where it came from.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"source"}),
	}
	if reg != nil {
		reg.MustRegister(m.hits, m.misses, m.evictions, m.values, m.bytes, m.load)
	}
	return m
}

func (m *Metrics) resident(values float64, bytes int64) {
	m.values.Add(values)
	m.bytes.Add(float64(bytes))
}
