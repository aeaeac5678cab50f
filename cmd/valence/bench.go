package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"valence/cmd/internal/bench"
	"valence/runtime/mt5"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/torch"
)

type benchCmd struct {
	Questions []string `help:"Ask these alone: latency, adapters, roofline, precision, training, http, cold, start, memory." placeholder:"NAME"`
	Peers     bool     `default:"true" negatable:"" help:"Measure PEFT and CTranslate2 beside. Without them the bars that they are needed for are missed."`
	Python    string   `type:"path" help:"Interpreter that has the peers; by default the one that \"make bench\" has made in the user's cache." placeholder:"FILE"`
	Large     string   `default:"mt0-large" enum:"mt0-large,tiny" help:"Shape of the large base, whose weights are made up: mt0-large (2.5 GB), or tiny to try the command."`
	Rounds    int      `default:"5" help:"How often each side of a comparison is measured, in turns."`
	Threads   int      `default:"0" help:"CPU threads of an operator, here and at the peers; 0 takes one for each core."`
	Labelled  string   `type:"path" help:"A .csv, .tsv or .jsonl file of labelled texts, columns text and label, for the change of macro-F1 in each type." placeholder:"FILE"`
	Cache     string   `type:"path" help:"Folder that keeps what is made once; by default valence in the user's cache." placeholder:"FOLDER"`
	JSON      string   `name:"json" type:"path" help:"Write the results into this file, too." placeholder:"FILE"`
	Pictures  string   `type:"path" help:"Draw a picture of each question into this folder." placeholder:"FOLDER"`
	Device    string   `default:"cpu" help:"Where both sides compute: cpu, cuda or cuda:N. On a GPU PEFT runs in bfloat16, CTranslate2 and what is about packed weights are left out." placeholder:"cpu|cuda"`
	Lock      string   `type:"path" help:"A file that is locked while something is timed, for programs that share a machine." placeholder:"FILE"`
}

// Help is shown by kong below the usage.
func (c *benchCmd) Help() string {
	return `Measures this machine: how fast labels are scored and adapters trained, beside PEFT and CTranslate2, with many adapters, over HTTP, from a cold adapter and a cold start, and how exact each type is. Every figure that is judged is a ratio of two that were measured in turns in this run.

A table is printed for each question, and in the end "bars met N of M". The status is 1 if one is missed. All of it takes about half an hour on two cores, and 16 GB of memory.

  make bench                                        # makes the peers' environment first
  valence bench --no-peers --questions http,cold
  valence bench --json result.json --pictures pictures --labelled tweets.jsonl`
}

// Validate is called by kong after parsing.
func (c *benchCmd) Validate() error {
	if c.Threads < 0 || c.Threads > 1024 {
		return fmt.Errorf("--threads is %d; allowed are 0 (one for each core) to 1024", c.Threads)
	}
	o := bench.Options{Questions: c.Questions, Rounds: c.Rounds, Threads: c.threads(), Large: c.Large}
	return o.Validate()
}

func (c *benchCmd) threads() int {
	if c.Threads == 0 {
		return runtime.NumCPU()
	}
	return c.Threads
}

// Run measures, and prints each question's table as soon as it is answered.
func (c *benchCmd) Run(ctx context.Context, std streams) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	var trouble []error // with what is told beside the tables
	o.Started = func(r *bench.Report) { trouble = append(trouble, r.PrintHead(std.out)) }
	o.Done = func(q *bench.Question) {
		trouble = append(trouble, q.Print(std.out))
		if c.Pictures != "" {
			trouble = append(trouble, drawQuestion(filepath.Join(c.Pictures, q.Name+".png"), q))
		}
	}
	o.Progress = func(question, doing string) {
		if std.errTTY {
			fmt.Fprintf(std.err, "\r\x1b[K%s: %s\r", question, doing)
		}
	}
	report, err := bench.Run(ctx, o)
	if report != nil {
		trouble = append(trouble, report.PrintEnd(std.out), c.write(report))
	}
	if err = errors.Join(err, errors.Join(trouble...)); err != nil {
		return err
	}
	if !report.Passed() {
		return errSilent
	}
	return nil
}

func (c *benchCmd) options() (o bench.Options, err error) {
	o = bench.Options{
		Questions: c.Questions, Rounds: c.Rounds, Threads: c.threads(), Large: c.Large, Device: c.Device, Lock: c.Lock, Version: version(),
		Load: loadForBench, Cache: c.Cache, Python: c.Python,
	}
	if o.Cache == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return o, fmt.Errorf("no folder for the cache: %w; give --cache", err)
		}
		o.Cache = filepath.Join(cache, "valence")
	}
	switch {
	case !c.Peers:
		o.Python = ""
	case o.Python == "":
		o.Python = filepath.Join(o.Cache, "peers", "bin", "python")
	}
	if o.Self, err = os.Executable(); err != nil {
		return o, err
	}
	if c.Pictures != "" {
		if err := os.MkdirAll(c.Pictures, 0o755); err != nil {
			return o, err
		}
	}
	o.Labelled, err = c.labelled()
	return o, err
}

func (c *benchCmd) labelled() ([]bench.Labelled, error) {
	if c.Labelled == "" {
		return nil, nil
	}
	e := evaluateCmd{Data: c.Labelled, InputFormat: "auto", TextColumn: "text", LabelColumn: "label"}
	records, err := e.read()
	if err != nil {
		return nil, fmt.Errorf("--labelled: %w", err)
	}
	var out []bench.Labelled
	for _, r := range records {
		out = append(out, bench.Labelled{Text: r.text, Label: r.want})
	}
	return out, nil
}

// loadForBench loads a base as a server does.
func loadForBench(ctx context.Context, thread *torch.Thread, base *checkpoint.Checkpoint, dtype string) (*mt5.Model, error) {
	f := &baseFlags{Dtype: dtype}
	o, err := f.precision(thread.Device())
	if err != nil {
		return nil, err
	}
	return mt5.Load(ctx, thread, base.Config, base, f.suited(o, base.Config))
}

func (c *benchCmd) write(report *bench.Report) (err error) {
	if c.JSON == "" {
		return nil
	}
	f, err := os.Create(c.JSON)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return report.WriteJSON(f)
}
