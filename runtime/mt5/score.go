package mt5

import (
	"context"
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
	plan, err := m.plan(len(b.IDs), probes)
	if err != nil || len(probes) == 0 {
		return nil, err
	}
	var out [][]float32
	err = m.thread.Do(ctx, torch.Serving, func(s *torch.Scope) error {
		p, slots, err := m.begin(s, b)
		if err != nil {
			return err
		}
		out, err = p.score(b, plan, slots)
		return err
	})
	return out, err
}

// begin places the batch's adapters on the device and gathers their vectors.
func (m *Model) begin(s *torch.Scope, b *spec.Batch) (*pass, []int64, error) {
	slots, err := m.table.place(s, b.Adapters)
	if err != nil {
		return nil, nil, err
	}
	return &pass{m: m, s: s, sc: m.table.gather(s, slots, m.dtype)}, slots, nil
}

// plan is what a batch's probes ask of the decoder. Probes of one row whose
// prefixes begin alike share a sequence.
type plan struct {
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

func (m *Model) plan(rows int, probes []spec.Probe) (*plan, error) {
	p := &plan{columns: make([][]int64, len(probes))}
	seen := map[int32]int64{}
	for i, probe := range probes {
		if probe.Row < 0 || probe.Row >= rows {
			return nil, fmt.Errorf("%w: probe %d is for row %d of %d", ErrBatch, i, probe.Row, rows)
		}
		if len(probe.Next) == 0 {
			return nil, fmt.Errorf("%w: probe %d asks for no tokens", ErrBatch, i)
		}
		if err := m.checkIDs(slices.Concat(probe.Prefix, probe.Next)); err != nil {
			return nil, fmt.Errorf("%w: probe %d: %w", ErrBatch, i, err)
		}
		for _, id := range probe.Next {
			if _, ok := seen[id]; !ok {
				seen[id] = int64(len(p.next))
				p.next = append(p.next, int64(id))
			}
			p.columns[i] = append(p.columns[i], seen[id])
		}
	}
	p.join(probes)
	return p, nil
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

func (p *pass) score(b *spec.Batch, plan *plan, slots []int64) ([][]float32, error) {
	s, m := p.s, p.m
	n := int64(len(plan.sequences))
	x := p.written(plan, slots, p.pad(b.IDs))
	x = s.Reshape(x, n*plan.length, int64(m.config.DModel))
	x = s.IndexSelect(x, 0, s.Int64s(plan.at, int64(len(plan.at))))
	head := s.IndexSelect(m.head, 0, s.Int64s(plan.next, int64(len(plan.next))))
	all, err := s.ReadFloat32s(p.logits(x, head))
	if err != nil {
		return nil, err
	}
	out := make([][]float32, len(plan.at))
	for i, columns := range plan.columns {
		row := all[i*len(plan.next):]
		for _, c := range columns {
			out[i] = append(out[i], row[c])
		}
	}
	return out, nil
}

// written gives the decoder's states of the plan's sequences: [N, length, D].
func (p *pass) written(plan *plan, slots []int64, in inputs) torch.Tensor {
	m, s := p.m, p.s
	states, rows := p.encode(in), plan.rows(int(in.rows))
	first := plan.length == 1 && p.absorbs()
	var mem memory
	if !first {
		mem = p.remember(states, in, rows)
	}
	if rows != nil {
		p.sc = m.table.gather(s, pick(slots, rows), m.dtype)
	}
	n := int64(len(plan.sequences))
	ids := s.Int64s(plan.ids(m.config.StartID), n, plan.length)
	if !first {
		return p.decode(ids, n, plan.length, mem, &past{})
	}
	index := p.index(rows)
	return p.first(ids, n, p.spread(states, index), p.spread(in.mask, index))
}

func pick(from, index []int64) []int64 {
	out := make([]int64, len(index))
	for i, k := range index {
		out[i] = from[k]
	}
	return out
}
