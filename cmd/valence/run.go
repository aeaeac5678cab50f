package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
)

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
	inTTY    bool // in is a terminal: there is no input to wait for
	errTTY   bool // err is a terminal: progress may be drawn there
}

func standardStreams() streams {
	tty := func(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
	return streams{os.Stdin, os.Stdout, os.Stderr, tty(os.Stdin), tty(os.Stderr)}
}

// cli is the one table of commands, flags, environment variables and help.
type cli struct {
	Serve       serveCmd       `cmd:"" help:"Serve the HTTP API."`
	Predict     predictCmd     `cmd:"" help:"Tell the sentiment of texts given as arguments, lines of standard input, or a CSV or JSONL file."`
	Evaluate    evaluateCmd    `cmd:"" help:"Judge the base or an adapter on labelled texts: accuracy, macro-F1, confusion, calibration, abstention."`
	Train       trainCmd       `cmd:"" help:"Train an adapter on labelled texts, here or at a server."`
	Pull        pullCmd        `cmd:"" help:"Make a server pull an adapter from the Hugging Face Hub."`
	Push        pushCmd        `cmd:"" help:"Make a server push an adapter to the Hugging Face Hub."`
	Export      exportCmd      `cmd:"" help:"Write every adapter that a server keeps into a plain folder."`
	Import      importCmd      `cmd:"" help:"Add the adapters of such a folder to those that a server keeps."`
	Conformance conformanceCmd `cmd:"" help:"Prove that a server gives each row its own answer, whatever else it does at the time."`
	Bench       benchCmd       `cmd:"" help:"Measure this machine, beside PEFT and CTranslate2, and hold the figures against bars."`
	Doctor      doctorCmd      `cmd:"" help:"Check this machine and a base: device, libtorch, shapes, parameters, memory, one timed row."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

const description = `Valence tells the sentiment of a text with one frozen mT5-family base model and any number of small IA3 adapters.

Every flag can be given as an environment variable too: VALENCE_ and its name in capitals, with _ for -, such as VALENCE_LISTEN.`

// exitUsage is the exit status for flags and values that cannot be.
const exitUsage = 2

// run is the whole program. It gives the exit status.
func run(ctx context.Context, args []string, std streams) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("valence"), kong.Description(description),
		kong.DefaultEnvars("VALENCE"), kong.UsageOnError(), kong.Writers(std.out, std.err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Exit(func(code int) { exited = code }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std))
	if err != nil {
		return fail(std, err)
	}
	if err := checkEnv(parser.Model, os.Environ()); err != nil {
		return usage(std, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	switch {
	case exited >= 0: // --help has been printed
		return exited
	case err != nil:
		return usage(std, err)
	}
	if err := parsed.Run(); err != nil {
		return fail(std, err)
	}
	return 0
}

func usage(std streams, err error) int {
	fmt.Fprintf(std.err, "valence: %v\nRun \"valence --help\", or \"valence COMMAND --help\", for what is allowed.\n", err)
	return exitUsage
}

// errSilent is returned by commands that have said what went wrong themselves.
var errSilent = errors.New("failed")

func fail(std streams, err error) int {
	if !errors.Is(err, errSilent) {
		fmt.Fprintf(std.err, "valence: %v\n", err)
	}
	return 1
}

// checkEnv refuses VALENCE_ variables that no flag reads: a misspelt setting must
// not go unnoticed. Those of the build and of tests are let through.
func checkEnv(model *kong.Application, env []string) error {
	known := []string{"VALENCE_LIBTORCH", "VALENCE_MT5_TOKENIZER", "VALENCE_PG_BIN", "VALENCE_REQUIRE_POSTGRES"}
	for _, node := range append([]*kong.Node{model.Node}, model.Children...) {
		for _, flag := range node.Flags {
			known = append(known, flag.Envs...)
		}
	}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "VALENCE_") && !strings.HasPrefix(name, "VALENCE_TEST_") && !slices.Contains(known, name) {
			return fmt.Errorf("the environment variable %s is not a setting", name)
		}
	}
	return nil
}
