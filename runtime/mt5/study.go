package mt5

import (
	"context"
	"slices"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// study is one lesson on its way through the model. It goes there, and back, in
// turns: each block of the model is one closure on the thread, with the priority of
// training, so that serving never waits for more than that.
type study struct {
	m      *Model
	ctx    context.Context
	lesson *spec.Lesson
	layout layout
	plan   *plan
	learn  bool // gradients will be wanted
	flat   bool // texts and sequences lie end to end

	own     *torch.Scope // what lives from one turn to the next
	in      inputs
	texts   torch.Texts  // of in, where they lie end to end
	rows    []int64      // row of each sequence, or nil when they are the rows
	index   torch.Tensor // the same on the device
	vectors torch.Tensor // [B, width] float32: each row's
	taught  torch.Tensor // [B, width] float32: gradients with respect to them
	keys    torch.Tensor // [B] int64, for dropout
	losses  torch.Tensor // of the choices, in the order in which the head answers them

	stretches []*stretch
	gpu       torch.GPULesson // what goes by the GPU's own kernels, where it has them
	states    *value          // its result
	watch     func()          // if any, called before each turn
}

// value is a tensor between two stretches of the model.
type value struct {
	t     torch.Tensor
	live  bool         // depends on the vectors, so that gradients must come back to it
	slope torch.Tensor // gradient with respect to it, once there is one
}

// stretch is the part of the model that one turn runs, and what the way back needs.
type stretch struct {
	from    []*value
	leaves  []torch.Tensor // of the live ones among from, in order, then of columns
	columns []column
	to      *value
}

// turn runs f on the thread.
func (st *study) turn(f func(s *torch.Scope) error) error {
	if st.watch != nil {
		st.watch()
	}
	return st.m.thread.Do(st.ctx, torch.Training, f)
}

// begin lays the lesson out on the device.
func (st *study) begin() error {
	return st.turn(func(s *torch.Scope) error {
		st.own = s.NewScope()
		l := st.lesson
		ids := make([][]int32, len(l.Rows))
		runs := make([]int64, len(l.Rows))
		for i, row := range l.Rows {
			ids[i], runs[i] = row.IDs, int64(row.Run)
		}
		all := slices.Concat(l.Vectors...)
		n, width := int64(len(l.Rows)), int64(st.layout.width)
		if st.onGPU() { // whose task has the rest
			st.in = measure(ids)
		} else {
			st.lay(s, ids)
		}
		table := s.Float32s(all, int64(len(l.Vectors)), width)
		st.vectors = st.keep(s, s.IndexSelect(table, 0, s.Int64s(runs, n)))
		if st.learn {
			st.taught = st.keep(s, s.Full(0, torch.Float32, n, width))
		}
		return nil
	})
}

// lay lays the texts out, and what their rows need beside vectors.
func (st *study) lay(s *torch.Scope, ids [][]int32) {
	p := &pass{m: st.m, s: s}
	if st.flat {
		st.in = measure(ids)
		st.texts = st.in.lengths
	} else {
		st.in = p.pad(ids)
		st.in.mask = st.keep(s, st.in.mask)
	}
	st.rows = st.plan.rows(len(ids))
	st.index = st.keep(s, p.index(st.rows))
	keys := make([]int64, len(ids))
	for i, row := range st.lesson.Rows {
		keys[i] = int64(row.Key)
	}
	st.keys = st.keep(s, s.Int64s(keys, int64(len(keys))))
}

// onGPU tells whether the lesson goes by the GPU's own kernels.
func (st *study) onGPU() bool { return st.m.gpu.Defined() }

// keep gives a tensor of a turn to the study.
func (st *study) keep(s *torch.Scope, t torch.Tensor) torch.Tensor { return s.Give(st.own, t) }

// end frees everything, also after the context's end.
func (st *study) end() error {
	return st.m.thread.Do(context.WithoutCancel(st.ctx), torch.Training, func(*torch.Scope) error {
		if st.own != nil {
			st.own.Free()
		}
		return nil
	})
}

// run is one stretch: f of the given values, with the vectors of the columns that
// act on projections from first to last.
func (st *study) run(first, last int, from []*value, f func(p *pass, x []torch.Tensor) torch.Tensor) (*value, error) {
	str := &stretch{from: from, to: &value{}}
	for _, c := range st.layout.columns {
		if c.linear >= first && c.linear <= last {
			str.columns = append(str.columns, c)
		}
	}
	str.to.live = len(str.columns) > 0
	for _, v := range from {
		str.to.live = str.to.live || v.live
	}
	err := st.turn(func(s *torch.Scope) error {
		if st.learn && str.to.live {
			s.WithGradients(func() { str.to.t = st.keep(s, f(st.enter(s, str))) })
			return nil
		}
		str.to.t = st.keep(s, f(st.enter(s, str)))
		return nil
	})
	st.stretches = append(st.stretches, str)
	return str.to, err
}

// enter prepares a stretch: its inputs cut off from what made them, where gradients
// are to be had for them, and the vectors.
func (st *study) enter(s *torch.Scope, str *stretch) (*pass, []torch.Tensor) {
	p := &pass{m: st.m, s: s, noise: noise{rate: st.lesson.Dropout, keys: st.keys, salt: int64(len(st.stretches)) << 8}}
	x := make([]torch.Tensor, len(str.from))
	for i, v := range str.from {
		if x[i] = v.t; st.learn && v.live {
			x[i] = st.leaf(s, str, v.t)
		}
	}
	p.sc = st.layout.scales()
	for _, c := range str.columns {
		v := s.Unsqueeze(s.Narrow(st.vectors, 1, c.at, c.size), 1)
		if st.learn {
			v = st.leaf(s, str, v)
		}
		p.sc.set(c, s.To(v, st.m.dtype))
	}
	return p, x
}

func (st *study) leaf(s *torch.Scope, str *stretch, t torch.Tensor) torch.Tensor {
	t = st.keep(s, s.Leaf(t))
	str.leaves = append(str.leaves, t)
	return t
}

// back takes gradients through all stretches, the last first, from those of the last
// one's result along slope. They end in taught, and in the slopes of the values.
func (st *study) back(slope torch.Tensor) error {
	st.stretches[len(st.stretches)-1].to.slope = slope
	for i := len(st.stretches) - 1; i >= 0; i-- {
		str := st.stretches[i]
		if !str.to.live || !str.to.slope.Defined() {
			continue
		}
		err := st.turn(func(s *torch.Scope) error {
			st.leave(s, str)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if st.gpu.Defined() {
		return st.backOnGPU()
	}
	return nil
}

// leave is the way back through one stretch.
func (st *study) leave(s *torch.Scope, str *stretch) {
	grads := s.Gradients([]torch.Tensor{str.to.t}, []torch.Tensor{str.to.slope}, str.leaves)
	for _, v := range str.from {
		if !v.live {
			continue
		}
		if v.slope.Defined() {
			grads[0] = s.Add(grads[0], v.slope)
			st.own.Drop(v.slope)
		}
		v.slope, grads = st.keep(s, grads[0]), grads[1:]
	}
	for i, c := range str.columns {
		s.Copy(s.Narrow(st.taught, 1, c.at, c.size), s.Reshape(grads[i], -1, c.size))
	}
	for _, t := range append(str.leaves, str.to.t, str.to.slope) {
		st.own.Drop(t)
	}
}
