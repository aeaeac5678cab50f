package mt5

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// Score gives, for each probe, the logits of its Next tokens. Only the head's rows
// that are asked for are read. Errors name the row.
func (m *Model) Score(ctx context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error) {
	if err := m.check(b); err != nil {
		return nil, err
	}
	plans, err := m.plans(len(b.IDs), probes)
	if err != nil || len(probes) == 0 {
		return nil, err
	}
	out := make([][]float32, len(probes))
	err = m.thread.Do(ctx, torch.Serving, func(s *torch.Scope) error {
		if m.gpu.Defined() {
			return m.scoreOnGPU(s, b, plans, out)
		}
		return m.scorePlans(s, b, plans, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// scorePlans has a batch's rows go through the encoder together.
func (m *Model) scorePlans(s *torch.Scope, b *spec.Batch, plans []*plan, out [][]float32) error {
	p, err := m.begin(s, b)
	if err != nil {
		return err
	}
	in := p.pad(b.IDs)
	states, whole := p.encode(in), p.sc
	for _, plan := range plans {
		p.sc = whole
		if err := p.score(plan, states, in, out); err != nil {
			return err
		}
	}
	return nil
}

// begin places the batch's adapters on the device and gathers their vectors.
func (m *Model) begin(s *torch.Scope, b *spec.Batch) (*pass, error) {
	slots, err := m.table.place(s, b.Adapters)
	if err != nil {
		return nil, err
	}
	return &pass{m: m, s: s, sc: m.table.gatherBatch(s, slots, m.dtype), slots: slots}, nil
}

// plan is what a batch's probes ask of the decoder. Probes of one row whose
// prefixes begin alike share a sequence.
type plan struct {
	probes    []int // numbers of its probes among all
	sequences []sequence
	at        []int64   // of each probe: its state's place in [sequences, length], flattened
	next      []int64   // tokens whose logits are wanted by any probe
	columns   [][]int64 // of each probe: where in next its tokens are
	length    int64     // tokens of the longest sequence, start included
}

type sequence struct {
	row    int
	tokens []int32 // without the start token
}

// plans checks the probes and parts them in two: those of rows that ask only for what
// comes first, which the decoder's first step answers, and the others. The two ways round
// differently, so that which one a row goes must not depend on the rows beside it.
func (m *Model) plans(rows int, probes []spec.Probe) ([]*plan, error) {
	deep := map[int]bool{}
	for i, probe := range probes {
		if err := m.checkProbe(rows, probe); err != nil {
			return nil, fmt.Errorf("%w: probe %d %w", ErrBatch, i, err)
		}
		deep[probe.Row] = deep[probe.Row] || len(probe.Prefix) > 0
	}
	var plans []*plan
	for _, way := range []bool{false, true} {
		p := &plan{}
		var some []spec.Probe
		for i, probe := range probes {
			if deep[probe.Row] == way {
				p.probes, some = append(p.probes, i), append(some, probe)
			}
		}
		if len(some) > 0 {
			p.list(some)
			p.join(some)
			plans = append(plans, p)
		}
	}
	return plans, nil
}

func (m *Model) checkProbe(rows int, probe spec.Probe) error {
	if probe.Row < 0 || probe.Row >= rows {
		return fmt.Errorf("is for row %d of %d", probe.Row, rows)
	}
	if len(probe.Next) == 0 {
		return errors.New("asks for no tokens")
	}
	if err := m.checkIDs(slices.Concat(probe.Prefix, probe.Next)); err != nil {
		return fmt.Errorf("has a bad token: %w", err)
	}
	return nil
}

// list notes the tokens that the probes ask for.
func (p *plan) list(probes []spec.Probe) {
	p.columns = make([][]int64, len(probes))
	seen := map[int32]int64{}
	for i, probe := range probes {
		for _, id := range probe.Next {
			if _, ok := seen[id]; !ok {
				seen[id] = int64(len(p.next))
				p.next = append(p.next, int64(id))
			}
			p.columns[i] = append(p.columns[i], seen[id])
		}
	}
}

// join gives the probes their sequences: longest prefixes first, so that a shorter
// one finds the sequence that begins with it.
func (p *plan) join(probes []spec.Probe) {
	order := make([]int, len(probes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if d := probes[a].Row - probes[b].Row; d != 0 {
			return d
		}
		return len(probes[b].Prefix) - len(probes[a].Prefix)
	})
	which := make([]int, len(probes))
	for _, i := range order {
		which[i] = p.find(probes[i])
	}
	p.at = make([]int64, len(probes))
	for i, probe := range probes {
		p.at[i] = int64(which[i])*p.length + int64(len(probe.Prefix))
	}
}

// find gives the sequence that a probe reads, adding it if there is none.
func (p *plan) find(probe spec.Probe) int {
	for i := len(p.sequences) - 1; i >= 0 && p.sequences[i].row == probe.Row; i-- {
		have := p.sequences[i].tokens
		if len(have) >= len(probe.Prefix) && slices.Equal(have[:len(probe.Prefix)], probe.Prefix) {
			return i
		}
	}
	p.sequences = append(p.sequences, sequence{probe.Row, probe.Prefix})
	p.length = max(p.length, int64(len(probe.Prefix))+1)
	return len(p.sequences) - 1
}

// alone gives the rows that the plan asks about, whose numbers it has from now on.
func (p *plan) alone(b *spec.Batch) *spec.Batch {
	rows := &spec.Batch{}
	last := -1
	for i := range p.sequences { // they follow their rows' order
		if row := p.sequences[i].row; row != last {
			last = row
			rows.IDs, rows.Adapters = append(rows.IDs, b.IDs[row]), append(rows.Adapters, b.Adapters[row])
		}
		p.sequences[i].row = len(rows.IDs) - 1
	}
	return rows
}

// rows tells which row each sequence reads, or nil when sequence i reads row i of n.
func (p *plan) rows(n int) []int64 {
	rows := make([]int64, len(p.sequences))
	same := len(rows) == n
	for i, q := range p.sequences {
		rows[i] = int64(q.row)
		same = same && q.row == i
	}
	if same {
		return nil
	}
	return rows
}

// ids lays the sequences out as [sequences, length], each after the start token.
// What stands after a sequence's end is not seen by it and not read.
func (p *plan) ids(start int32) []int64 {
	ids := make([]int64, int64(len(p.sequences))*p.length)
	for i, q := range p.sequences {
		row := ids[int64(i)*p.length:]
		row[0] = int64(start)
		for j, id := range q.tokens {
			row[j+1] = int64(id)
		}
	}
	return ids
}

// score writes the plan's logits into out, by the number of the probe.
func (p *pass) score(plan *plan, states torch.Tensor, in inputs, out [][]float32) error {
	x := p.written(plan, states, in)
	return p.m.readPlan(p.s, plan, p.s.Reshape(x, int64(len(plan.sequences))*plan.length, int64(p.m.config.DModel)), out)
}

// readPlan writes the plan's logits into out, for the decoder's states x [N * length, D] of its
// sequences.
func (m *Model) readPlan(s *torch.Scope, plan *plan, x torch.Tensor, out [][]float32) error {
	x = s.IndexSelect(x, 0, s.Int64s(plan.at, int64(len(plan.at))))
	head := s.IndexSelect(m.head, 0, s.Int64s(plan.next, int64(len(plan.next))))
	all, err := s.ReadFloat32s((&pass{m: m, s: s}).logits(x, head))
	if err != nil {
		return err
	}
	for i := range plan.columns {
		plan.give(i, all[i*len(plan.next):], out)
	}
	return nil
}

// give takes probe i's logits from those of its state.
func (p *plan) give(i int, state []float32, out [][]float32) {
	for _, c := range p.columns[i] {
		out[p.probes[i]] = append(out[p.probes[i]], state[c])
	}
}

// written gives the decoder's states of the plan's sequences, [N, length, D], for the
// encoder's states [B, T, D] of in.
func (p *pass) written(plan *plan, states torch.Tensor, in inputs) torch.Tensor {
	m, s := p.m, p.s
	n, rows := int64(len(plan.sequences)), plan.rows(int(in.rows))
	ids := s.Int64s(plan.ids(m.config.StartID), n, plan.length)
	sequences := func() {
		if rows != nil {
			p.sc = m.table.gather(s, pick(p.slots, rows), m.dtype)
		}
	}
	if plan.length == 1 {
		sequences()
		return p.first(ids, read{states: states, in: in, rows: rows, n: n})
	}
	used, of := plan.used(int(in.rows))
	if used != nil {
		states, in = p.only(states, in, used)
		p.sc = m.table.gather(s, pick(p.slots, used), m.dtype)
	}
	mem := p.remember(states, in, of)
	sequences()
	return p.decode(ids, n, plan.length, mem, &past{})
}

// used tells which of n rows the sequences read, or nil where they read all, and the
// number among those of what each sequence reads, or nil where sequence i reads row i.
func (p *plan) used(n int) (rows, of []int64) {
	numbers := map[int]int64{}
	for _, q := range p.sequences {
		number, ok := numbers[q.row]
		if !ok {
			number = int64(len(rows))
			numbers[q.row], rows = number, append(rows, int64(q.row))
		}
		of = append(of, number)
	}
	if len(rows) == n { // in order, as join goes by rows
		rows = nil
	}
	if len(numbers) == len(of) {
		of = nil
	}
	return rows, of
}

// only is the states and inputs of some of the rows.
func (p *pass) only(states torch.Tensor, in inputs, rows []int64) (torch.Tensor, inputs) {
	index := p.index(rows)
	some := inputs{rows: int64(len(rows)), length: in.length, mask: p.spread(in.mask, index)}
	return p.s.IndexSelect(states, 0, index), some
}

func pick(from, index []int64) []int64 {
	out := make([]int64, len(index))
	for i, k := range index {
		out[i] = from[k]
	}
	return out
}
