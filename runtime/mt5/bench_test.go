package mt5

import (
	"fmt"
	"testing"

	"valence/runtime/builtin"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// loadBuiltin loads the builtin base for a benchmark.
func loadBuiltin(b *testing.B) *Model {
	b.Helper()
	base, err := checkpoint.OpenFS("builtin", builtin.Base())
	if err != nil {
		b.Fatal(err)
	}
	thread := torch.Start(torch.Options{Device: torch.CPU})
	m, err := Load(b.Context(), thread, base.Config, base, Options{DType: torch.Float32})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		m.Close(ctx)
		thread.Close()
		base.Close()
	})
	return m
}

// row is ids that differ from those of other rows.
func row(i, tokens int) []int32 {
	ids := make([]int32, tokens)
	for j := range ids {
		ids[j] = int32(300 + 7*i + 3*j)
	}
	return ids
}

// BenchmarkScore scores three labels of one token on the builtin base, with one
// adapter for all rows and with one for each.
func BenchmarkScore(b *testing.B) {
	m := loadBuiltin(b)
	for _, shape := range []struct{ rows, tokens, adapters int }{{1, 32, 1}, {8, 32, 1}, {8, 32, 8}, {64, 32, 1}, {64, 32, 64}} {
		b.Run(fmt.Sprintf("%dx%d/%d_adapters", shape.rows, shape.tokens, shape.adapters), func(b *testing.B) {
			batch, probes := &spec.Batch{}, []spec.Probe(nil)
			vectors := make([]*spec.Vectors, shape.adapters)
			for i := range vectors {
				vectors[i] = scaled(m.config, 0.9+float32(i)/100)
			}
			for i := range shape.rows {
				batch.IDs = append(batch.IDs, row(i, shape.tokens))
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

// BenchmarkLearn takes gradients for three labels of one token on the builtin base.
func BenchmarkLearn(b *testing.B) {
	m := loadBuiltin(b)
	for _, shape := range []struct {
		rows, tokens, runs int
		among              []int32
	}{{8, 36, 1, nil}, {32, 36, 8, nil}, {32, 36, 8, []int32{500, 600, 700}}, {8, 128, 1, nil}} {
		b.Run(fmt.Sprintf("%dx%d/%d_runs/among_%d", shape.rows, shape.tokens, shape.runs, len(shape.among)), func(b *testing.B) {
			l := &spec.Lesson{Sites: m.config.DefaultSites()}
			for i := range shape.runs {
				l.Vectors = append(l.Vectors, scaled(m.config, 0.9+float32(i)/100).Data)
			}
			for i := range shape.rows {
				choices := []spec.Choice{{Among: shape.among, Truth: i % 3, Weight: 0.1}}
				if shape.among == nil {
					choices = append(choices, spec.Choice{Prefix: []int32{int32(i % 3)}, Truth: 1, Weight: 0.1})
				}
				l.Rows = append(l.Rows, spec.LessonRow{IDs: row(i, shape.tokens), Run: i % shape.runs, Choices: choices})
			}
			for b.Loop() {
				if _, err := m.Learn(ctx, l); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*shape.rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
