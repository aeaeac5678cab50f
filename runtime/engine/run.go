package engine

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"valence/runtime/mt5/spec"
)

// loop is the batcher: it ends when the queue is closed and empty.
func (e *Engine) loop() {
	defer close(e.drained)
	p := picker{rows: e.opts.BatchRows, tokens: e.opts.BatchTokens}
	for {
		rows := e.queue.take(p.pick)
		if rows == nil {
			return
		}
		e.serve(rows)
		e.queue.ended()
	}
}

// serve answers a batch. If the batch fails as a whole, each of its rows runs
// once more alone, so that a bad row or adapter fails nobody else.
func (e *Engine) serve(rows []*row) {
	start := time.Now()
	for _, r := range rows {
		r.taken = start
		e.metrics.wait.Observe(start.Sub(r.queued).Seconds())
	}
	if rows = e.unknown(rows); len(rows) == 0 {
		return
	}
	outcomes, err := e.run(rows)
	switch {
	case err == nil:
		e.scatter(rows, outcomes)
	case len(rows) == 1:
		e.scatter(rows, []Outcome{{Err: err}})
	default:
		e.runAlone(rows)
	}
	e.queue.measured(time.Since(start), len(rows))
}

// unknown answers the rows whose answers have become known while they waited, and
// gives the others.
func (e *Engine) unknown(rows []*row) []*row {
	left := rows[:0]
	for _, r := range rows {
		known, ok := e.answers.get(r.key)
		if !ok {
			left = append(left, r)
			continue
		}
		e.metrics.rows.WithLabelValues(outcomeKnown).Inc()
		r.finish(Outcome{Result: known}, true)
	}
	return left
}

func (e *Engine) runAlone(rows []*row) {
	for i := range rows {
		alone := rows[i : i+1]
		if alone[0].job.ctx.Err() != nil {
			e.metrics.rows.WithLabelValues(outcomeDropped).Inc()
			continue // nobody waits for it
		}
		outcomes, err := e.run(alone)
		if err != nil {
			outcomes = []Outcome{{Err: err}}
		}
		e.scatter(alone, outcomes)
	}
}

// scatter hands each row its answer.
func (e *Engine) scatter(rows []*row, outcomes []Outcome) {
	for i, r := range rows {
		outcome := outcomeAnswered
		if outcomes[i].Err != nil {
			outcome = outcomeFailed
		}
		e.metrics.rows.WithLabelValues(outcome).Inc()
		r.finish(outcomes[i], false)
	}
}

// run gives an outcome for each row, or the error of the batch as a whole: ErrRun
// or ErrClosed.
func (e *Engine) run(rows []*row) ([]Outcome, error) {
	if e.stop.Err() != nil {
		return nil, ErrClosed
	}
	ctx, cancel := e.batchContext(rows)
	defer cancel()
	start := time.Now()
	distinct, by := twins(rows)
	outcomes, err := e.infer(ctx, distinct)
	e.metrics.ran(distinct, time.Since(start), err)
	switch {
	case err == nil:
		for i, r := range distinct {
			if outcomes[i].Err == nil {
				e.answers.put(r.key, outcomes[i].Result)
			}
		}
		return spread(outcomes, by), nil
	case e.stop.Err() != nil:
		return nil, ErrClosed
	case ctx.Err() == nil: // otherwise it failed because its callers left
		e.log.Error("batch failed", "rows", len(rows), "mode", rows[0].mode, "error", err)
	}
	return nil, fmt.Errorf("%w: %w", ErrRun, err)
}

// batchContext ends when the caller of every row is gone or a drain is given up.
func (e *Engine) batchContext(rows []*row) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(e.stop)
	var present atomic.Int64
	present.Store(int64(len(rows)))
	stops := make([]func() bool, len(rows))
	for i, r := range rows {
		stops[i] = context.AfterFunc(r.job.ctx, func() {
			if present.Add(-1) == 0 {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// infer runs rows of one mode. A panic below becomes an error: it must not take
// the process and everybody else's rows with it.
func (e *Engine) infer(ctx context.Context, rows []*row) (outcomes []Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("panic in the runner", "panic", p, "stack", string(debug.Stack()))
			outcomes, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	if rows[0].mode == ModeGenerate {
		return e.generate(ctx, rows)
	}
	return e.score(ctx, rows)
}

func (e *Engine) score(ctx context.Context, rows []*row) ([]Outcome, error) {
	var probes []spec.Probe
	for i, r := range rows {
		probes = r.trie.appendProbes(probes, i)
	}
	logits, err := e.runner.Score(ctx, batchOf(rows), probes)
	if err != nil {
		return nil, err
	}
	if err := checkLogits(logits, probes); err != nil {
		return nil, err
	}
	outcomes := make([]Outcome, len(rows))
	for i, r := range rows {
		o, n := &outcomes[i], r.width()
		o.Labels = r.trie.names
		o.LogProbs, o.Err = r.trie.logProbs(logits[:n], r.task.temperature)
		logits = logits[n:]
	}
	return outcomes, nil
}

func checkLogits(logits [][]float32, probes []spec.Probe) error {
	if len(logits) != len(probes) {
		return fmt.Errorf("the runner answered %d of %d probes", len(logits), len(probes))
	}
	for i, p := range probes {
		if len(logits[i]) != len(p.Next) {
			return fmt.Errorf("the runner gave %d logits for the %d tokens of probe %d", len(logits[i]), len(p.Next), i)
		}
	}
	return nil
}

// generate runs all rows to the largest of their limits and cuts each at its
// own: greedy decoding makes the shorter text a prefix of the longer.
func (e *Engine) generate(ctx context.Context, rows []*row) ([]Outcome, error) {
	limit := 0
	for _, r := range rows {
		limit = max(limit, r.limit)
	}
	written, err := e.runner.Generate(ctx, batchOf(rows), limit)
	if err != nil {
		return nil, err
	}
	if len(written) != len(rows) {
		return nil, fmt.Errorf("the runner generated for %d of %d rows", len(written), len(rows))
	}
	outcomes := make([]Outcome, len(rows))
	for i, r := range rows {
		ids := written[i][:min(len(written[i]), r.limit)]
		outcomes[i].Generated = e.tok.Decode(ids, true)
		outcomes[i].Written = r.task.labelOf(outcomes[i].Generated)
	}
	return outcomes, nil
}
