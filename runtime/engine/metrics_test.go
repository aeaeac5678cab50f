package engine

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"valence/runtime/mt5/spec"
)

// gathered gives every sample, a histogram's count, by name and label value.
func gathered(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := hashed()
	r.score = func(ctx context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error) {
		if len(b.IDs) == 1 && len(b.IDs[0]) == 2 {
			return nil, errors.New("boom")
		}
		return scoreHashed(ctx, b, probes)
	}
	e := start(t, r, Options{QueueRows: 3, Metrics: NewMetrics(reg)})
	tk := task(t, e, sentiments())
	for _, texts := range [][]string{{"a b c d e", "a b c", " "}, {"boom"}, {"1", "2", "3", "4"}} {
		var reqs []Request
		for _, text := range texts {
			reqs = append(reqs, Request{Text: text, Task: tk})
		}
		e.Predict(t.Context(), reqs)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.Predict(t.Context(), make([]Request, 2))
	want := map[string]float64{
		"valence_engine_rows_total answered":          2,
		"valence_engine_rows_total known":             0,
		"valence_engine_cache_bytes":                  0,
		"valence_engine_rows_total refused":           1,
		"valence_engine_rows_total failed":            1,
		"valence_engine_rows_total dropped":           0,
		"valence_engine_rejected_rows_total busy":     0,
		"valence_engine_rejected_rows_total closed":   2,
		"valence_engine_rejected_rows_total too_many": 4,
		"valence_engine_batches_total answered":       1,
		"valence_engine_batches_total failed":         1,
		"valence_engine_tokens_total text":            6 + 4 + 2,
		"valence_engine_tokens_total padding":         2,
		"valence_engine_queued_rows":                  0,
		"valence_engine_wait_seconds":                 3,
		"valence_engine_run_seconds":                  2,
	}
	if got := gathered(t, reg); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}
