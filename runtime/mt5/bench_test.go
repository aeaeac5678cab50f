package mt5

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"valence/runtime/builtin"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
	"valence/runtime/torch/torchtest"
)

// loadBuiltin loads the builtin base for a benchmark, or that in the folder which
// VALENCE_BASE names: on the CPU in the format VALENCE_DTYPE or in float32, on a GPU
// that VALENCE_TEST_DEVICE names in bfloat16, as a server does.
func loadBuiltin(b *testing.B) *Model {
	b.Helper()
	base, err := checkpoint.OpenFS("builtin", builtin.Base())
	if folder := os.Getenv("VALENCE_BASE"); folder != "" {
		base, err = checkpoint.Open(folder)
	}
	if err != nil {
		b.Fatal(err)
	}
	options := Options{DType: torch.Float32, Packed: benchFormat()}
	device := torchtest.Device(b)
	if device.IsCUDA() {
		options = Options{DType: torch.BFloat16}
	}
	thread := torch.Start(torch.Options{Device: device})
	m, err := Load(b.Context(), thread, base.Config, base, options)
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

func benchFormat() torch.Format {
	for _, f := range []torch.Format{torch.PackedBFloat16, torch.PackedFloat16, torch.PackedInt8} {
		if f.String() == os.Getenv("VALENCE_DTYPE") {
			return f
		}
	}
	return torch.PackedFloat32
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
	for _, shape := range []struct{ rows, tokens, adapters int }{{1, 32, 1}, {8, 32, 1}, {8, 32, 8}, {8, 128, 1}, {64, 32, 1}, {64, 32, 64}} {
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
		dropout            float64
	}{{8, 36, 1, nil, 0}, {32, 36, 8, nil, 0}, {32, 36, 8, []int32{500, 600, 700}, 0}, {8, 128, 1, nil, 0}, {8, 36, 1, nil, 0.1}} {
		b.Run(fmt.Sprintf("%dx%d/%d_runs/among_%d/dropout_%v", shape.rows, shape.tokens, shape.runs, len(shape.among), shape.dropout), func(b *testing.B) {
			l := &spec.Lesson{Sites: m.config.DefaultSites(), Dropout: shape.dropout}
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

// BenchmarkTurns tells how much processor time the longest turn of a lesson takes on the
// thread, which serving may have to wait for, and the whole lesson: the least of all
// iterations, whatever else the machine does.
func BenchmarkTurns(b *testing.B) {
	m := loadBuiltin(b)
	for _, shape := range []struct{ rows, tokens, runs int }{{1, 16, 1}, {8, 16, 1}, {8, 32, 1}, {16, 32, 1}, {32, 32, 1}, {16, 32, 8}, {32, 32, 8}} {
		b.Run(fmt.Sprintf("%dx%d/%d_runs", shape.rows, shape.tokens, shape.runs), func(b *testing.B) {
			l := &spec.Lesson{Sites: m.config.DefaultSites()}
			for range shape.runs {
				l.Vectors = append(l.Vectors, scaled(m.config, 0.9).Data)
			}
			for i := range shape.rows {
				choices := []spec.Choice{{Truth: 1, Weight: 1}, {Prefix: []int32{5}, Truth: 1, Weight: 1}}
				l.Rows = append(l.Rows, spec.LessonRow{IDs: row(i, shape.tokens), Run: i % shape.runs, Choices: choices})
			}
			var turns []time.Duration // the least of each
			whole := time.Hour
			for b.Loop() {
				begin := processTime(b)
				taken, err := learnTurns(b, m, l)
				if err != nil {
					b.Fatal(err)
				}
				whole = min(whole, processTime(b)-begin)
				for i, d := range taken {
					if i == len(turns) {
						turns = append(turns, d)
					}
					turns[i] = min(turns[i], d)
				}
			}
			b.ReportMetric(float64(slices.Max(turns).Microseconds())/1e3, "ms/longest_turn")
			b.ReportMetric(float64(whole.Microseconds())/1e3, "ms/lesson")
			b.ReportMetric(float64(shape.rows)/whole.Seconds(), "rows/s")
		})
	}
}

// learnTurns is Learn with the processor time that each turn took.
func learnTurns(b *testing.B, m *Model, l *spec.Lesson) (turns []time.Duration, err error) {
	st, err := m.study(ctx, l)
	if err != nil {
		return nil, err
	}
	st.learn = true
	last := processTime(b)
	st.watch = func() {
		now := processTime(b)
		turns = append(turns, now-last)
		last = now
	}
	_, err = st.teach()
	return turns, err
}

func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
