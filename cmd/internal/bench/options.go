package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"valence/runtime/mt5"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/torch"
)

// MinRounds is how many rounds a figure needs at least.
const MinRounds = 5

// Options say what is measured, and how.
type Options struct {
	Questions []string // names; empty asks all
	Rounds    int      // of each comparison, at least MinRounds
	Threads   int      // of ours and of each peer; at least 1
	Device    string   // of ours and of PEFT, as torch.Resolve reads it; "" is the CPU
	Large     string   // shape of the large base: "mt0-large", or "tiny" to try the command
	Cache     string   // folder that keeps the large base and what is converted from it
	Python    string   // interpreter that has the peers, "" to do without them
	Self      string   // this program, which is run as a server
	Labelled  []Labelled
	Lock      string // file that is locked while something is timed, or ""
	Version   string // of Valence

	// Load loads a base in a configured type, as a server does.
	Load func(ctx context.Context, thread *torch.Thread, base *checkpoint.Checkpoint, dtype string) (*mt5.Model, error)
	// Started hears of the report when the machine is known, Done of each question that is
	// answered, and Progress of what is being done.
	Started  func(*Report)
	Done     func(*Question)
	Progress func(question, doing string)
}

// Labelled is a text with its true label.
type Labelled struct{ Text, Label string }

// Validate names the first option that cannot be.
func (o *Options) Validate() error {
	if o.Rounds < MinRounds {
		return fmt.Errorf("--rounds is %d; a median needs at least %d", o.Rounds, MinRounds)
	}
	if _, ok := shapes[o.Large]; !ok {
		return fmt.Errorf("--large is %q; allowed are mt0-large and tiny", o.Large)
	}
	for _, name := range o.Questions {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("--questions: there is no question %q; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	if o.Threads < 1 {
		return errors.New("bench: threads must be at least 1")
	}
	return nil
}

// asked tells whether a question is asked.
func (o *Options) asked(name string) bool {
	return len(o.Questions) == 0 || slices.Contains(o.Questions, name)
}

// device is where both sides compute.
func (o *Options) device() (torch.Device, error) {
	if o.Device == "" {
		return torch.CPU, nil
	}
	d, why, err := torch.Resolve(o.Device)
	return d, errors.Join(why, err)
}

// dtypes are the configured types that are measured on a device. Those that pack weights are
// for the CPU alone.
func dtypes(d torch.Device) []string {
	if d.IsCUDA() {
		return []string{"auto"}
	}
	return []string{"auto", "int8"}
}
