package engine

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"valence/runtime/mt5/spec"
	"valence/runtime/tokenizer"
)

type answer struct {
	out []Outcome
	err error
}

// ask calls Predict with n equal rows on a goroutine of its own.
func ask(ctx context.Context, e *Engine, tk *Task, n int) <-chan answer {
	reqs := make([]Request, n)
	for i := range reqs {
		reqs[i] = Request{Text: "a b", Task: tk}
	}
	c := make(chan answer, 1)
	go func() {
		out, err := e.Predict(ctx, reqs)
		c <- answer{out, err}
	}()
	return c
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(hashed())
		e := start(t, g, Options{QueueRows: 4})
		tk := task(t, e, sentiments())
		running := ask(t.Context(), e, tk, 3)
		synctest.Wait()
		queued := ask(t.Context(), e, tk, 3)
		synctest.Wait()
		busy, ok := errors.AsType[*BusyError]((<-ask(t.Context(), e, tk, 2)).err)
		if !ok || busy.Waiting != 3 || busy.Limit != 4 || busy.RetryAfter != time.Second {
			t.Errorf("got %+v", busy)
		}
		last := ask(t.Context(), e, tk, 1)
		synctest.Wait()
		if a := <-ask(t.Context(), e, tk, 5); !errors.Is(a.err, ErrTooManyRows) {
			t.Errorf("got %v", a.err)
		}
		close(g.open)
		for _, c := range []<-chan answer{running, queued, last} {
			if a := <-c; a.err != nil {
				t.Error(a.err)
			}
		}
	})
}

func TestRowsOfOneCallRunTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(hashed())
		close(g.open)
		e := start(t, g, Options{})
		<-ask(t.Context(), e, task(t, e, sentiments()), 5)
		if len(g.batches) != 1 {
			t.Errorf("batches %v", g.batches)
		}
	})
}

func TestCancelledRowsNeverRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(hashed())
		e := start(t, g, Options{QueueRows: 2})
		tk := task(t, e, sentiments())
		running := ask(t.Context(), e, tk, 1)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gone := ask(ctx, e, tk, 2)
		synctest.Wait()
		cancel()
		if a := <-gone; !errors.Is(a.err, context.Canceled) || a.out != nil {
			t.Errorf("got %+v", a)
		}
		stays := ask(t.Context(), e, tk, 2) // the permits are free at once
		synctest.Wait()
		close(g.open)
		if a := <-running; a.err != nil {
			t.Error(a.err)
		}
		if a := <-stays; a.err != nil {
			t.Error(a.err)
		}
		if len(g.batches) != 2 || len(g.batches[1]) != 2 {
			t.Errorf("batches %v", g.batches)
		}
	})
}

// TestSettleWaitsForRowsWhoseCallersLeft: such a row may still be read, and what it reads
// with must not be freed before.
func TestSettleWaitsForRowsWhoseCallersLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(hashed())
		e := start(t, g, Options{})
		tk := task(t, e, sentiments())
		if err := e.Settle(t.Context()); err != nil { // nothing runs
			t.Error(err)
		}
		first, leaveFirst := context.WithCancel(t.Context())
		leaving, leave := context.WithCancel(t.Context())
		blocker := ask(first, e, tk, 1)
		synctest.Wait()
		stays, gone := ask(t.Context(), e, tk, 1), ask(leaving, e, tk, 1)
		synctest.Wait()
		leaveFirst() // the others come into one batch
		<-blocker
		synctest.Wait()
		if len(g.batches) != 2 || len(g.batches[1]) != 2 {
			t.Fatalf("batches %v", g.batches)
		}
		leave()
		if a := <-gone; !errors.Is(a.err, context.Canceled) {
			t.Errorf("got %+v", a)
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e.Settle(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("settled under a batch: %v", err)
		}
		settled := make(chan error, 1)
		go func() { settled <- e.Settle(t.Context()) }()
		synctest.Wait()
		close(g.open)
		if err := <-settled; err != nil {
			t.Error(err)
		}
		if a := <-stays; a.err != nil {
			t.Error(a.err)
		}
	})
}

func TestDeadContextIsNotAdmitted(t *testing.T) {
	e := start(t, hashed(), Options{})
	ctx, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	if a := <-ask(ctx, e, task(t, e, sentiments()), 1); !errors.Is(a.err, context.DeadlineExceeded) {
		t.Errorf("got %v", a.err)
	}
}

func TestBatchStopsWhenEveryCallerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(hashed()) // never opened: only ctx ends a batch
		e := start(t, g, Options{})
		tk := task(t, e, sentiments())
		first, leaveFirst := context.WithCancel(t.Context())
		blocker := ask(first, e, tk, 1)
		synctest.Wait()
		a, leaveA := context.WithCancel(t.Context())
		b, leaveB := context.WithCancel(t.Context())
		rowA, rowB := ask(a, e, tk, 1), ask(b, e, tk, 1)
		synctest.Wait()
		leaveFirst()
		<-blocker
		synctest.Wait()
		leaveA()
		<-rowA
		synctest.Wait()
		if len(g.batches) != 2 {
			t.Errorf("batches %v", g.batches)
		}
		select {
		case <-rowB:
			t.Error("the batch ended while one caller waited for it")
		default:
		}
		leaveB()
		<-rowB
		// Nobody is left, so nothing is tried again, and start's Close returns.
		synctest.Wait()
		if len(g.batches) != 2 {
			t.Errorf("batches %v", g.batches)
		}
	})
}

func TestCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(hashed())
		e := start(t, g, Options{BatchRows: 1})
		tk := task(t, e, sentiments())
		rows := ask(t.Context(), e, tk, 3)
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- e.Close(t.Context()) }()
		synctest.Wait()
		if a := <-ask(t.Context(), e, tk, 1); !errors.Is(a.err, ErrClosed) {
			t.Errorf("admitted while draining: %v", a.err)
		}
		select {
		case <-closed:
			t.Fatal("Close returned before the rows were answered")
		default:
		}
		close(g.open)
		a := <-rows
		if a.err != nil {
			t.Fatal(a.err)
		}
		for i, o := range a.out {
			if o.Err != nil {
				t.Errorf("row %d: %v", i, o.Err)
			}
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestCloseWaitsForRowsBeingTokenised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		tok := words()
		tok.encode = func(text string, o tokenizer.Options) (*tokenizer.Encoding, error) {
			if text == "a b" {
				<-hold
			}
			return encodeWords(text, o)
		}
		e := start(t, hashed(), Options{})
		e.tok = tok
		row := ask(t.Context(), e, task(t, e, sentiments()), 1)
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- e.Close(t.Context()) }()
		synctest.Wait()
		close(hold)
		if a := <-row; a.err != nil || a.out[0].Err != nil {
			t.Errorf("got %+v", a)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := hashed()
		r.score = func(context.Context, *spec.Batch, []spec.Probe) ([][]float32, error) {
			<-release // deaf to ctx
			return nil, errors.New("late")
		}
		e := start(t, r, Options{BatchRows: 1})
		rows := ask(t.Context(), e, task(t, e, sentiments()), 2)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if a := <-rows; !errors.Is(a.err, ErrClosed) {
			t.Errorf("got %+v", a)
		}
		close(release)
	})
}

func TestPanickingTokenizerKeepsNoPermit(t *testing.T) {
	tok := words()
	tok.encode = func(text string, o tokenizer.Options) (*tokenizer.Encoding, error) {
		if text == "crash" {
			panic("crash")
		}
		return encodeWords(text, o)
	}
	e := start(t, hashed(), Options{QueueRows: 1})
	e.tok = tok
	tk := task(t, e, sentiments())
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		e.Predict(t.Context(), []Request{{Text: "crash", Task: tk}})
	}()
	if o := one(t, e, Request{Text: "a", Task: tk}); o.Err != nil {
		t.Error(o.Err)
	}
}

func TestTimings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := hashed()
		r.score = func(ctx context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error) {
			time.Sleep(40 * time.Millisecond)
			return scoreHashed(ctx, b, probes)
		}
		e := start(t, r, Options{})
		tok := words()
		tk := task(t, e, sentiments())
		tok.encode = func(text string, o tokenizer.Options) (*tokenizer.Encoding, error) {
			time.Sleep(time.Millisecond)
			return encodeWords(text, o)
		}
		e.tok = tok
		var wg sync.WaitGroup
		wg.Go(func() { one(t, e, Request{Text: "a", Task: tk}) })
		time.Sleep(11 * time.Millisecond) // it runs since 10 ms
		want := Timings{Tokenize: time.Millisecond, Queue: 29 * time.Millisecond, Infer: 40 * time.Millisecond}
		if got := one(t, e, Request{Text: "b c", Task: tk}); got.Timings != want || got.Tokens != 3 {
			t.Errorf("got %+v, want %+v", got, want)
		}
		wg.Wait()
	})
}

func TestBatchCutShortByCloseSaysClosed(t *testing.T) {
	var e *Engine
	r := hashed()
	r.score = func(ctx context.Context, _ *spec.Batch, _ []spec.Probe) ([][]float32, error) {
		e.abort()
		return nil, ctx.Err()
	}
	e = start(t, r, Options{})
	rows := waiting(t.Context(), 3)
	rows[0].task = task(t, e, sentiments())
	rows[0].mode, rows[0].trie = ModeLabels, rows[0].task.all
	if _, err := e.run(rows); !errors.Is(err, ErrClosed) || errors.Is(err, ErrRun) {
		t.Errorf("got %v", err)
	}
	if _, err := e.run(rows); !errors.Is(err, ErrClosed) {
		t.Errorf("ran after Close gave up: %v", err)
	}
}
