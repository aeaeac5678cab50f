package mt5

import (
	"fmt"
	"testing"

	"valence/runtime/builtin"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// BenchmarkScore scores three labels of one token on the builtin base, with one
// adapter for all rows and with one for each.
func BenchmarkScore(b *testing.B) {
	base, err := checkpoint.OpenFS("builtin", builtin.Base())
	if err != nil {
		b.Fatal(err)
	}
	defer base.Close()
	thread := torch.Start(torch.Options{Device: torch.CPU})
	defer thread.Close()
	m, err := Load(b.Context(), thread, base.Config, base, Options{DType: torch.Float32})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close(ctx)
	for _, shape := range []struct{ rows, tokens, adapters int }{{1, 32, 1}, {8, 32, 1}, {8, 32, 8}, {64, 32, 1}, {64, 32, 64}} {
		b.Run(fmt.Sprintf("%dx%d/%d_adapters", shape.rows, shape.tokens, shape.adapters), func(b *testing.B) {
			batch, probes := &spec.Batch{}, []spec.Probe(nil)
			vectors := make([]*spec.Vectors, shape.adapters)
			for i := range vectors {
				vectors[i] = scaled(base.Config, 0.9+float32(i)/100)
			}
			for i := range shape.rows {
				ids := make([]int32, shape.tokens)
				for j := range ids {
					ids[j] = int32(300 + 7*i + 3*j)
				}
				batch.IDs = append(batch.IDs, ids)
				batch.Adapters = append(batch.Adapters, vectors[i%shape.adapters])
				probes = append(probes, probe(i))
			}
			for b.Loop() {
				if _, err := m.Score(ctx, batch, probes); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*shape.rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
