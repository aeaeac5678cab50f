package training

import (
	"errors"
	"fmt"
	"strconv"

	"valence/adapters/jobs"
	"valence/runtime/train"
)

// findings are what is wrong with a request.
type findings []jobs.Finding

func (f *findings) add(code, pointer, message string) {
	*f = append(*f, jobs.Finding{Code: code, Pointer: pointer, Message: message})
}

func (f *findings) addf(code, pointer, format string, args ...any) {
	f.add(code, pointer, fmt.Sprintf(format, args...))
}

// err gives them as an error, or nil where there are none.
func (f findings) err() error {
	if len(f) == 0 {
		return nil
	}
	return &jobs.InvalidError{Findings: f}
}

func index(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }

// invalid gives errors about what is to be trained, or on what, their pointers.
func invalid(err error) error {
	if data, ok := errors.AsType[*train.DataError](err); ok {
		var f findings
		for _, found := range data.Findings {
			finding := jobs.Finding{Code: string(found.Code), Pointer: pointerOf(found.Code), Message: found.Message}
			if len(found.Rows) > 0 {
				finding.Row = found.Rows[0]
			}
			f = append(f, finding)
		}
		return f.err()
	}
	for _, known := range []struct {
		err           error
		code, pointer string
	}{
		{train.ErrRecipe, "invalid_recipe", ""}, {train.ErrData, "invalid_data", "/data"}, {train.ErrJob, "invalid_start", "/warm_start_from"},
	} {
		if errors.Is(err, known.err) {
			return findings{{Code: known.code, Pointer: known.pointer, Message: err.Error()}}.err()
		}
	}
	return err
}

func pointerOf(code train.Code) string {
	switch code {
	case train.BadLabels:
		return "/labels"
	default:
		return "/data"
	}
}
