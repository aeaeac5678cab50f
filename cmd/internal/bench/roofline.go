package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"valence/runtime/mt5"
	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// saturated is a batch that is large enough for the products to be all that counts.
func saturated(d torch.Device) size {
	if d.IsCUDA() {
		return size{16 * crowd, 32}
	}
	return size{crowd, 32}
}

func rooflineBar(dtype string) string {
	return dtype + ", saturated throughput, share of the best sustained product"
}

func rooflineQuestion(d torch.Device) (*Question, asker) {
	q := &Question{Name: "roofline", Title: "how much of this machine's rate of matrix products a saturated forward reaches"}
	for _, dtype := range dtypes(d) {
		q.Bars = append(q.Bars, &Bar{Name: rooflineBar(dtype), Need: 0.8, Unit: "share"})
	}
	return q, askRoofline
}

func askRoofline(ctx context.Context, r *run, q *Question) error {
	for _, dtype := range dtypes(r.device) {
		if err := r.roofline(ctx, q, dtype); err != nil {
			return fmt.Errorf("%s: %w", dtype, err)
		}
	}
	q.note("products have the model's own shapes at the rows of the batch and at four times those, and 4,096 x 4,096 (rows x in x out); the fastest counts. A forward's work is that of its projections and of the attention's two products")
	return nil
}

func (r *run) roofline(ctx context.Context, q *Question, dtype string) (err error) {
	base, _, err := r.large(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	adapters, err := makeAdapters(base.Config, 1, 7)
	if err != nil {
		return err
	}
	m, err := r.load(ctx, base, dtype)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx)), r.lock.release()) }()
	if err := base.Close(); err != nil {
		return err
	}
	full := saturated(r.device)
	b := makeBatch(base.Config, full.rows, full.tokens, adapters, 1)
	work := forwardWork(base.Config, full.rows, full.tokens)
	forward := fmt.Sprintf("%s (%s), forward of %v", dtype, m.Precision(), full)
	arms := []arm{{forward, "GFLOP/s", func(ctx context.Context) (float64, error) {
		ms, err := least(func() error { return b.score(ctx, m) })
		return work / ms / 1e6, err
	}}}
	products := productArms(r.thread, base.Config, m)
	return r.compare(ctx, q, append(arms, products...), func(got figures) {
		best := 0.0
		for _, a := range products {
			best = max(best, got[a.name])
		}
		q.figure(rooflineBar(dtype), got[forward]/best)
	})
}

// forwardWork counts the multiplications and additions of label scores with one decoder
// step, in floating-point operations: what the mathematics asks for, however it is done.
// The decoder's first token attends to itself alone, and its one query of the encoder's
// states takes the place of their keys and values.
func forwardWork(c *spec.Config, rows, tokens int) float64 {
	width, inner, ff := float64(c.DModel), float64(c.DInner()), float64(c.DFF)
	feed := 2 * width * ff
	if c.Gated {
		feed = 3 * width * ff
	}
	n, t := float64(rows), float64(tokens)
	encoder := n * t * (4*width*inner + feed + 2*t*inner)
	decoder := n * (6*width*inner + feed + 2*t*float64(c.Heads)*width)
	return 2 * (float64(c.EncoderLayers)*encoder + float64(c.DecoderLayers)*decoder)
}

// product is rows [rows, in] by a weight [out, in].
type product struct{ rows, in, out int }

func (p product) String() string { return fmt.Sprintf("%d x %d x %d", p.rows, p.in, p.out) }

// products are the model's own at the rows of a saturated batch, alone and joined, one of
// them at four times the rows, and a large square one.
func products(c *spec.Config, full size) []product {
	rows := full.rows * full.tokens
	return []product{
		{rows, 4096, 4096}, {4 * rows, c.DModel, 2 * c.DFF},
		{rows, c.DModel, c.DInner()}, {rows, c.DModel, 3 * c.DInner()},
		{rows, c.DModel, c.DFF}, {rows, c.DModel, 2 * c.DFF}, {rows, c.DFF, c.DModel},
	}
}

// productArms time products in the type of the model.
func productArms(thread *torch.Thread, c *spec.Config, m *mt5.Model) []arm {
	var out []arm
	for _, p := range products(c, saturated(thread.Device())) {
		out = append(out, arm{fmt.Sprintf("%s, product %v", m.Precision(), p), "GFLOP/s", func(ctx context.Context) (float64, error) {
			seconds := 0.0
			err := thread.Do(ctx, torch.Serving, func(s *torch.Scope) (err error) {
				seconds, err = p.time(s, m.Precision())
				return err
			})
			return 2 * float64(p.rows) * float64(p.in) * float64(p.out) / seconds / 1e9, err
		}})
	}
	return out
}

// formats are the types that weights are packed in, by the names that models give.
var formats = map[string]torch.Format{
	torch.PackedFloat32.String():  torch.PackedFloat32,
	torch.PackedBFloat16.String(): torch.PackedBFloat16,
	torch.PackedFloat16.String():  torch.PackedFloat16,
	torch.PackedInt8.String():     torch.PackedInt8,
	torch.PackedWideInt8.String(): torch.PackedWideInt8,
}

// time is the least time of a few, of products with the packed weight and, in float32,
// with the weight as libtorch has it.
func (p product) time(s *torch.Scope, precision string) (float64, error) {
	if s.Device().IsCUDA() {
		return p.timeQueued(s)
	}
	x := s.Full(0.5, torch.Float32, int64(p.rows), int64(p.in))
	w := s.Full(0.25, torch.Float32, int64(p.out), int64(p.in))
	var packed torch.Packed
	if format, ok := formats[precision]; ok && torch.CanPack(format) {
		packed = s.Pack(w, format)
	}
	var ways []func()
	if packed.Defined() {
		ways = append(ways, func() { s.PackedLinear(x, packed) })
	}
	if !packed.Defined() || precision == torch.PackedFloat32.String() {
		ways = append(ways, func() { s.Linear(x, w) })
	}
	best := math.Inf(1)
	for i := range 4 * len(ways) {
		mark := s.Mark()
		start := time.Now()
		ways[i%len(ways)]()
		best = min(best, time.Since(start).Seconds())
		s.Keep(mark)
	}
	return best, s.Err()
}

// queued is how many products are given to a GPU at once, so that none waits for the host.
const queued = 20

// timeQueued is the least time of a product in bfloat16 on a GPU, of numbers that are not
// alike: a GPU multiplies zeros faster.
func (p product) timeQueued(s *torch.Scope) (float64, error) {
	x, w := scattered(s, p.rows, p.in), scattered(s, p.out, p.in)
	best := math.Inf(1)
	for range 4 {
		mark := s.Mark()
		start := time.Now()
		for range queued {
			y := s.Linear(x, w)
			s.Keep(mark, y)
		}
		if _, err := s.ReadFloat32s(s.Narrow(s.Narrow(s.Linear(x, w), 0, 0, 1), 1, 0, 1)); err != nil { // waits for all
			return 0, err
		}
		best = min(best, time.Since(start).Seconds()/(queued+1))
		s.Keep(mark)
	}
	return best, s.Err()
}

// scattered is a matrix of normally distributed numbers.
func scattered(s *torch.Scope, rows, columns int) torch.Tensor {
	random := rand.New(rand.NewPCG(uint64(rows), uint64(columns)))
	some := make([]float32, 1<<16)
	for i := range some {
		some[i] = float32(random.NormFloat64())
	}
	n := (rows*columns + len(some) - 1) / len(some)
	all := s.IndexSelect(s.Float32s(some, 1, int64(len(some))), 0, s.Int64s(make([]int64, n), int64(n)))
	flat := s.Narrow(s.Reshape(all, -1), 0, 0, int64(rows*columns))
	return s.To(s.Reshape(flat, int64(rows), int64(columns)), torch.BFloat16)
}
