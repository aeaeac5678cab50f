package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"

	"valence/cmd/internal/client/conformance"
)

type conformanceCmd struct {
	URL string `arg:"" help:"The server, such as http://127.0.0.1:8080." placeholder:"URL"`
	keyFlags
	Adapters     int                      `default:"24" help:"How many random adapters are made. More than the server's cache holds, for evictions."`
	Clients      int                      `default:"16" help:"How many ask at the same time."`
	Duration     time.Duration            `default:"30s" help:"How long they ask."`
	Distribution conformance.Distribution `default:"zipf" enum:"zipf,uniform" help:"zipf: few adapters get most rows; uniform: all get as many."`
	Churn        bool                     `default:"true" negatable:"" help:"Upload, activate, roll back, delete, pin and unpin adapters meanwhile."`
	Blend        bool                     `default:"true" negatable:"" help:"Ask for blends and strengths too."`
	Jury         bool                     `default:"true" negatable:"" help:"Ask juries too."`
	Kept         bool                     `help:"Let the server answer with what it has kept of the same rows, too, which proves its memory for answers in place of its model."`
	CompareOne   bool                     `help:"Ask one adapter with the same load first, and compare the latencies."`
	HubRepo      string                   `help:"Adapter on the Hub that is pulled and deleted meanwhile." placeholder:"OWNER/NAME"`
	Tolerance    float64                  `default:"1e-4" help:"Most that a log-probability may differ from that of the row alone. 1e-4 suits float32."`
	Spread       float64                  `default:"0.25" help:"How far the random vectors scatter around 1."`
	Seed         uint64                   `default:"1" help:"The same seed makes the same adapters, texts and requests."`
	Lag          time.Duration            `default:"0s" help:"How long after a change the state before may still answer: 0 for one server, 1s for replicas behind one address."`
	Keep         bool                     `help:"Leave the adapters on the server."`
	JSON         bool                     `help:"Print one JSON object instead of tables."`
}

// Help is shown by kong below the usage.
func (c *conformanceCmd) Help() string {
	return `Proves that a running server keeps its promise: a row's answer is the same alone, in any batch, next to any adapter, and while adapters are loaded, evicted and changed.

It uploads random adapters under "conformance-...", asks every row alone, then sends mixed requests from many clients while it changes the adapters, and compares each answer with that of the same row alone. An answer is wrong if its log-probabilities or labels differ, if its version could not be active while the row was on its way, if the base or another adapter answers in place of the one that was named, if a row is lost, or if the server fails (5xx). The status is 1 if anything was wrong. What it made is deleted in the end, also after Ctrl-C.

It needs an admin key where the server has keys, and a server that is quiet at the start.

  valence conformance http://127.0.0.1:8080
  valence conformance http://127.0.0.1:8080 --adapters 1000 --clients 32 --duration 60s --compare-one
  VALENCE_KEY=... valence conformance https://valence.example --distribution uniform --json > report.json`
}

// Validate is called by kong after parsing.
func (c *conformanceCmd) Validate() error {
	o := c.options()
	return o.Validate()
}

func (c *conformanceCmd) options() conformance.Options {
	return conformance.Options{
		Adapters: c.Adapters, Clients: c.Clients, Duration: c.Duration, Distribution: c.Distribution,
		Seed: c.Seed, Tolerance: c.Tolerance, Spread: c.Spread, Churn: c.Churn, Blend: c.Blend, Jury: c.Jury, Kept: c.Kept,
		Keep: c.Keep, CompareOne: c.CompareOne, HubRepo: c.HubRepo, Lag: c.Lag,
	}
}

// Run proves the server and prints what it found, also of a run that was cut short.
func (c *conformanceCmd) Run(ctx context.Context, std streams) error {
	o := c.options()
	o.Progress = phaseBars(std)
	report, err := conformance.Run(ctx, c.client(c.URL), o)
	if report != nil {
		err = errors.Join(err, c.print(std, report))
	}
	if err == nil && report.Failed() {
		fmt.Fprintf(std.err, "valence: %d answers were wrong\n", report.Wrong)
		return errSilent
	}
	return err
}

func (c *conformanceCmd) print(std streams, report *conformance.Report) error {
	if !c.JSON {
		return report.Print(std.out)
	}
	enc := json.NewEncoder(std.out)
	enc.SetIndent("", "  ")
	return enc.Encode(report)
}

// phaseBars draws one bar after another.
func phaseBars(std streams) func(phase string, done, total int64) {
	var bar *progressbar.ProgressBar
	current := ""
	return func(phase string, done, total int64) {
		if phase != current {
			if bar != nil {
				_ = bar.Finish() // a bar that cannot be drawn stops nothing
			}
			bar, current = newBar(std, total, phase, "", false), phase
		}
		_ = bar.Set64(done)
	}
}
