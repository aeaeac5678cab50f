package train

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"valence/runtime/mt5/spec"
)

// pupil is one row of a step of one run.
type pupil struct {
	run *run
	row int
	spec.LessonRow
}

// outcome is what a step's micro-batches have given one run so far.
type outcome struct {
	loss     float64
	gradient []float64
	broken   []int // rows, by Example.Row
}

// learn takes one step of every run that has one left in this epoch.
func (t *Trainer) learn(ctx context.Context) ([]Event, error) {
	var learning []*run
	var pupils []pupil
	for _, r := range t.runs {
		if t.learns(r) {
			learning, pupils = append(learning, r), append(pupils, t.pupils(r)...)
		}
	}
	outcomes := make([]outcome, len(t.runs))
	for _, batch := range t.microBatches(pupils) {
		if err := t.teach(ctx, batch, outcomes); err != nil {
			return nil, err
		}
	}
	t.examples += len(pupils)
	return t.step(learning, outcomes), nil
}

// step has runs take their steps beside each other: a GPU has nothing to do meanwhile.
func (t *Trainer) step(runs []*run, outcomes []outcome) []Event {
	events := make([]Event, len(runs))
	var steps sync.WaitGroup
	for i, r := range runs {
		steps.Go(func() { events[i] = t.take(r, &outcomes[r.number]) })
	}
	steps.Wait()
	return events
}

// pupils are the rows of a run's next step. Their weights make the loss of the step
// the mean over its label tokens, or over its rows.
func (t *Trainer) pupils(r *run) []pupil {
	recipe := &t.job.Recipe
	rows := r.batch(recipe)
	sum := 0.0
	for _, i := range rows {
		sum += t.weight(i) * t.parts(i)
	}
	keys := source(r.seed, streamDropout+streams*uint64(r.step))
	out := make([]pupil, len(rows))
	for k, i := range rows {
		choices := slices.Clone(t.targets[t.rows[i].label].learnt)
		for c := range choices {
			if sum > 0 { // all of a batch's labels may weigh nothing
				choices[c].Weight = float32(t.weight(i) / sum)
			}
		}
		out[k] = pupil{r, i, spec.LessonRow{IDs: t.rows[i].ids, Run: r.number, Choices: choices, Key: keys.Uint64()}}
	}
	return out
}

// weight is that of a row's class.
func (t *Trainer) weight(row int) float64 {
	if w, ok := t.job.Recipe.ClassWeights[t.labels[t.rows[row].label].Name]; ok {
		return w
	}
	return 1
}

// parts is what a row counts in a mean: its label's tokens, or one.
func (t *Trainer) parts(row int) float64 {
	if t.job.Recipe.Objective == LabelTrie {
		return 1
	}
	return float64(len(t.targets[t.rows[row].label].learnt))
}

// microBatches sorts rows by length and cuts them into as few parts as the recipe's bound
// allows, of about as many tokens each.
func (t *Trainer) microBatches(pupils []pupil) [][]pupil {
	slices.SortStableFunc(pupils, func(a, b pupil) int { return cmp.Compare(len(b.IDs), len(a.IDs)) })
	var out [][]pupil
	for left := cost(pupils); len(pupils) > 0; {
		n := t.fits(pupils, left)
		left -= cost(pupils[:n])
		out, pupils = append(out, pupils[:n]), pupils[n:]
	}
	return out
}

// fits is how many of the pupils, which cost all, go through the model together.
func (t *Trainer) fits(pupils []pupil, all int) int {
	most := t.job.Recipe.MicroTokens
	share := all / ((all + most - 1) / most)
	n, sum := 0, 0
	for _, p := range pupils {
		next := sum + p.cost()
		if n > 0 && (sum >= share || next > most) {
			break
		}
		n, sum = n+1, next
	}
	return n
}

// leastCost is what a short text costs, of which the decoder and the head have as much to do
// as of a long one.
const leastCost = 24

// cost is a text's share of MicroTokens: its tokens, or leastCost.
func (p *pupil) cost() int { return max(leastCost, len(p.IDs)) }

func cost(pupils []pupil) (sum int) {
	for i := range pupils {
		sum += pupils[i].cost()
	}
	return sum
}

func (t *Trainer) lesson(batch []pupil) *spec.Lesson {
	l := &spec.Lesson{Sites: t.job.Sites}
	for _, r := range t.runs {
		l.Vectors = append(l.Vectors, r.live.Load().Data)
	}
	for _, p := range batch {
		l.Rows = append(l.Rows, p.LessonRow)
	}
	return l
}

// teach adds what one micro-batch gives to the outcomes of its runs.
func (t *Trainer) teach(ctx context.Context, batch []pupil, outcomes []outcome) error {
	l := t.lesson(batch)
	l.Dropout = t.job.Recipe.Dropout
	g, err := t.model.Learn(ctx, l)
	if err != nil {
		return err
	}
	for i, p := range batch {
		o := &outcomes[p.run.number]
		loss := 0.0
		for j, c := range p.Choices {
			loss += float64(c.Weight) * float64(g.Losses[i][j])
		}
		if o.loss += loss; !isFinite(loss) || slices.Contains(g.Broken, i) {
			o.broken = append(o.broken, t.rows[p.row].at)
		}
	}
	var sums sync.WaitGroup
	for run, v := range g.Runs {
		sums.Go(func() { outcomes[run].add(v) })
	}
	sums.Wait()
	return nil
}

// add adds a gradient, where there is one.
func (o *outcome) add(gradient []float32) {
	if o.gradient == nil && gradient != nil {
		o.gradient = make([]float64, len(gradient))
	}
	for i, x := range gradient {
		o.gradient[i] += float64(x)
	}
}

// take is a run's step, or its end where a number is not finite: the vectors stay
// those before the step.
func (t *Trainer) take(r *run, o *outcome) Event {
	recipe := &t.job.Recipe
	if o.broken != nil {
		r.fail(&Failure{Step: r.step + 1, Rows: o.broken, Reason: "a loss or a gradient is not finite; " + t.advice(r)})
		return Event{Kind: Failed, Run: r.number, Failure: r.failed}
	}
	clip(o.gradient, recipe.ClipNorm)
	rate := rateAt(r.rate, r.step, r.steps)
	before := r.live.Load()
	after := r.adam.step(recipe, before.Data, o.gradient, rate, r.step+1)
	if slices.ContainsFunc(after, func(x float32) bool { return !isFinite(float64(x)) }) {
		r.fail(&Failure{Step: r.step + 1, Reason: "a vector is not finite after the step; lower the learning rate, or set clip_norm"})
		return Event{Kind: Failed, Run: r.number, Failure: r.failed}
	}
	r.live.Store(&spec.Vectors{Sites: before.Sites, Data: after})
	r.step++
	r.lossSum += o.loss
	r.losses++
	return Event{Kind: Stepped, Run: r.number, Loss: o.loss, LearningRate: rate}
}

// advice is what to do about numbers that are not finite. Before the first step they come
// of what the run starts from.
func (t *Trainer) advice(r *run) string {
	if r.step == 0 && t.job.Start != nil {
		return "it is what the version to start from gives: start from another, or from the base"
	}
	return "lower the learning rate, or set clip_norm"
}
