// Package engine turns rows of text, each with its own adapter, into label
// scores or generated text.
//
// A row goes through permit, tokenise, queue, batch, run and scatter. Callers
// take a permit and tokenise on their own goroutine; one batcher goroutine takes
// rows from the queue whatever their adapters, and runs them on a [Runner]. A
// row's answer depends on that row alone: a row that cannot be read, or that the
// model fails on, is an error in its own [Outcome] and leaves its neighbours'
// answers as they are.
//
// The package holds no tensor. It knows the model through [Runner] and the
// vocabulary through [Tokenizer].
package engine

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"

	"valence/runtime/mt5/spec"
	"valence/runtime/tokenizer"
)

// Runner runs one batch on the device. Calls come one at a time. What it is
// given is shared and must not be changed; what it returns belongs to the
// caller. It may return early with ctx's error once ctx ends.
type Runner interface {
	// Score gives the logits of each probe: element i is as long as
	// probes[i].Next and in its order.
	Score(ctx context.Context, b *spec.Batch, probes []spec.Probe) ([][]float32, error)
	// Generate decodes each row greedily over the whole vocabulary, for at most
	// maxNew tokens. The ids leave out the start token and hold the end marker
	// where the model wrote it.
	Generate(ctx context.Context, b *spec.Batch, maxNew int) ([][]int32, error)
}

// Tokenizer turns text into ids and back. It must be safe for concurrent use.
type Tokenizer interface {
	Encode(text string, o tokenizer.Options) (*tokenizer.Encoding, error)
	Decode(ids []int32, skipSpecial bool) string
	EOS() int32
	UNK() int32
}

// Defaults of [Options].
const (
	DefaultMaxTokens   = 512
	DefaultQueueRows   = 1024
	DefaultBatchRows   = 64
	DefaultBatchTokens = 8192
	DefaultCacheBytes  = 64 << 20
)

// Options bound the engine's work. A number below one means its default, unless it
// says otherwise.
type Options struct {
	// MaxTokens is the most tokens of one row, template and end marker included.
	MaxTokens int
	// QueueRows is the most rows that may wait, those being tokenised included.
	QueueRows int
	// BatchRows is the most decoder rows of one batch: a generated row counts one,
	// a scored row one for each decoder prefix that its labels need.
	BatchRows int
	// BatchTokens is the most encoder tokens of one batch, padding included. A row
	// that is longer runs alone.
	BatchTokens int
	// CacheBytes is the most memory for answers that are kept, to be given again for
	// the same tokens, adapter and options. A negative number keeps none.
	CacheBytes int64
	// Metrics counts what the engine does; nil counts without exporting.
	Metrics *Metrics
}

func (o Options) withDefaults() Options {
	o.MaxTokens = cmp.Or(max(o.MaxTokens, 0), DefaultMaxTokens)
	o.QueueRows = cmp.Or(max(o.QueueRows, 0), DefaultQueueRows)
	o.BatchRows = cmp.Or(max(o.BatchRows, 0), DefaultBatchRows)
	o.BatchTokens = cmp.Or(max(o.BatchTokens, 0), DefaultBatchTokens)
	o.CacheBytes = cmp.Or(o.CacheBytes, DefaultCacheBytes)
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return o
}

// Engine answers requests with one base model. It is safe for concurrent use.
type Engine struct {
	runner  Runner
	tok     Tokenizer
	opts    Options
	metrics *Metrics
	log     *slog.Logger
	queue   *queue
	answers *answers
	drained chan struct{} // closed when the batcher has ended

	// stop ends when a drain is given up: nothing runs afterwards.
	stop  context.Context
	abort context.CancelFunc
}

// New starts an engine and its batcher goroutine, which runs until Close.
func New(r Runner, t Tokenizer, o Options, log *slog.Logger) *Engine {
	o = o.withDefaults()
	stop, abort := context.WithCancel(context.Background())
	e := &Engine{
		runner:  r,
		tok:     t,
		opts:    o,
		metrics: o.Metrics,
		log:     log,
		queue:   newQueue(o.QueueRows, o.Metrics),
		answers: newAnswers(o.CacheBytes, o.Metrics),
		drained: make(chan struct{}),
		stop:    stop,
		abort:   abort,
	}
	go e.loop()
	return e
}

// Settle waits until no row is read any more whose call of Predict returned before: one
// whose caller left may be in the batch that runs. Only then may what such rows use,
// their vectors say, be taken off the device. The error is that of ctx.
func (e *Engine) Settle(ctx context.Context) error {
	running := e.queue.batch()
	if running == nil {
		return nil
	}
	select {
	case <-running:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("engine: settle: %w", ctx.Err())
	}
}

// Close refuses new rows with ErrClosed and waits until the queued ones have
// their answers. If ctx ends first, the rows left fail with ErrClosed, the
// batch that runs is told to stop, and Close returns ctx's error without
// waiting for it. Close may be called again.
func (e *Engine) Close(ctx context.Context) error {
	e.queue.close()
	select {
	case <-e.drained:
		e.abort()
		return nil
	case <-ctx.Done():
		e.abort()
		return fmt.Errorf("engine: close: %w", ctx.Err())
	}
}
