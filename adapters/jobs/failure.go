package jobs

import (
	"errors"
	"strings"
)

// failureOf describes why a job failed in a phase.
func failureOf(err error, phase State) *Failure {
	f := &Failure{Code: "training_failed", Message: clean(err.Error()), Phase: phase}
	for _, known := range []struct {
		err  error
		code string
	}{
		{ErrInvalidJob, "invalid_job"}, {ErrBaseChanged, "base_changed"}, {ErrDiverged, "diverged"}, {ErrPanic, "panic"},
		{ErrDamaged, "damaged"}, {errWorkerLost, "worker_lost"}, {errPublish, "publishing_failed"},
	} {
		if errors.Is(err, known.err) {
			f.Code = known.code
			break
		}
	}
	if diverged, ok := errors.AsType[*DivergedError](err); ok {
		f.Step = diverged.Step
	}
	if invalid, ok := errors.AsType[*InvalidError](err); ok {
		for _, finding := range invalid.Findings {
			finding.Message = clean(finding.Message)
			f.Findings = append(f.Findings, finding)
		}
	}
	return f
}

// clean makes the text of an error fit for JSON and any database.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(strings.TrimPrefix(s, "jobs: "), "\uFFFD"), "\x00", "\uFFFD")
}
