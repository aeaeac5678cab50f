package registry

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the cache, which has its own, does not.
type metrics struct {
	pulls *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, c *catalogue) (*metrics, error) {
	m := &metrics{pulls: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "valence_adapter_pulls_total", Help: "Pulls from the Hub, by how they ended.",
	}, []string{"outcome"})}
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, count func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, count)
	}
	for _, collector := range []prometheus.Collector{
		m.pulls,
		gauge("valence_adapters", "Adapters in the store.", func() float64 { n, _ := c.count(); return float64(n) }),
		gauge("valence_adapter_versions", "Their versions.", func() float64 { _, n := c.count(); return float64(n) }),
	} {
		if err := reg.Register(collector); err != nil {
			return nil, fmt.Errorf("registry: metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) pulled(err error) { m.pulls.WithLabelValues(pullOutcome(err)).Inc() }
