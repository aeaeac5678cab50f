package mt5

import (
	"math"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// questions are a lesson's choices in the order in which the head answers them:
// those out of the whole vocabulary, then those among a few tokens.
type questions struct {
	whole, among []question
	weights      []float32
	next         []int64 // tokens that any of among is about
	shape        []int   // choices of each row
}

// question is one choice and its number in the order of rows and choices.
type question struct {
	spec.Choice
	number int
}

func ask(l *spec.Lesson) *questions {
	q := &questions{}
	number := 0
	for _, row := range l.Rows {
		q.shape = append(q.shape, len(row.Choices))
		for _, c := range row.Choices {
			if c.Among == nil {
				q.whole = append(q.whole, question{c, number})
			} else {
				q.among = append(q.among, question{c, number})
			}
			number++
		}
	}
	seen := map[int32]bool{}
	for _, c := range q.among {
		for _, id := range c.Among {
			if !seen[id] {
				seen[id] = true
				q.next = append(q.next, int64(id))
			}
		}
	}
	for _, of := range [][]question{q.whole, q.among} {
		for _, c := range of {
			q.weights = append(q.weights, c.Weight)
		}
	}
	return q
}

// byRow puts values in the order of q.weights into that of rows and choices.
func byRow[T any](q *questions, values []T) [][]T {
	flat := make([]T, len(values))
	for i, c := range q.whole {
		flat[c.number] = values[i]
	}
	for i, c := range q.among {
		flat[c.number] = values[len(q.whole)+i]
	}
	out := make([][]T, len(q.shape))
	for i, n := range q.shape {
		out[i], flat = flat[:n:n], flat[n:]
	}
	return out
}

// column gives the place of each of the tokens next.
func (q *questions) column() map[int64]int64 {
	at := map[int64]int64{}
	for i, id := range q.next {
		at[id] = int64(i)
	}
	return at
}

// truths are the places of the true tokens among those that logits are read for.
func (q *questions) truths() (whole, among []int64) {
	at := q.column()
	for _, c := range q.whole {
		whole = append(whole, int64(c.Truth))
	}
	for _, c := range q.among {
		among = append(among, at[int64(c.Among[c.Truth])])
	}
	return whole, among
}

// hidden is [among, next]: 0 where a token is among a choice's, -inf elsewhere.
func (q *questions) hidden() []float32 {
	at := q.column()
	mask := make([]float32, len(q.among)*len(q.next))
	for i := range mask {
		mask[i] = float32(math.Inf(-1))
	}
	for i, c := range q.among {
		for _, id := range c.Among {
			mask[i*len(q.next)+int(at[int64(id)])] = 0
		}
	}
	return mask
}

// logProbs are those of the whole vocabulary for the choices out of it, and of the
// tokens next for the others, -inf where a token is not among a choice's; none for
// no choices. x is [sequences, length, D].
func (st *study) logProbs(p *pass, x torch.Tensor, q *questions) (whole, among torch.Tensor) {
	s, m := p.s, st.m
	x = s.Reshape(x, -1, int64(m.config.DModel))
	at := func(of []question) torch.Tensor {
		places := make([]int64, len(of))
		for i, c := range of {
			places[i] = st.plan.at[c.number]
		}
		return s.IndexSelect(x, 0, s.Int64s(places, int64(len(places))))
	}
	if len(q.whole) > 0 {
		whole = s.LogSoftmax(p.vocabulary(at(q.whole)))
	}
	if n := int64(len(q.among)); n > 0 {
		k := int64(len(q.next))
		logits := p.logits(at(q.among), s.IndexSelect(m.head, 0, s.Int64s(q.next, k)))
		among = s.LogSoftmax(s.Add(logits, s.Float32s(q.hidden(), n, k)))
	}
	return whole, among
}

// losses are -log(probability of the truth), [choices] in the order of q.weights.
func losses(s *torch.Scope, whole, among torch.Tensor, q *questions) torch.Tensor {
	wholeTruth, amongTruth := q.truths()
	var parts []torch.Tensor
	for _, part := range []struct {
		logProbs torch.Tensor
		truth    []int64
	}{{whole, wholeTruth}, {among, amongTruth}} {
		if part.truth != nil {
			parts = append(parts, s.Pick(part.logProbs, s.Int64s(part.truth, int64(len(part.truth)))))
		}
	}
	return s.Mul(s.Cat(0, parts...), s.Full(-1, torch.Float32, 1))
}

// loss is the last stretch of a lesson to learn from.
func (st *study) loss(x *value, q *questions) error {
	_, err := st.run(none, none, []*value{x}, func(p *pass, x []torch.Tensor) torch.Tensor {
		whole, among := st.logProbs(p, x[0], q)
		nll := losses(p.s, whole, among, q)
		st.losses = st.keep(p.s, p.s.Leaf(nll))
		return nll
	})
	return err
}

// verdicts is the end of a lesson to judge.
func (st *study) verdicts(x *value, q *questions) ([][]spec.Verdict, error) {
	f, err := st.fetch(func(s *torch.Scope) []torch.Tensor {
		whole, among := st.logProbs(&pass{m: st.m, s: s}, x.t, q)
		results := []torch.Tensor{losses(s, whole, among, q)}
		if whole.Defined() {
			results = append(results, s.ArgMax(whole))
		}
		if among.Defined() {
			results = append(results, among)
		}
		return results
	})
	if err != nil {
		return nil, err
	}
	out := make([]spec.Verdict, len(q.whole)+len(q.among))
	for i, loss := range f.Float32s(0) {
		out[i].Loss = loss
	}
	next := 1
	if len(q.whole) > 0 {
		for i, id := range f.Int64s(next) {
			out[i].Best = int(id)
		}
		next++
	}
	if len(q.among) > 0 {
		q.judgeAmong(f.Float32s(next), out[len(q.whole):])
	}
	return byRow(q, out), nil
}

// judgeAmong reads the log-probabilities [among, next] of the choices among a few tokens.
func (q *questions) judgeAmong(all []float32, out []spec.Verdict) {
	at := q.column()
	for i, c := range q.among {
		v := &out[i]
		for j, id := range c.Among {
			p := all[i*len(q.next)+int(at[int64(id)])]
			if v.LogProbs = append(v.LogProbs, p); p > v.LogProbs[v.Best] {
				v.Best = j
			}
		}
	}
}
