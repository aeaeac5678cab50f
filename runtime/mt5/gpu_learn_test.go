package mt5

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// byOperators gives what f gives of the model when it learns by libtorch's operators.
func (g *gpuTest) byOperators(f func()) {
	gpu := g.m.gpu
	g.m.gpu = torch.GPU{}
	f()
	g.m.gpu = gpu
}

// TestGPULearns holds a lesson by the GPU's kernels to the same in float32, and to the same by
// libtorch's operators, which are as far from it: losses, and the directions of the gradients.
func TestGPULearns(t *testing.T) {
	g := newGPUTest(t)
	all := everywhere(g.m.config)
	dropping := lessonAt(all, 4)
	dropping.Dropout = 0.2
	for name, l := range map[string]*spec.Lesson{
		"default sites": lesson(&fixture{model: g.exact}, 7), "every projection": lessonAt(all, 4), "one text": lesson(&fixture{model: g.exact}, 1), "dropout": dropping,
	} {
		t.Run(name, func(t *testing.T) {
			want, got := learn(t, g.exact, l), learn(t, g.m, l)
			var single *spec.Gradient
			g.byOperators(func() { single = learn(t, g.m, l) })
			far, near := lossesApart(got.Losses, want.Losses), lossesApart(single.Losses, want.Losses)
			t.Logf("losses apart from float32: kernels %.4f, operators %.4f", far, near)
			if !(far < 0.03) || !(far < 1.5*near+0.005) {
				t.Errorf("losses are %v from float32's, by operators %v", far, near)
			}
			for run := range want.Runs {
				if want.Runs[run] == nil {
					continue
				}
				c, d := cosine(got.Runs[run], want.Runs[run]), cosine(single.Runs[run], want.Runs[run])
				t.Logf("run %d: cosines with float32: kernels %.5f, operators %.5f", run, c, d)
				if !(c >= 0.995) || !(1-c < 2*(1-d)+0.0005) {
					t.Errorf("run %d: the gradient's cosine with float32's is %v, by operators %v", run, c, d)
				}
			}
		})
	}
}

// lossesApart is the mean of how far losses are apart, as a part of one and their size.
func lossesApart(a, b [][]float32) float64 {
	sum, n := 0.0, 0
	for i := range a {
		for j, x := range a[i] {
			sum += math.Abs(float64(x-b[i][j])) / (1 + math.Abs(float64(b[i][j])))
			n++
		}
	}
	return sum / float64(n)
}

// TestGPULearnsAlone holds a row's part of the gradient to what it is beside others.
func TestGPULearnsAlone(t *testing.T) {
	g := newGPUTest(t)
	l := lesson(&fixture{model: g.exact}, 3) // a run for each row
	together := learn(t, g.m, l)
	for i, row := range l.Rows {
		one := *l
		one.Rows = []spec.LessonRow{row}
		alone := learn(t, g.m, &one)
		if c := cosine(alone.Runs[row.Run], together.Runs[row.Run]); !(c >= 0.9995) {
			t.Errorf("row %d: the cosine of its gradient alone and beside others is %v", i, c)
		}
		for j, x := range alone.Losses[0] {
			if y := together.Losses[i][j]; math.Abs(float64(x-y)) > 0.03*(1+math.Abs(float64(y))) {
				t.Errorf("row %d, choice %d: loss %v alone, %v beside others", i, j, x, y)
			}
		}
	}
}

// TestGPUJudges has several sequences look at one text.
func TestGPUJudges(t *testing.T) {
	g := newGPUTest(t)
	l := lesson(&fixture{model: g.exact}, 3)
	for i := range l.Rows {
		l.Rows[i].Choices = append(l.Rows[i].Choices, spec.Choice{Prefix: []int32{30}, Among: []int32{31, 1}, Truth: i % 2})
	}
	losses := func(m *Model) (out [][]float32) {
		v, err := m.Judge(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range v {
			var of []float32
			for _, c := range row {
				of = append(of, c.Loss)
			}
			out = append(out, of)
		}
		return out
	}
	want, got := losses(g.exact), losses(g.m)
	var single [][]float32
	g.byOperators(func() { single = losses(g.m) })
	far, near := lossesApart(got, want), lossesApart(single, want)
	t.Logf("losses apart from float32: kernels %.4f, operators %.4f", far, near)
	if !(far < 0.03) || !(far < 1.5*near+0.005) {
		t.Errorf("losses are %v from float32's, by operators %v", far, near)
	}
}

// like is the lesson with texts of other lengths, that are as many tokens in all or a few less.
func like(l *spec.Lesson, seed uint64) *spec.Lesson {
	out := *l
	out.Rows = slices.Clone(l.Rows)
	rng := rand.New(rand.NewPCG(seed, 3))
	for i := range out.Rows {
		j := (i + 1) % len(out.Rows)
		if n := len(out.Rows[i].IDs); n > 2 && i%2 == 0 {
			cut := 1 + rng.IntN(n-1)
			out.Rows[j].IDs = slices.Concat(out.Rows[i].IDs[cut:], out.Rows[j].IDs)
			out.Rows[i].IDs = out.Rows[i].IDs[:cut]
		}
	}
	return &out
}

// TestGPULessonsAreReplayed has lessons of one form come again and again, and others between
// them and beside them: a form that came twice is recorded, and what is replayed gives the bits
// that its layers give one by one.
func TestGPULessonsAreReplayed(t *testing.T) {
	g := newGPUTest(t)
	first := lesson(&fixture{model: g.exact}, 6)
	second, third := like(first, 1), like(first, 2)
	other := lesson(&fixture{model: g.exact}, 2)
	dropping, dropped := like(other, 1), like(other, 1) // of which other elements are dropped
	for i := range dropping.Rows {
		dropping.Dropout, dropped.Dropout = 0.3, 0.3
		dropped.Rows[i].Key++
	}
	want := map[*spec.Lesson]*spec.Gradient{}
	for i, l := range []*spec.Lesson{first, other, second, third, first, other, dropping, first, second, dropped, third, other, dropping, second, dropped} {
		got := learn(t, g.m, l)
		if want[l] == nil {
			want[l] = got
		}
		if !reflect.DeepEqual(got, want[l]) {
			t.Errorf("lesson %d gives other bits than the first time", i)
		}
	}
	if n := g.m.gpu.LessonRecords(); n != 3 || g.m.gpu.Unrecorded() != "" {
		t.Fatalf("%d forms are recorded, not 3: %s", n, g.m.gpu.Unrecorded())
	}
	if reflect.DeepEqual(want[dropping], want[dropped]) {
		t.Error("keys do not decide what is dropped")
	}
	exact := learn(t, g.exact, third)
	for run := range exact.Runs {
		if c := cosine(want[third].Runs[run], exact.Runs[run]); !(c >= 0.995) {
			t.Errorf("run %d: the cosine of a replayed gradient with float32's is %v", run, c)
		}
	}
	var beside errgroup.Group
	for range 4 {
		for _, l := range []*spec.Lesson{first, second, other} {
			beside.Go(func() error {
				got, err := g.m.Learn(t.Context(), l)
				if err == nil && !reflect.DeepEqual(got, want[l]) {
					return errors.New("a lesson beside others gives other bits than alone")
				}
				return err
			})
		}
	}
	if err := beside.Wait(); err != nil {
		t.Error(err)
	}
}

// TestGPULessonsThatEnd has lessons end on their way, whose memory others get.
func TestGPULessonsThatEnd(t *testing.T) {
	g := newGPUTest(t)
	l := lesson(&fixture{model: g.exact}, 3)
	want := learn(t, g.m, l)
	for turns := range 40 {
		ctx, cancel := context.WithCancel(t.Context())
		st, err := g.m.study(ctx, l)
		if err != nil {
			t.Fatal(err)
		}
		left := turns
		st.learn, st.watch = true, func() {
			if left--; left < 0 {
				cancel()
			}
		}
		if got, err := st.teach(); err == nil && !reflect.DeepEqual(got, want) || err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("a lesson that may take %d turns ends with %v", turns, err)
		}
		cancel()
	}
	if got := learn(t, g.m, l); !reflect.DeepEqual(got, want) {
		t.Error("after lessons that ended a lesson gives other bits than before")
	}
}

// TestGPUServesBesideLessons asks while lessons go on, with probes of the first step and behind
// prefixes, whose forms are recorded meanwhile: both get the bits that they have alone.
func TestGPUServesBesideLessons(t *testing.T) {
	g := newGPUTest(t)
	l := lesson(&fixture{model: g.exact}, 4)
	b := g.batch([]*spec.Vectors{nil, g.vectors(t, g.m.config.DefaultSites())}, 5, 9, 14)
	probes := []spec.Probe{{Row: 0, Next: []int32{30, 40}}, {Row: 1, Prefix: []int32{30}, Next: []int32{31, 1}}, {Row: 2, Next: []int32{50}}}
	score := func() [][]float32 {
		out, err := g.m.Score(t.Context(), b, probes)
		if err != nil {
			t.Error(err)
		}
		return out
	}
	rounds := 4
	if g.real {
		rounds = 200
	}
	var learnt, scores [2]any
	for i := range learnt { // the second time other shapes may round differently
		learnt[i], scores[i] = learn(t, g.m, l), score()
	}
	var beside errgroup.Group
	beside.Go(func() error {
		for range rounds {
			if got, err := g.m.Learn(t.Context(), l); err != nil || !reflect.DeepEqual(got, learnt[1]) {
				return fmt.Errorf("a lesson beside questions gives other bits than alone, or fails: %w", err)
			}
		}
		return nil
	})
	for range 4 * rounds {
		if got := score(); !reflect.DeepEqual(got, scores[1]) {
			t.Fatalf("beside lessons: %v, alone %v", got, scores[1])
		}
	}
	if err := beside.Wait(); err != nil {
		t.Error(err)
	}
}
