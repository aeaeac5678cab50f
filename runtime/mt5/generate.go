package mt5

import (
	"context"
	"fmt"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// Generate writes each row's most likely next token until the end marker or
// maxNew tokens: transformers' greedy generate without its start token. A row's
// ids hold the end marker if it was written, and nothing after it.
func (m *Model) Generate(ctx context.Context, b *spec.Batch, maxNew int) ([][]int32, error) {
	if err := m.check(b); err != nil {
		return nil, err
	}
	if maxNew < 1 {
		return nil, fmt.Errorf("%w: at least 1 new token must be allowed, not %d", ErrBatch, maxNew)
	}
	var out [][]int32
	err := m.thread.Do(ctx, torch.Serving, func(s *torch.Scope) error {
		p, err := m.begin(s, b)
		if err != nil {
			return err
		}
		out, err = p.generate(ctx, b, maxNew)
		return err
	})
	return out, err
}

func (p *pass) generate(ctx context.Context, b *spec.Batch, maxNew int) ([][]int32, error) {
	s, c := p.s, p.m.config
	in := p.pad(b.IDs)
	mem := p.remember(p.encode(in), in, nil)
	g := newGreedy(len(b.IDs), c)
	written := &past{}
	mark := s.Mark()
	for range maxNew {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		x := p.decode(s.Int64s(g.last, in.rows, 1), in.rows, 1, mem, written)
		best := s.ArgMax(p.vocabulary(s.Reshape(x, in.rows, int64(c.DModel))))
		ids, err := s.ReadInt64s(best)
		if err != nil {
			return nil, err
		}
		s.Keep(mark, written.handles()...)
		if g.write(ids) {
			break
		}
	}
	return g.rows, nil
}

// greedy is the rows written so far.
type greedy struct {
	config *spec.Config
	rows   [][]int32
	last   []int64 // token that each row reads next
	done   []bool
	left   int // rows that go on
}

func newGreedy(n int, c *spec.Config) *greedy {
	g := &greedy{config: c, rows: make([][]int32, n), last: make([]int64, n), done: make([]bool, n), left: n}
	for i := range g.last {
		g.last[i] = int64(c.StartID)
	}
	return g
}

// write adds one token to each row that goes on and tells whether all have ended.
func (g *greedy) write(ids []int64) bool {
	for i, id := range ids {
		if g.done[i] {
			continue
		}
		g.rows[i] = append(g.rows[i], int32(id))
		g.last[i] = id
		if int32(id) == g.config.EOSID {
			g.done[i], g.last[i] = true, int64(g.config.PadID)
			g.left--
		}
	}
	return g.left == 0
}
