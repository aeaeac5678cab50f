package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"valence/runtime/mt5"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/tokenizer"
	"valence/runtime/train"
)

// The bars of the training question.
const (
	trainLarge = "large base, examples a second, against PEFT's"
	trainSmall = "builtin base, examples a second, against PEFT's"
)

// peftPad is what the published recipe pads every text to.
const peftPad = 128

func trainingQuestion() (*Question, asker) {
	return &Question{Name: "training", Title: "examples learnt from in a second, the same batches in the same order, beside PEFT", Bars: []*Bar{
		{Name: trainLarge, Need: 6, Unit: "times", Peers: true},
		{Name: trainSmall, Need: 3, Unit: "times", Peers: true},
	}}, askTraining
}

func askTraining(ctx context.Context, r *run, q *Question) error {
	large, folder, err := r.large(ctx)
	if err != nil {
		return err
	}
	err = r.trainBeside(ctx, q, large, folder, "large base", trainLarge, r.steps(1))
	if err = errors.Join(err, large.Close(), r.lock.release()); err != nil {
		return fmt.Errorf("large base: %w", err)
	}
	small, folder, err := r.small()
	if err != nil {
		return err
	}
	err = r.trainBeside(ctx, q, small, folder, "builtin base", trainSmall, r.steps(4))
	if err = errors.Join(err, small.Close()); err != nil {
		return fmt.Errorf("builtin base: %w", err)
	}
	return nil
}

// steps are those of a round: more on a GPU, where each is short, and the first ones load and
// choose the kernels of every new shape.
func (r *run) steps(onCPU int) int {
	if r.device.IsCUDA() {
		return 12 * onCPU
	}
	return onCPU
}

// trainBeside compares steps, so many a round, of our trainer and of PEFT.
func (r *run) trainBeside(ctx context.Context, q *Question, base *checkpoint.Checkpoint, folder, name, bar string, steps int) (err error) {
	l, err := newLessons(base, steps*(r.o.Rounds+1))
	if err != nil {
		return err
	}
	m, err := r.load(ctx, base, "auto")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx))) }()
	q.note(fmt.Sprintf("%s: auto is %s; texts have %.0f tokens on average, end to end here and padded to %d by PEFT", name, m.Precision(), l.meanTokens(), peftPad))
	ours, err := l.ours(name, m, steps)
	if err != nil {
		return err
	}
	if r.o.Python == "" {
		return r.compare(ctx, q, []arm{ours}, nil)
	}
	r.doing("starting PEFT")
	p, err := r.startPeer(ctx, "peft", folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	theirs := l.theirs(name, p, steps)
	if err := r.compare(ctx, q, []arm{theirs, ours}, func(got figures) { q.figure(bar, got[ours.name]/got[theirs.name]) }); err != nil {
		return err
	}
	q.note(fmt.Sprintf("%s: the first step's loss is %s here and %s of PEFT", name, Number(l.loss), Number(l.peftLoss)))
	return l.sameLoss()
}

// mostApart is how far the first losses may lie from each other: what a type of 8 bits
// makes of them, and far less than other batches would.
const mostApart = 0.05

// sameLoss makes sure that both have learnt from the same.
func (l *lessons) sameLoss() error {
	if apart := math.Abs(l.loss/l.peftLoss - 1); !(apart <= mostApart) {
		return fmt.Errorf("the first step's loss is %v here and %v of PEFT: they do not learn from the same batches", l.loss, l.peftLoss)
	}
	return nil
}

// lessons are examples, as texts and as ids.
type lessons struct {
	base   *checkpoint.Checkpoint
	tok    *tokenizer.Tokenizer
	recipe train.Recipe
	data   train.Data
	ids    [][]int32 // of the texts
	labels [][]int32

	loss, peftLoss float64 // of the first step
}

func newLessons(base *checkpoint.Checkpoint, steps int) (*lessons, error) {
	tok, err := tokenizer.Parse(base.Tokenizer)
	if err != nil {
		return nil, err
	}
	l := &lessons{base: base, tok: tok, recipe: train.DefaultRecipe()}
	l.recipe.Epochs, l.recipe.KeepOrder, l.recipe.Validation = 1, true, 0
	names := []string{"negative", "neutral", "positive"}
	for _, name := range names {
		l.data.Labels = append(l.data.Labels, train.Label{Name: name, Verbaliser: name})
	}
	texts, err := textsOfLength(tok, steps*l.recipe.BatchSize)
	if err != nil {
		return nil, err
	}
	for i, text := range texts {
		label := names[i%len(names)]
		l.data.Examples = append(l.data.Examples, train.Example{Text: text, Label: label, Row: i + 1})
		if err := l.encode(text, label); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// encode keeps what PEFT is given.
func (l *lessons) encode(text, label string) error {
	x, err := l.tok.Encode(text, tokenizer.Options{AddSpecial: true, MaxTokens: l.recipe.MaxTokens})
	if err != nil {
		return err
	}
	y, err := l.tok.Encode(label, tokenizer.Options{AddSpecial: true, MaxTokens: l.recipe.LabelTokens})
	if err != nil {
		return err
	}
	l.ids, l.labels = append(l.ids, x.IDs), append(l.labels, y.IDs)
	return nil
}

func (l *lessons) meanTokens() float64 {
	n := 0
	for _, row := range l.ids {
		n += len(row)
	}
	return float64(n) / float64(len(l.ids))
}

// ours takes so many steps and gives the examples learnt from in a second.
func (l *lessons) ours(name string, m *mt5.Model, steps int) (arm, error) {
	t, err := train.Open(train.Job{Recipe: l.recipe, Data: l.data, Base: l.base.Digest(), Sites: l.base.Config.DefaultSites()}, m, l.tok)
	if err != nil {
		return arm{}, err
	}
	return arm{name + ", Valence", "examples/s", func(ctx context.Context) (float64, error) {
		until := t.Steps(0) + steps
		start := time.Now()
		if _, err := t.Run(ctx, func() bool { return t.Steps(0) >= until }, l.hear); err != nil {
			return 0, err
		}
		seconds := time.Since(start).Seconds()
		if t.Steps(0) != until {
			return 0, fmt.Errorf("the training stands at step %d and not at %d", t.Steps(0), until)
		}
		return float64(steps*l.recipe.BatchSize) / seconds, nil
	}}, nil
}

// hear keeps the first loss.
func (l *lessons) hear(e train.Event) {
	if e.Kind == train.Stepped && e.Step == 1 {
		l.loss = e.Loss
	}
}

// theirs does the same with PEFT.
func (l *lessons) theirs(name string, p *peer, steps int) arm {
	at := 0
	all := len(l.ids) / l.recipe.BatchSize
	return arm{name + ", PEFT", "examples/s", func(context.Context) (float64, error) {
		seconds := 0.0
		for range steps {
			from, to := at, at+l.recipe.BatchSize
			at = to
			got, err := p.ask(map[string]any{
				"op": "train", "ids": l.ids[from:to], "labels": l.labels[from:to], "pad": peftPad, "rate": l.recipe.LearningRate, "steps": all,
			})
			if err != nil {
				return 0, err
			}
			if from == 0 {
				l.peftLoss = got.Loss
			}
			seconds += got.Seconds
		}
		return float64(steps*l.recipe.BatchSize) / seconds, nil
	}}
}

// Lengths of texts that are trained on, in tokens: the average is that of the published
// recipe's news sentences.
const (
	meanLength   = 34
	spreadLength = 14
)

// textsOfLength makes texts whose lengths scatter as those of sentences do.
func textsOfLength(tok *tokenizer.Tokenizer, n int) ([]string, error) {
	random := rand.New(rand.NewPCG(17, 4))
	long := makeTexts(n, 19)
	seen := map[string]bool{}
	for i := range long {
		want := int(min(max(8, meanLength+spreadLength*random.NormFloat64()), 100))
		words := strings.Fields(strings.Join(append([]string{long[i]}, makeTexts(12, uint64(100+i))...), " "))
		cut := 1
		for ; cut < len(words); cut++ {
			e, err := tok.Encode(strings.Join(words[:cut], " "), tokenizer.Options{AddSpecial: true})
			if err != nil {
				return nil, err
			}
			if len(e.IDs) >= want {
				break
			}
		}
		long[i] = strings.Join(words[:cut], " ")
		for seen[long[i]] { // the same text twice would be told as a fault of the data
			long[i] += " " + words[cut%len(words)]
			cut++
		}
		seen[long[i]] = true
	}
	return slices.Clip(long), nil
}
