package training

import (
	"time"

	"valence/adapters/jobs"
	"valence/runtime/train"
)

// progress makes reports of a job out of the events of its runs: one for each step that
// they take together, and one for each epoch.
type progress struct {
	work   *work
	report func(jobs.Progress)

	steps  []train.Event // of the unit of work that goes on
	epochs []train.Event
	begun  time.Time // of the first step of this segment
	first  int       // that step
}

// add takes an event.
func (p *progress) add(e train.Event) {
	switch e.Kind {
	case train.Stepped:
		p.steps = append(p.steps, e)
	case train.Evaluated:
		p.epochs = append(p.epochs, e)
	}
}

// flush reports what the last unit of work gave. The trainer must not work meanwhile.
func (p *progress) flush() {
	if len(p.steps) > 0 {
		p.report(p.step())
		p.steps = p.steps[:0]
	}
	if len(p.epochs) > 0 {
		p.report(p.epoch())
		p.epochs = p.epochs[:0]
	}
}

// step tells of a step of all runs. The job's steps are those of the run that has taken the
// most.
func (p *progress) step() jobs.Progress {
	out := p.base(p.steps)
	lead := p.steps[0]
	for _, e := range p.steps {
		if e.Run == p.work.lead {
			lead = e
		}
		if p.work.trainer.Runs() > 1 {
			out.Runs = append(out.Runs, jobs.RunProgress{Run: e.Run, Loss: e.Loss, LearningRate: e.LearningRate})
		}
	}
	out.Loss, out.LearningRate = lead.Loss, lead.LearningRate
	p.work.publishLive(p.work.trainer.Steps(p.work.lead))
	return out
}

func (p *progress) epoch() jobs.Progress {
	p.work.follow()
	out := p.base(p.epochs)
	result := p.work.trainer.Result()
	metrics, err := encode(epochMetrics(result, p.work.lead))
	if err == nil { // numbers and names: they can be encoded
		out.Metrics = metrics
	}
	run := result.Runs[p.work.lead]
	if n := len(run.Epochs); n > 0 {
		out.Loss = run.Epochs[n-1].TrainLoss
	}
	return out
}

// base is what every report has: how far the run is that has taken the most steps.
func (p *progress) base(events []train.Event) jobs.Progress {
	out := jobs.Progress{ExamplesPerSecond: events[0].Rate}
	for _, e := range events {
		if e.Step > out.Step {
			out.Step, out.Steps = e.Step, e.Steps
		}
	}
	out.Epoch = float64(out.Step) * float64(p.work.task.Recipe.Epochs) / float64(out.Steps)
	if p.begun.IsZero() {
		p.begun, p.first = time.Now(), out.Step
	} else if done := out.Step - p.first; done > 0 {
		out.SecondsLeft = time.Since(p.begun).Seconds() / float64(done) * float64(out.Steps-out.Step)
	}
	return out
}
