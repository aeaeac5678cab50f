package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/schollz/progressbar/v3"
)

type exportCmd struct {
	placeFlags
	Folder string `arg:"" type:"path" help:"The folder to make. There must be nothing of that name." placeholder:"FOLDER"`
}

// Help is shown by kong below the usage.
func (c *exportCmd) Help() string {
	return `Writes every version of every adapter, with its history, pin and active version, into one new folder: adapters/ID/vN are folders that PEFT loads, store.json says the rest. It is one moment of the state, and servers may go on working on it. "valence import" reads it, into SQLite or PostgreSQL.

  valence export backup-2026-06-01
  valence export backup --database-url postgres://valence@db/valence`
}

// Run writes the folder and tells how much is in it.
func (c *exportCmd) Run(ctx context.Context, std streams) (err error) {
	o, err := c.options(quietLog(std))
	if err != nil {
		return err
	}
	if _, err := os.Stat(o.Dir); o.URL == "" && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is nothing to export; --data-dir names another folder, --database-url a database", o.Dir)
	}
	state, err := c.openStore(ctx, quietLog(std))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	versions := 0
	bar := versionBar(std, "exporting")
	err = state.Export(ctx, c.Folder, func(done, total int) { versions = total; bar(done, total) })
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; give the name of a new folder", c.Folder)
	}
	if err == nil {
		fmt.Fprintf(std.out, "%d versions are in %s\n", versions, c.Folder)
	}
	return err
}

type importCmd struct {
	placeFlags
	Folder string `arg:"" type:"existingdir" help:"A folder that \"valence export\" wrote." placeholder:"FOLDER"`
}

// Help is shown by kong below the usage.
func (c *importCmd) Help() string {
	return `Adds what an export holds, all of it or nothing. What is there already stays as it is: an adapter keeps its own active version, history and pin. A version whose number is another one's here is an error, and nothing is added. Servers that work on the same state hear of it within a second.

  valence import backup-2026-06-01
  valence import backup --database-url postgres://valence@db/valence`
}

// Run adds the folder and tells what came of it.
func (c *importCmd) Run(ctx context.Context, std streams) (err error) {
	state, err := c.openStore(ctx, quietLog(std))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	report, err := state.Import(ctx, c.Folder, versionBar(std, "importing"))
	if err == nil {
		fmt.Fprintf(std.out, "%d versions and %d adapters are new; %d versions were there already\n", report.Versions, report.Adapters, report.Present)
	}
	return err
}

// versionBar draws work on versions whose number is known when it begins.
func versionBar(std streams, description string) func(done, total int) {
	var bar *progressbar.ProgressBar
	return func(done, total int) {
		if bar == nil {
			bar = newBar(std, int64(total), description, "versions", false)
		}
		_ = bar.Set(done) // a bar that cannot be drawn stops nothing
	}
}
