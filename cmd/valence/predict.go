package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"valence/runtime/engine"
)

type predictCmd struct {
	baseFlags
	Text        []string    `arg:"" optional:"" help:"Texts. Without any, texts come from --input."`
	Input       string      `short:"i" default:"-" help:"A .csv, .tsv or .jsonl file, or any other file with one text a line; - is standard input." placeholder:"FILE"`
	Output      string      `short:"o" default:"-" help:"Where answers go: a file, or - for standard output." placeholder:"FILE"`
	InputFormat string      `default:"auto" enum:"auto,lines,csv,tsv,jsonl" help:"Format of the input; auto goes by the file's name."`
	Format      string      `short:"f" default:"auto" enum:"auto,table,csv,jsonl" help:"Format of the answers; auto takes csv for csv and tsv input, a table for arguments, else jsonl."`
	TextColumn  string      `default:"text" help:"Column or key that holds the text."`
	Prefix      string      `help:"Put before the names of the answer's columns or keys, where the input has such names already." placeholder:"TEXT"`
	Use         string      `short:"u" help:"Id of the adapter that reads the texts, unless a row's own adapter column or key names one." placeholder:"ID"`
	Mode        engine.Mode `default:"labels" enum:"labels,generate" help:"labels scores every label; generate lets the model write."`
	Truncate    bool        `default:"true" negatable:"" help:"Cut texts that are too long; otherwise such a row is an error."`
}

// chunk is how many rows are read, answered and written at a time: enough for full
// batches, little enough to stream.
const chunk = 256

// Run answers every text. Rows that fail are reported with their place and do not
// stop the others; the command then fails in the end.
func (c *predictCmd) Run(ctx context.Context, std streams) error {
	source, total, err := c.source(std)
	if err != nil {
		return err
	}
	defer source.Close()
	s, err := c.open(ctx, openOptions{log: quietLog(std), progress: byteBar(std, "loading"), fetched: byteBar(std, "fetching")})
	if err != nil {
		return err
	}
	p := &prediction{cmd: c, stack: s, std: std}
	err = errors.Join(p.run(ctx, source, total), s.Close(context.WithoutCancel(ctx)))
	if err == nil && p.failed > 0 {
		fmt.Fprintf(std.err, "valence: %d of %d rows failed; each says why in \"error\"\n", p.failed, p.rows)
		return errSilent
	}
	return err
}

// prediction is one run of the command.
type prediction struct {
	cmd          *predictCmd
	stack        *stack
	std          streams
	rows, failed int
}

func (p *prediction) run(ctx context.Context, source source, total int64) (err error) {
	out, closeOut, err := p.cmd.output(p.std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeOut(err == nil)) }()
	sink, err := p.cmd.sink(out, source)
	if err != nil {
		return err
	}
	bar := newBar(p.std, total, "predicting", "rows", false)
	for {
		records, readErr := readChunk(source, chunk)
		if err := p.answer(ctx, records); err != nil {
			return err
		}
		for _, r := range records {
			if err := sink.write(r); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		_ = bar.Add(len(records)) // a bar that cannot be drawn stops nothing
		switch {
		case errors.Is(readErr, io.EOF):
			_ = bar.Finish()
			return sink.flush()
		case readErr != nil:
			return errors.Join(readErr, sink.flush())
		}
	}
}

// answer fills in the records' answers.
func (p *prediction) answer(ctx context.Context, records []*record) error {
	var reqs []engine.Request
	var asked []*record
	for _, r := range records {
		p.rows++
		req, err := p.request(ctx, r)
		if err != nil {
			r.err = err
			p.failed++
			continue
		}
		reqs, asked = append(reqs, req), append(asked, r)
	}
	outcomes, err := p.stack.engine.Predict(ctx, reqs)
	if err != nil {
		return err
	}
	for i, o := range outcomes {
		if asked[i].answer(o); o.Err != nil {
			p.failed++
		}
	}
	return nil
}

func (p *prediction) request(ctx context.Context, r *record) (engine.Request, error) {
	if r.err != nil {
		return engine.Request{}, r.err
	}
	id := r.adapter
	if id == "" {
		id = p.cmd.Use
	}
	entry, err := p.stack.adapters.Lookup(ctx, id)
	if err != nil {
		return engine.Request{}, err
	}
	return engine.Request{Text: r.text, Task: entry.Task, Mode: p.cmd.Mode, Truncate: p.cmd.Truncate}, nil
}

// answer takes the engine's outcome for the record.
func (r *record) answer(o engine.Outcome) {
	r.err, r.generated, r.label = o.Err, o.Generated, o.Written
	r.labels, r.scores = o.Labels, make([]float64, len(o.LogProbs))
	for i, lp := range o.LogProbs {
		r.scores[i] = math.Exp(lp)
		if r.scores[i] > r.score {
			r.label, r.score = o.Labels[i], r.scores[i]
		}
	}
}

// output opens where answers go. A file appears under its name only when all is
// written.
func (c *predictCmd) output(std streams) (io.Writer, func(ok bool) error, error) {
	if c.Output == "-" {
		return std.out, func(bool) error { return nil }, nil
	}
	f, err := os.Create(c.Output + ".partial")
	if err != nil {
		return nil, nil, err
	}
	return f, func(ok bool) error {
		if err := f.Close(); err != nil || !ok {
			return err
		}
		return os.Rename(f.Name(), c.Output)
	}, nil
}
