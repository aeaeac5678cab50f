package bench

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"valence/runtime/torch"
)

// quiet is a run that is told of by nobody.
func quiet(rounds int) *run {
	return &run{o: Options{Rounds: rounds}, report: &Report{}, lock: newTurn("")}
}

func TestCompareAlternates(t *testing.T) {
	var order []string
	count := 0.0
	side := func(name string) arm {
		return arm{name, "ms", func(context.Context) (float64, error) {
			order = append(order, name)
			count++
			return count, nil
		}}
	}
	q := &Question{Name: "q"}
	var got []figures
	if err := quiet(3).compare(t.Context(), q, []arm{side("a"), side("b")}, func(f figures) { got = append(got, f) }); err != nil {
		t.Fatal(err)
	}
	if want := strings.Split("ab"+"ab"+"ba"+"ab", ""); !slices.Equal(order, want) { // the first two warm up
		t.Errorf("measured in the order %v, want %v", order, want)
	}
	if want := []figures{{"a": 3, "b": 4}, {"a": 6, "b": 5}, {"a": 7, "b": 8}}; !reflect.DeepEqual(got, want) {
		t.Errorf("rounds %v, want %v", got, want)
	}
	if want := []float64{3, 6, 7}; !slices.Equal(q.Series[0].Values, want) {
		t.Errorf("series %v, want %v without the warm-up", q.Series[0].Values, want)
	}
}

func TestCompareStopsAtAnError(t *testing.T) {
	broken := errors.New("broken")
	calls := 0
	err := quiet(5).compare(t.Context(), &Question{}, []arm{{"a", "ms", func(context.Context) (float64, error) {
		calls++
		if calls == 3 {
			return 0, broken
		}
		return 1, nil
	}}}, nil)
	if !errors.Is(err, broken) || calls != 3 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestAskTellsWhyBarsAreNotMeasured(t *testing.T) {
	r := quiet(5)
	q := &Question{Name: "q", Bars: []*Bar{{Name: "peers", Peers: true}, {Name: "ours"}, {Name: "done", Need: 1}, {Name: "begun", Need: 1}}}
	err := r.ask(t.Context(), q, func(_ context.Context, _ *run, q *Question) error {
		for range MinRounds {
			q.figure("done", 2)
		}
		q.figure("begun", 2)
		return errors.New("no memory")
	})
	if err != nil {
		t.Fatal(err)
	}
	if q.Error != "no memory" || !strings.Contains(q.Bars[0].Why, "--no-peers") || !strings.Contains(q.Bars[1].Why, "did not get that far") {
		t.Errorf("%+v", q)
	}
	if !q.Bars[2].Met || q.Bars[0].Met || q.Bars[1].Met || q.Bars[3].Met || !strings.Contains(q.Bars[3].Why, "1 of 5 rounds") {
		t.Errorf("met: %v %v %v %+v", q.Bars[0].Met, q.Bars[1].Met, q.Bars[2].Met, q.Bars[3])
	}
}

func TestAskEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := quiet(5).ask(ctx, &Question{}, func(ctx context.Context, _ *run, _ *Question) error {
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestTurn holds that many prepare at a time and one times alone.
func TestTurn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	a, b := newTurn(path), newTurn(path)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(take func(context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*lockEvery)
		defer cancel()
		if err := take(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v, want a wait", err)
		}
	}
	ok(a.prepare(t.Context()))
	ok(b.prepare(t.Context()))
	refused(b.time) // which gives back b's own hold first
	ok(a.time(t.Context()))
	refused(b.prepare)
	refused(b.time)
	go func() {
		time.Sleep(2 * lockEvery)
		_ = a.release()
	}()
	ok(b.time(t.Context()))
	ok(b.release())
	ok(b.release())
}

func TestValidate(t *testing.T) {
	good := Options{Rounds: MinRounds, Threads: 1, Large: "tiny", Questions: []string{"http", "latency"}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		"--rounds":      func(o *Options) { o.Rounds = MinRounds - 1 },
		"--large":       func(o *Options) { o.Large = "huge" },
		`"latencies"`:   func(o *Options) { o.Questions = []string{"latencies"} },
		"threads must ": func(o *Options) { o.Threads = 0 },
	} {
		o := good
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// TestQuestions holds that names are distinct, each question's bars too, and that every
// question of the bars is there.
func TestQuestions(t *testing.T) {
	names := Names()
	if distinct := slices.Compact(slices.Sorted(slices.Values(names))); len(names) != 9 || len(distinct) != 9 {
		t.Errorf("questions: %v", names)
	}
	bars := 0
	for _, make := range questions(torch.CPU) {
		q, _ := make()
		seen := map[string]bool{}
		for _, b := range q.Bars {
			bars++
			if seen[b.Name] || b.Unit == "" || b.Need == 0 {
				t.Errorf("%s: bar %+v", q.Name, b)
			}
			seen[b.Name] = true
		}
	}
	if bars != 8+2+2+8+2+2+2+1 {
		t.Errorf("%d bars", bars)
	}
}

func TestHighest(t *testing.T) {
	for _, c := range []struct{ limit, want float64 }{{5000, 4320}, {3000, 3000}, {2999, 2500}, {0.5, 0}, {1e9, 55465}} {
		asked := map[int]bool{}
		got, err := highest(3000, 1.2, 64_000, func(rate int) (bool, error) {
			if asked[rate] && rate > 10 {
				t.Errorf("%d is tried twice", rate)
			}
			asked[rate] = true
			return float64(rate) <= c.limit, nil
		})
		if err != nil || got < c.want-1 || got > c.want+1 {
			t.Errorf("limit %v: %v, %v; want %v", c.limit, got, err, c.want)
		}
	}
	broken := errors.New("broken")
	if _, err := highest(10, 2, 100, func(int) (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
