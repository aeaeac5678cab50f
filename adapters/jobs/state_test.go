package jobs

import (
	"errors"
	"slices"
	"testing"
)

// phases are where a job can go on.
var phases = []State{Queued, Running, Evaluating, Publishing}

func TestCommandsInEveryState(t *testing.T) {
	same, refused, never := State("same"), State("refused"), State("never")
	tests := map[State]struct{ pause, resume, cancel, cancelOwned, retry State }{
		Queued:     {Paused, same, Cancelled, never, refused},
		Validating: {Paused, same, Cancelled, Cancelling, refused},
		Running:    {Paused, same, Cancelled, Cancelling, refused},
		Evaluating: {Paused, same, Cancelled, Cancelling, refused},
		Publishing: {refused, same, Cancelled, Cancelling, refused},
		Paused:     {same, Evaluating, Cancelled, Cancelling, refused},
		Cancelling: {refused, refused, same, same, refused},
		Succeeded:  {refused, refused, refused, refused, refused},
		Failed:     {refused, refused, refused, refused, Evaluating},
		Cancelled:  {refused, refused, same, same, Evaluating},
	}
	if len(tests) != len(States()) {
		t.Fatalf("%d states are tested of %d", len(tests), len(States()))
	}
	for state, want := range tests {
		for _, c := range []struct {
			name  string
			do    command
			owned bool
			want  State
		}{
			{"pause", pause, false, want.pause}, {"pause", pause, true, want.pause},
			{"resume", resume, false, want.resume}, {"resume", resume, true, want.resume},
			{"cancel", cancel, false, want.cancel}, {"cancel", cancel, true, want.cancelOwned},
			{"retry", retry, false, want.retry},
		} {
			if c.want == never { // nobody owns a queued job
				continue
			}
			before := position{state, Evaluating, c.owned}
			after, err := c.do(before)
			wanted := position{c.want, Evaluating, c.owned}
			if c.want == same || c.want == refused {
				wanted.state = state
			}
			if after != wanted || errors.Is(err, ErrState) != (c.want == refused) {
				t.Errorf("%s of a %s job, owned %v: %+v, %v; want %s", c.name, state, c.owned, after, err, c.want)
			}
			if !state.may(after.state) {
				t.Errorf("%s leads from %s to %s, which is not in the table", c.name, state, after.state)
			}
		}
	}
}

// Every position that a job can get into is reached from the first one by every order of
// commands and outcomes; what must hold in each is checked.
func TestEveryPath(t *testing.T) {
	start := position{Queued, Queued, false}
	seen := map[position]bool{}
	reached := map[State]bool{}
	for todo := []position{start}; len(todo) > 0; todo = todo[1:] {
		p := todo[0]
		if seen[p] {
			continue
		}
		seen[p], reached[p.state] = true, true
		if p.state.Final() && p.owned {
			t.Errorf("%+v is worked on", p)
		}
		if p.state == Queued && p.owned {
			t.Errorf("%+v is worked on", p)
		}
		if p.state == Cancelling && !p.owned {
			t.Errorf("%+v: nobody will end it", p)
		}
		if !slices.Contains(phases, p.phase) {
			t.Errorf("%+v cannot go on", p)
		}
		for _, next := range successors(p) {
			if !p.state.may(next.state) {
				t.Errorf("%+v leads to %+v, which is not in the table", p, next)
			}
			todo = append(todo, next)
		}
	}
	for _, s := range States() {
		if !reached[s] {
			t.Errorf("no path leads to %s", s)
		}
		for _, next := range s.next() {
			if !slices.Contains(States(), next) {
				t.Errorf("%s leads to %q", s, next)
			}
		}
	}
}

// successors are the positions that one step leads to.
func successors(p position) (out []position) {
	for _, c := range []command{pause, resume, cancel, retry} {
		if next, err := c(p); err == nil {
			out = append(out, next)
		}
	}
	switch {
	case p.owned:
		out = append(out, p.failed(), p.released(p.phase)) // it failed, or was cut off
		after := map[State][]State{Queued: {Running}, Running: {Evaluating, Publishing}, Evaluating: {Publishing}, Publishing: {Succeeded}}
		for _, phase := range after[p.phase] {
			out = append(out, p.released(phase))
		}
	case p.state.working():
		out = append(out, p.claimed())
	}
	return out
}
