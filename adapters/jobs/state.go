package jobs

import (
	"fmt"
	"slices"
)

// State says where a job stands.
type State string

// The states.
const (
	Queued     State = "queued"     // waits for its first turn
	Validating State = "validating" // the first turn checks the request and its data
	Running    State = "running"    // trains, or waits for its next turn
	Paused     State = "paused"     // by request, until Resume
	Evaluating State = "evaluating" // trained; what came out is measured
	Publishing State = "publishing" // becomes a version of the adapter
	Succeeded  State = "succeeded"
	Failed     State = "failed" // see Job.Failure; Retry goes on from the last checkpoint
	Cancelling State = "cancelling"
	Cancelled  State = "cancelled"
)

// States lists all of them.
func States() []State {
	return []State{Queued, Validating, Running, Paused, Evaluating, Publishing, Succeeded, Failed, Cancelling, Cancelled}
}

// Final says that nothing happens to the job any more, unless it is retried.
func (s State) Final() bool { return s == Succeeded || s == Failed || s == Cancelled }

// working says that turns are handed out in this state.
func (s State) working() bool {
	return s == Queued || s == Validating || s == Running || s == Evaluating || s == Publishing
}

// next lists the states that may follow one.
func (s State) next() []State {
	switch s {
	case Queued:
		return []State{Validating, Paused, Failed, Cancelled}
	case Validating:
		return []State{Queued, Running, Paused, Failed, Cancelling, Cancelled}
	case Running:
		return []State{Evaluating, Publishing, Paused, Failed, Cancelling, Cancelled}
	case Evaluating:
		return []State{Publishing, Paused, Failed, Cancelling, Cancelled}
	case Publishing:
		return []State{Succeeded, Failed, Cancelling, Cancelled}
	case Paused:
		return []State{Queued, Validating, Running, Evaluating, Publishing, Failed, Cancelling, Cancelled}
	case Cancelling:
		return []State{Succeeded, Cancelled} // Succeeded: the request came too late
	case Failed, Cancelled:
		return []State{Queued, Running, Evaluating, Publishing}
	}
	return nil
}

// may tells whether a job in state s can get to state to, or stay there.
func (s State) may(to State) bool { return s == to || slices.Contains(s.next(), to) }

// position is what decides how a job goes on.
type position struct {
	state State
	phase State // Queued, Running, Evaluating or Publishing: where to go on, however it stopped
	owned bool  // a worker has it
}

// A command is what a user asks for. It gives the position after it, the same one where
// there is nothing to do, or an error that wraps ErrState.
type command func(position) (position, error)

func (p position) refuse(verb string, allowed ...State) (position, error) {
	return p, fmt.Errorf("%w: a %s job cannot be %s; allowed are %v", ErrState, p.state, verb, allowed)
}

func pause(p position) (position, error) {
	switch p.state {
	case Paused:
	case Queued, Validating, Running, Evaluating:
		p.state = Paused
	default:
		return p.refuse("paused", Queued, Validating, Running, Evaluating)
	}
	return p, nil
}

func resume(p position) (position, error) {
	switch {
	case p.state.working():
	case p.state != Paused:
		return p.refuse("resumed", Paused)
	case p.owned && p.phase == Queued: // the worker has not noticed the pause yet
		p.state = Validating
	default:
		p.state = p.phase
	}
	return p, nil
}

func cancel(p position) (position, error) {
	switch {
	case p.state == Cancelling || p.state == Cancelled:
	case p.state.Final():
		return p.refuse("cancelled", Queued, Validating, Running, Evaluating, Publishing, Paused)
	case p.owned:
		p.state = Cancelling
	default:
		p.state = Cancelled
	}
	return p, nil
}

func retry(p position) (position, error) {
	if p.state != Failed && p.state != Cancelled {
		return p.refuse("retried", Failed, Cancelled)
	}
	p.state = p.phase
	return p, nil
}

// claimed is the position of a job whose turn begins.
func (p position) claimed() position {
	if p.state == Queued {
		p.state = Validating
	}
	p.owned = true
	return p
}

// released is the position of a job whose turn ended, or whose worker is gone. phase is
// where it goes on: the same, or the next one, or Succeeded.
func (p position) released(phase State) position {
	p.owned = false
	if phase != Succeeded {
		p.phase = phase
	}
	switch {
	case phase == Succeeded:
		p.state = Succeeded
	case p.state == Cancelling:
		p.state = Cancelled
	case p.state.working():
		p.state = phase
	}
	return p
}

// failed is the position of a job whose turn failed.
func (p position) failed() position {
	p.owned = false
	if p.state == Cancelling {
		p.state = Cancelled
	} else {
		p.state = Failed
	}
	return p
}
