package mt5

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// Learn gives the losses of a lesson's choices and, for each run, the gradient of
// its rows' weighted losses with respect to its vectors. The choices of a row must
// lie on one path: each prefix the beginning of the longest. A row's part does not
// depend on the rows beside it, beyond rounding, and a run's gradient sums its own
// rows in their order.
//
// The work goes to the thread block by block, with the priority of training.
// The model must not be closed before Learn returns.
func (m *Model) Learn(ctx context.Context, l *spec.Lesson) (*spec.Gradient, error) {
	st, err := m.study(ctx, l)
	if err != nil {
		return nil, err
	}
	if rows := st.plan.rows(len(l.Rows)); rows != nil {
		return nil, fmt.Errorf("%w: the choices of a row to learn from must lie on one path, and every row must have one", ErrBatch)
	}
	st.learn = true
	return st.teach()
}

func (st *study) teach() (g *spec.Gradient, err error) {
	defer func() {
		if e := st.end(); err == nil {
			err = e
		}
	}()
	x, err := st.forward()
	if err != nil {
		return nil, err
	}
	q := ask(st.lesson)
	if err := st.loss(x, q); err != nil {
		return nil, err
	}
	if err := st.backFrom(q); err != nil {
		return nil, err
	}
	return st.gradient(q)
}

// Judge gives the model's opinion of every choice of a lesson, in the order of rows
// and choices. Nothing is dropped: Dropout must be 0.
func (m *Model) Judge(ctx context.Context, l *spec.Lesson) (v [][]spec.Verdict, err error) {
	st, err := m.study(ctx, l)
	if err != nil {
		return nil, err
	}
	if l.Dropout != 0 {
		return nil, fmt.Errorf("%w: dropout of %v in a lesson to judge", ErrBatch, l.Dropout)
	}
	defer func() {
		if e := st.end(); err == nil {
			err = e
		}
	}()
	x, err := st.forward()
	if err != nil {
		return nil, err
	}
	return st.verdicts(x, ask(l))
}

// study checks a lesson and plans its way through the model.
func (m *Model) study(ctx context.Context, l *spec.Lesson) (*study, error) {
	if err := m.checkLesson(l); err != nil {
		return nil, err
	}
	st := &study{m: m, ctx: ctx, lesson: l, layout: newLayout(m.config), plan: &plan{}}
	// What libtorch's own operators compute is padded.
	st.flat = m.dtype == torch.Float32 && !m.thread.Device().IsCUDA()
	if err := st.layout.widen(l.Sites); err != nil {
		return nil, err
	}
	if st.layout.width == 0 || len(st.layout.columns) != len(l.Sites) {
		return nil, fmt.Errorf("%w: the sites must differ, and there must be one", ErrBatch)
	}
	for i, v := range l.Vectors {
		if len(v) != st.layout.width {
			return nil, fmt.Errorf("%w: the vectors of run %d have %d elements, not %d", ErrBatch, i, len(v), st.layout.width)
		}
	}
	var probes []spec.Probe
	for i, row := range l.Rows {
		for _, c := range row.Choices {
			probes = append(probes, spec.Probe{Row: i, Prefix: c.Prefix})
		}
	}
	st.plan.join(probes)
	return st, nil
}

// checkLesson looks at everything that would be undefined behaviour on the device.
func (m *Model) checkLesson(l *spec.Lesson) error {
	if len(l.Rows) == 0 {
		return fmt.Errorf("%w: no rows", ErrBatch)
	}
	if !(l.Dropout >= 0 && l.Dropout < 1) {
		return fmt.Errorf("%w: dropout is %v; it must be at least 0 and below 1", ErrBatch, l.Dropout)
	}
	for i, row := range l.Rows {
		if err := m.checkLessonRow(row, len(l.Vectors)); err != nil {
			return fmt.Errorf("%w: row %d: %w", ErrBatch, i, err)
		}
	}
	return nil
}

func (m *Model) checkLessonRow(row spec.LessonRow, runs int) error {
	if len(row.IDs) == 0 {
		return fmt.Errorf("it has no tokens")
	}
	if err := m.checkIDs(row.IDs); err != nil {
		return err
	}
	if row.Run < 0 || row.Run >= runs {
		return fmt.Errorf("it is of run %d of %d", row.Run, runs)
	}
	if len(row.Choices) == 0 {
		return fmt.Errorf("nothing is asked about it")
	}
	for i, c := range row.Choices {
		if err := m.checkChoice(c); err != nil {
			return fmt.Errorf("choice %d: %w", i, err)
		}
	}
	return nil
}

func (m *Model) checkChoice(c spec.Choice) error {
	of := len(c.Among)
	switch {
	case c.Among == nil:
		of = m.config.VocabSize
	case of < 2:
		return fmt.Errorf("it is among %d tokens; two are needed", of)
	}
	if c.Truth < 0 || c.Truth >= of {
		return fmt.Errorf("the truth is number %d of %d", c.Truth, of)
	}
	if err := m.checkIDs(c.Prefix); err != nil {
		return err
	}
	return m.checkIDs(c.Among)
}

// forward runs the encoder and the decoder: [sequences, length, D], or [1, sequences * length,
// D] where they lie end to end.
func (st *study) forward() (*value, error) {
	if st.onGPU() {
		return st.forwardOnGPU()
	}
	if err := st.begin(); err != nil {
		return nil, err
	}
	states, err := st.encode()
	if err != nil {
		return nil, err
	}
	return st.decode(states)
}

// none is the range of projections of a stretch that has none.
const none = -1

func (st *study) encode() (*value, error) {
	m := st.m
	var bias torch.Tensor // of positions, or by distance where the texts lie end to end
	x, err := st.run(none, none, nil, func(p *pass, _ []torch.Tensor) torch.Tensor {
		if st.flat {
			bias = st.distances(p.s, &m.encoder, st.in.length)
			p.flat = flat{texts: st.texts}
			return p.drop(p.s.Unsqueeze(p.embed(p.endToEnd(st.in)), 0))
		}
		bias = st.keep(p.s, p.encoderBias(st.in))
		return p.drop(p.embed(p.padded(st.in)))
	})
	for _, b := range m.encoder.blocks {
		if err != nil {
			return nil, err
		}
		x, err = st.run(b.self.q.id, b.ff.wo.id, []*value{x}, func(p *pass, x []torch.Tensor) torch.Tensor {
			if st.flat {
				p.flat = flat{st.texts, bias}
			}
			return p.encoderBlock(x[0], b, st.in, bias)
		})
	}
	if err != nil {
		return nil, err
	}
	return st.run(none, none, []*value{x}, func(p *pass, x []torch.Tensor) torch.Tensor {
		p.flat = flat{texts: st.texts}
		return p.drop(p.norm(x[0], m.encoder.finalNorm))
	})
}

func (st *study) decode(states *value) (*value, error) {
	m, n, l := st.m, int64(len(st.plan.sequences)), st.plan.length
	var mask, distances torch.Tensor
	var sequences torch.Texts
	x, err := st.run(none, none, nil, func(p *pass, _ []torch.Tensor) torch.Tensor {
		x := p.embed(p.s.Int64s(st.plan.ids(m.config.StartID), n, l))
		if st.flat {
			distances = st.distances(p.s, &m.decoder, l)
			sequences = slices.Repeat([]int64{l}, int(n))
			p.flat = flat{texts: sequences}
			return p.drop(p.s.Reshape(x, 1, n*l, -1))
		}
		mask = st.keep(p.s, p.spread(st.in.mask, st.index))
		return p.drop(x)
	})
	for _, b := range m.decoder.blocks {
		if err != nil {
			return nil, err
		}
		x, err = st.run(b.self.q.id, b.ff.wo.id, []*value{x, states}, func(p *pass, x []torch.Tensor) torch.Tensor {
			mem := st.recall(p, x[1], b.cross)
			if st.flat {
				p.flat = flat{sequences, distances}
			}
			p.sc = p.spreadScales(st.index)
			next, _ := p.decoderBlock(x[0], b, n, l, keyValue{}, m.decoder.bias.rows(p.s, 0, l), mem, mask)
			return next
		})
	}
	if err != nil {
		return nil, err
	}
	return st.run(none, none, []*value{x}, func(p *pass, x []torch.Tensor) torch.Tensor {
		p.flat = flat{texts: sequences}
		return p.drop(p.norm(x[0], m.decoder.finalNorm))
	})
}

// distances are a stack's bias for texts of up to n tokens, which may be replaced by a longer
// one while the study goes on.
func (st *study) distances(s *torch.Scope, of *stack, n int64) torch.Tensor {
	return st.keep(s, s.Distances(of.bias.rows(s, 0, n)))
}

// recall projects the encoder's states for one layer's sequences.
func (st *study) recall(p *pass, states torch.Tensor, a attention) keyValue {
	if !st.flat {
		return p.recall(states, a, st.in, st.index)
	}
	p.flat = flat{texts: st.texts}
	return p.recallFlat(states, a, st.rows)
}

// spreadScales gives each sequence the vectors of its row.
func (p *pass) spreadScales(index torch.Tensor) scales {
	if !index.Defined() {
		return p.sc
	}
	out := scales{in: make([]torch.Tensor, len(p.sc.in)), out: make([]torch.Tensor, len(p.sc.out))}
	for i := range p.sc.in {
		out.in[i], out.out[i] = p.spread(p.sc.in[i], index), p.spread(p.sc.out[i], index)
	}
	return out
}

// backFrom takes the gradient of the weighted losses.
func (st *study) backFrom(q *questions) error {
	var along torch.Tensor
	err := st.turn(func(s *torch.Scope) error {
		along = st.keep(s, s.Float32s(q.weights, int64(len(q.weights))))
		return nil
	})
	if err != nil {
		return err
	}
	return st.back(along)
}

// gradient reads the losses and, summed over the rows of each run, the gradients, and looks for
// rows whose part is not finite.
func (st *study) gradient(q *questions) (*spec.Gradient, error) {
	rows := make([][]int64, len(st.lesson.Vectors))
	for i, row := range st.lesson.Rows {
		rows[row.Run] = append(rows[row.Run], int64(i))
	}
	f, err := st.fetch(func(s *torch.Scope) []torch.Tensor {
		var sums []torch.Tensor
		for _, of := range rows {
			if of != nil {
				sums = append(sums, s.Sum(s.IndexSelect(st.taught, 0, s.Int64s(of, int64(len(of)))), 0))
			}
		}
		return []torch.Tensor{st.losses, s.Cat(0, sums...)}
	})
	if err != nil {
		return nil, err
	}
	g := &spec.Gradient{Losses: byRow(q, f.Float32s(0)), Runs: make([][]float32, len(rows))}
	if !st.part(g.Runs, rows, f.Float32s(1)) {
		err = st.turn(func(s *torch.Scope) error { return st.readBroken(s, g) })
	}
	return g, err
}

// part gives the runs that have rows copies of their parts of all gradients, and tells whether
// these are finite.
func (st *study) part(runs [][]float32, rows [][]int64, all []float32) bool {
	var copies sync.WaitGroup
	var broken atomic.Bool
	for run, of := range rows {
		if of == nil {
			continue
		}
		mine := all[:st.layout.width]
		all = all[st.layout.width:]
		copies.Go(func() {
			runs[run] = slices.Clone(mine)
			if !finite(mine) {
				broken.Store(true)
			}
		})
	}
	copies.Wait()
	return !broken.Load()
}

// fetch reads float32 or int64 tensors that f makes, and waits for them while others work on
// the thread: with a GPU that is most of the time that a lesson takes. They stay until the
// study's end.
func (st *study) fetch(f func(s *torch.Scope) []torch.Tensor) (there torch.Fetch, err error) {
	err = st.turn(func(s *torch.Scope) error {
		there = s.GiveFetch(st.own, s.Fetch(f(s)...))
		return nil
	})
	if err != nil {
		return there, err
	}
	return there, there.Wait()
}

// readBroken names the rows whose part of the gradient is not finite.
func (st *study) readBroken(s *torch.Scope, g *spec.Gradient) error {
	all, err := s.ReadFloat32s(st.taught)
	for i := range st.lesson.Rows {
		if err == nil && !finite(all[i*st.layout.width:][:st.layout.width]) {
			g.Broken = append(g.Broken, i)
		}
	}
	return err
}

func finite(v []float32) bool {
	for _, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return false
		}
	}
	return true
}
