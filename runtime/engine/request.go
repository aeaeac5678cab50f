package engine

import (
	"context"
	"fmt"
	"time"

	"valence/runtime/mt5/spec"
)

// Mode is how a row is answered.
type Mode string

const (
	// ModeLabels scores the task's labels.
	ModeLabels Mode = "labels"
	// ModeGenerate writes text greedily over the whole vocabulary.
	ModeGenerate Mode = "generate"
)

// Bounds of Request.MaxNewTokens.
const (
	DefaultNewTokens = 10
	MaxNewTokens     = 64
)

// Request is one row: a text and the task that reads it.
type Request struct {
	Text         string
	Task         *Task
	Mode         Mode     // "" means ModeLabels
	Labels       []string // ModeLabels: at least two of the task's labels to score; nil means all
	Truncate     bool     // cut a text that is too long instead of refusing it
	MaxNewTokens int      // ModeGenerate: 1 to MaxNewTokens; 0 means DefaultNewTokens
	Fresh        bool     // run it, even if the answer is known already
}

// Result answers one row.
type Result struct {
	Labels    []string  // ModeLabels: the labels scored, in the task's order; shared, not to be changed
	LogProbs  []float64 // natural logarithms, after temperature; their exponentials sum to 1
	Generated string    // ModeGenerate: the text written, special tokens left out
	Written   string    // ModeGenerate: the label whose verbaliser Generated is; "" if it is none
	Tokens    int       // tokens read, template and end marker included
	Truncated bool
	Timings   Timings
}

// Timings are the stages of one row.
type Timings struct {
	Tokenize time.Duration
	Queue    time.Duration // from tokenised to taken into a batch
	Infer    time.Duration // from taken into a batch to answered; 0 where the answer was known
}

// Outcome is a row's Result, or the error that the row met.
type Outcome struct {
	Result
	Err error
}

// row is one request on its way.
type row struct {
	job   *job
	index int // in job.outcomes
	task  *Task
	mode  Mode
	ids   []int32
	cut   bool
	trie  *trie // ModeLabels
	limit int   // ModeGenerate: most new tokens
	key   answerKey

	tokenize time.Duration
	queued   time.Time
	taken    time.Time
}

// width is how many decoder rows the row needs.
func (r *row) width() int {
	if r.mode == ModeGenerate {
		return 1
	}
	return len(r.trie.nodes)
}

// finish hands the row's answer, which may have been known already, to its job. Only
// the batcher may call it.
func (r *row) finish(o Outcome, known bool) {
	o.Tokens, o.Truncated = len(r.ids), r.cut
	o.Timings = Timings{Tokenize: r.tokenize, Queue: r.taken.Sub(r.queued)}
	if !known {
		o.Timings.Infer = time.Since(r.taken)
	}
	r.job.outcomes[r.index] = o
	r.job.pending--
	if r.job.pending == 0 {
		close(r.job.done)
	}
}

// job is one call of Predict. From the push of its rows until done is closed,
// the batcher owns outcomes and pending.
type job struct {
	ctx      context.Context
	outcomes []Outcome
	pending  int // rows without an answer
	done     chan struct{}
}

// Predict answers the requests, in their order. A request that fails alone has
// its error in its Outcome. The error is for the call as a whole: ErrBusy (a
// *BusyError), ErrTooManyRows, ErrClosed, or that of ctx. Rows whose ctx ends
// before they run are dropped from the queue.
func (e *Engine) Predict(ctx context.Context, reqs []Request) ([]Outcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("engine: predict: %w", err)
	}
	if err := e.queue.admit(len(reqs)); err != nil {
		return nil, err
	}
	j := &job{ctx: ctx, outcomes: make([]Outcome, len(reqs)), done: make(chan struct{})}
	e.enqueue(j, reqs)
	return e.await(j)
}

// enqueue queues the requests that can be tokenised. The push is deferred so
// that not even a panicking tokenizer keeps the permits.
func (e *Engine) enqueue(j *job, reqs []Request) {
	var rows []*row
	defer func() { e.queue.push(rows, len(reqs)) }()
	rows = e.prepare(j, reqs)
	j.pending = len(rows)
	if j.pending == 0 {
		close(j.done)
	}
}

func (e *Engine) await(j *job) ([]Outcome, error) {
	select {
	case <-j.done:
		return j.outcomes, nil
	case <-j.ctx.Done():
		e.queue.sweep()
		return nil, fmt.Errorf("engine: predict: %w", j.ctx.Err())
	case <-e.stop.Done():
		return nil, ErrClosed
	}
}

// prepare tokenises the requests. Those that fail or whose answers are known have
// their error or result in the job's outcomes and give no row.
func (e *Engine) prepare(j *job, reqs []Request) []*row {
	rows := make([]*row, 0, len(reqs))
	for i := range reqs {
		r, err := e.prepareRow(&reqs[i])
		if err != nil {
			j.outcomes[i].Err = err
			e.metrics.rows.WithLabelValues(outcomeRefused).Inc()
			continue
		}
		if known, ok := e.answers.get(r.key); ok {
			known.Tokens, known.Truncated, known.Timings.Tokenize = len(r.ids), r.cut, r.tokenize
			j.outcomes[i].Result = known
			e.metrics.rows.WithLabelValues(outcomeKnown).Inc()
			continue
		}
		r.job, r.index = j, i
		rows = append(rows, r)
	}
	now := time.Now()
	for _, r := range rows {
		r.queued = now
	}
	return rows
}

func (e *Engine) prepareRow(req *Request) (*row, error) {
	if req.Task == nil {
		return nil, fmt.Errorf("%w: it has no task", ErrInvalidRequest)
	}
	start := time.Now()
	r := &row{task: req.Task, mode: req.Mode}
	if err := r.configure(req); err != nil {
		return nil, err
	}
	ids, cut, err := e.encode(req.Task, req.Text, req.Truncate)
	if err != nil {
		return nil, err
	}
	r.ids, r.cut = ids, cut
	r.key = r.keyOf(req)
	r.tokenize = time.Since(start)
	return r, nil
}

// configure sets what the row's mode needs.
func (r *row) configure(req *Request) (err error) {
	switch req.Mode {
	case "", ModeLabels:
		r.mode = ModeLabels
		r.trie, err = req.Task.trieOf(req.Labels)
		return err
	case ModeGenerate:
		if req.Labels != nil {
			return fmt.Errorf("%w: labels cannot be chosen in mode %q", ErrInvalidRequest, ModeGenerate)
		}
		if req.MaxNewTokens < 0 || req.MaxNewTokens > MaxNewTokens {
			return fmt.Errorf("%w: max_new_tokens is %d; it must be from 1 to %d", ErrInvalidRequest, req.MaxNewTokens, MaxNewTokens)
		}
		r.limit = req.MaxNewTokens
		if r.limit == 0 {
			r.limit = DefaultNewTokens
		}
		return nil
	default:
		return fmt.Errorf("%w: mode is %q; it must be %q or %q", ErrInvalidRequest, req.Mode, ModeLabels, ModeGenerate)
	}
}

// batchOf lays the rows side by side for the runner.
func batchOf(rows []*row) *spec.Batch {
	b := &spec.Batch{IDs: make([][]int32, len(rows)), Adapters: make([]*spec.Vectors, len(rows))}
	for i, r := range rows {
		b.IDs[i], b.Adapters[i] = r.ids, r.task.vectors
	}
	return b
}
