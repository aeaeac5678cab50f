package mt5

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// lesson has rows of three runs and of many lengths, with choices out of the whole
// vocabulary and among a few tokens.
func lesson(f *fixture, rows int) *spec.Lesson {
	return lessonAt(f.model.config.DefaultSites(), rows)
}

// lessonAt is lesson with vectors at other sites.
func lessonAt(sites []spec.Site, rows int) *spec.Lesson {
	rng := rand.New(rand.NewPCG(1, 2))
	l := &spec.Lesson{Sites: sites}
	for range 3 {
		v := make([]float32, spec.Total(l.Sites))
		for i := range v {
			v[i] = 1 + 0.3*float32(rng.NormFloat64())
		}
		l.Vectors = append(l.Vectors, v)
	}
	for i := range rows {
		ids := make([]int32, 1+rng.IntN(20))
		for j := range ids {
			ids[j] = 3 + rng.Int32N(100)
		}
		l.Rows = append(l.Rows, spec.LessonRow{
			IDs: append(ids, 1), Run: i % 3, Key: rng.Uint64(),
			Choices: []spec.Choice{
				{Truth: 20 + i%4, Weight: 0.2},
				{Among: []int32{20, 30, 40}, Truth: i % 3, Weight: 0.5},
				{Prefix: []int32{20}, Among: []int32{31, 1}, Truth: i % 2, Weight: 0.25},
				{Prefix: []int32{20, 31}, Truth: 1, Weight: 0.3},
			},
		})
	}
	return l
}

func learn(t *testing.T, m *Model, l *spec.Lesson) *spec.Gradient {
	t.Helper()
	g, err := m.Learn(ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// total is the weighted loss of a run's rows.
func total(l *spec.Lesson, losses [][]float32, run int) float64 {
	sum := 0.0
	for i, row := range l.Rows {
		for j, c := range row.Choices {
			if row.Run == run {
				sum += float64(c.Weight) * float64(losses[i][j])
			}
		}
	}
	return sum
}

// TestGradientsEqualFiniteDifferences moves each run's vectors along random
// directions and along each kind of site.
func TestGradientsEqualFiniteDifferences(t *testing.T) { everyWay(t, testGradients) }

func testGradients(t *testing.T, way string) {
	for _, variant := range variants {
		for _, rate := range []float64{0, 0.25} {
			f := loadAs(t, variant, way)
			l := lesson(f, 7)
			l.Dropout = rate
			g := learn(t, f.model, l)
			for run := range l.Vectors {
				for d, direction := range directions(l.Sites) {
					step, allowed := 1e-3, 2e-3
					if f.model.config.Activation == spec.ReLU { // whose kinks a long step crosses: rounding weighs more on a short one
						step, allowed = 5e-4, 2e-2
					}
					want := slope(t, f.model, l, run, direction, float32(step))
					got, size := 0.0, 0.0
					for i, u := range direction {
						got += float64(g.Runs[run][i]) * float64(u)
						size += math.Abs(float64(g.Runs[run][i]) * float64(u))
					}
					if !(math.Abs(got-want) <= allowed*math.Max(size, 1)) {
						t.Errorf("%s, dropout %v, run %d, direction %d: gradient %v, differences %v (size %v)", variant, rate, run, d, got, want, size)
					}
				}
			}
		}
	}
}

// directions are two random ones and one for each site alone.
func directions(sites []spec.Site) [][]float32 {
	rng := rand.New(rand.NewPCG(5, 6))
	var out [][]float32
	random := func(from, to int) {
		u := make([]float32, spec.Total(sites))
		for i := from; i < to; i++ {
			u[i] = float32(rng.NormFloat64())
		}
		out = append(out, u)
	}
	at := 0
	for _, site := range sites {
		random(at, at+site.Size)
		at += site.Size
	}
	random(0, at)
	return out
}

// slope is the central difference of a run's loss along a direction.
func slope(t *testing.T, m *Model, l *spec.Lesson, run int, direction []float32, step float32) float64 {
	t.Helper()
	at := func(by float32) float64 {
		moved := *l
		moved.Vectors = slices.Clone(l.Vectors)
		moved.Vectors[run] = slices.Clone(l.Vectors[run])
		for i, u := range direction {
			moved.Vectors[run][i] += by * u
		}
		return total(l, learn(t, m, &moved).Losses, run)
	}
	return (at(step) - at(-step)) / (2 * float64(step))
}

// TestLearningAloneEqualsTogether takes a run's rows out of the common lesson, and
// its rows apart from one another: losses and gradients stay.
func TestLearningAloneEqualsTogether(t *testing.T) {
	for _, rate := range []float64{0, 0.25} {
		f := load(t, "mt5")
		l := lesson(f, 12)
		l.Dropout = rate
		g := learn(t, f.model, l)
		sums := [3][]float64{}
		for i, row := range l.Rows {
			alone := *l
			alone.Rows = []spec.LessonRow{row}
			one := learn(t, f.model, &alone)
			if !near(one.Losses[0], g.Losses[i]) {
				t.Errorf("dropout %v, row %d: losses %v alone, %v together", rate, i, one.Losses[0], g.Losses[i])
			}
			for run, v := range one.Runs {
				if (v != nil) != (run == row.Run) {
					t.Fatalf("row %d of run %d: gradient of run %d is %v", i, row.Run, run, v)
				}
			}
			if sums[row.Run] == nil {
				sums[row.Run] = make([]float64, len(one.Runs[row.Run]))
			}
			for k, x := range one.Runs[row.Run] {
				sums[row.Run][k] += float64(x)
			}
		}
		for run, sum := range sums {
			for k := range sum {
				if !(math.Abs(sum[k]-float64(g.Runs[run][k])) < 2e-5*(1+math.Abs(sum[k]))) {
					t.Fatalf("dropout %v, run %d, element %d: %v row by row, %v together", rate, run, k, sum[k], g.Runs[run][k])
				}
			}
		}
	}
}

func TestLearningTwiceGivesTheSameBits(t *testing.T) {
	f := load(t, "mt5")
	l := lesson(f, 12)
	l.Dropout = 0.1
	a, b := learn(t, f.model, l), learn(t, f.model, l)
	for run := range a.Runs {
		if !slices.Equal(a.Runs[run], b.Runs[run]) {
			t.Errorf("run %d: gradients differ", run)
		}
	}
}

// TestJudgeEqualsScore compares log-probabilities and losses with those of serving,
// also where a row's choices lie on several paths.
func TestJudgeEqualsScore(t *testing.T) {
	for _, variant := range variants {
		f := load(t, variant)
		l := lesson(f, 6)
		for i := range l.Rows {
			l.Rows[i].Choices = append(l.Rows[i].Choices, spec.Choice{Prefix: []int32{40, 50}, Among: []int32{7, 8, 9}, Truth: 2})
		}
		if _, err := f.model.Learn(ctx, l); !errors.Is(err, ErrBatch) || !strings.Contains(err.Error(), "one path") {
			t.Errorf("learning along two paths: %v", err)
		}
		verdicts, err := f.model.Judge(ctx, l)
		if err != nil {
			t.Fatal(err)
		}
		b, probes := &spec.Batch{}, []spec.Probe(nil)
		vocabulary := make([]int32, f.model.config.VocabSize)
		for i := range vocabulary {
			vocabulary[i] = int32(i)
		}
		for i, row := range l.Rows {
			b.IDs = append(b.IDs, row.IDs)
			b.Adapters = append(b.Adapters, &spec.Vectors{Sites: l.Sites, Data: l.Vectors[row.Run]})
			for _, c := range row.Choices {
				next := c.Among
				if next == nil {
					next = vocabulary
				}
				probes = append(probes, spec.Probe{Row: i, Prefix: c.Prefix, Next: next})
			}
		}
		logits, err := f.model.Score(ctx, b, probes)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range l.Rows {
			for j, c := range row.Choices {
				compareVerdict(t, verdicts[i][j], c, logits[0])
				logits = logits[1:]
			}
		}
	}
}

func compareVerdict(t *testing.T, v spec.Verdict, c spec.Choice, logits []float32) {
	t.Helper()
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x))
	}
	want := make([]float32, len(logits))
	for i, x := range logits {
		want[i] = x - float32(math.Log(sum))
	}
	if !near([]float32{v.Loss}, []float32{-want[c.Truth]}) || (c.Among == nil) != (v.LogProbs == nil) || c.Among != nil && !near(v.LogProbs, want) {
		t.Errorf("choice %+v: %+v, want %v", c, v, want[:min(len(want), 4)])
	}
	if want[v.Best] != slices.Max(want) {
		t.Errorf("choice %+v: best is %d", c, v.Best)
	}
}

// TestBrokenRowsAreNamed lets one run's vectors overflow.
func TestBrokenRowsAreNamed(t *testing.T) {
	f := load(t, "mt5")
	l := lesson(f, 6)
	sound := learn(t, f.model, l)
	for i := range l.Vectors[1] {
		l.Vectors[1][i] = float32(math.Inf(1))
	}
	g := learn(t, f.model, l)
	if !slices.Equal(g.Broken, []int{1, 4}) {
		t.Errorf("broken rows %v, want 1 and 4", g.Broken)
	}
	for _, run := range []int{0, 2} {
		for i, x := range g.Runs[run] {
			if !(math.Abs(float64(x-sound.Runs[run][i])) < 1e-5) {
				t.Fatalf("run %d: element %d is %v beside a broken run, %v otherwise", run, i, x, sound.Runs[run][i])
			}
		}
	}
}

func TestLearnRefusesBadLessons(t *testing.T) {
	f := load(t, "mt5")
	for _, tc := range []struct {
		name   string
		change func(l *spec.Lesson)
		want   string
	}{
		{"no rows", func(l *spec.Lesson) { l.Rows = nil }, "no rows"},
		{"no tokens", func(l *spec.Lesson) { l.Rows[1].IDs = nil }, "row 1: it has no tokens"},
		{"id", func(l *spec.Lesson) { l.Rows[1].IDs = []int32{999} }, "row 1: token id 999"},
		{"run", func(l *spec.Lesson) { l.Rows[0].Run = 3 }, "run 3 of 3"},
		{"no choice", func(l *spec.Lesson) { l.Rows[0].Choices = nil }, "nothing is asked"},
		{"truth", func(l *spec.Lesson) { l.Rows[0].Choices[0].Truth = 128 }, "choice 0: the truth is number 128 of 128"},
		{"truth among", func(l *spec.Lesson) { l.Rows[0].Choices[1].Truth = 3 }, "choice 1: the truth is number 3 of 3"},
		{"among one", func(l *spec.Lesson) { l.Rows[0].Choices[1].Among = []int32{5} }, "two are needed"},
		{"among", func(l *spec.Lesson) { l.Rows[0].Choices[1].Among = []int32{5, 128} }, "token id 128"},
		{"prefix", func(l *spec.Lesson) { l.Rows[0].Choices[3].Prefix = []int32{-2} }, "token id -2"},
		{"vectors", func(l *spec.Lesson) { l.Vectors[2] = l.Vectors[2][1:] }, "run 2 have"},
		{"no sites", func(l *spec.Lesson) { l.Sites = nil }, "there must be one"},
		{"site twice", func(l *spec.Lesson) { l.Sites = append(l.Sites, l.Sites[0]) }, "must differ"},
		{"dropout", func(l *spec.Lesson) { l.Dropout = 1 }, "dropout is 1"},
	} {
		l := lesson(f, 3)
		tc.change(l)
		if _, err := f.model.Learn(ctx, l); !errors.Is(err, ErrBatch) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	l := lesson(f, 3)
	l.Dropout = 0.1
	if _, err := f.model.Judge(ctx, l); !errors.Is(err, ErrBatch) {
		t.Errorf("judging with dropout: %v", err)
	}
}

// TestLearningLeavesNothing counts handles after success, failure and a context that
// ends on the way.
func TestLearningLeavesNothing(t *testing.T) {
	f := load(t, "mt5")
	l := lesson(f, 6)
	learn(t, f.model, l)
	before := f.thread.Live()
	learn(t, f.model, l)
	if n := f.thread.Live(); n != before {
		t.Errorf("%d handles live after a lesson, %d before", n, before)
	}
	for stop := range 20 { // ends the context after so many turns
		gone, cancel := context.WithCancel(ctx)
		turns := 0
		st, err := f.model.study(gone, l)
		if err != nil {
			t.Fatal(err)
		}
		st.learn = true
		st.watch = func() {
			if turns++; turns > stop {
				cancel()
			}
		}
		_, err = st.teach()
		cancel()
		if turns > stop && !errors.Is(err, context.Canceled) {
			t.Errorf("stopped after %d turns: %v", stop, err)
		}
		if n := f.thread.Live(); n != before {
			t.Errorf("stopped after %d turns: %d handles live, %d before", stop, n, before)
		}
	}
}

// TestServingRunsBetweenTurns wants a waiting question answered before a lesson ends.
func TestServingRunsBetweenTurns(t *testing.T) {
	f := load(t, "mt5")
	l := lesson(f, 6)
	st, err := f.model.study(ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	st.learn = true
	answered := make(chan error)
	served, turns := 0, 0
	st.watch = func() { // between two turns: the thread is free
		turns++
		go func() {
			answered <- f.thread.Do(ctx, torch.Serving, func(*torch.Scope) error { return nil })
		}()
		if err := <-answered; err == nil {
			served++
		}
	}
	if _, err := st.teach(); err != nil {
		t.Fatal(err)
	}
	blocks := f.model.config.EncoderLayers + f.model.config.DecoderLayers
	if served != turns || turns < 2*blocks {
		t.Errorf("%d of %d turns let serving pass; %d blocks", served, turns, blocks)
	}
}
