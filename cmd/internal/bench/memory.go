package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

func memoryQuestion() (*Question, asker) {
	return &Question{Name: "memory", Title: "resident memory of a process that has answered a row, in each type"}, askMemory
}

// askMemory asks "valence doctor" in a process of its own for each base and type.
func askMemory(ctx context.Context, r *run, q *Question) error {
	base, folder, err := r.large(ctx)
	if err != nil {
		return err
	}
	if err := base.Close(); err != nil {
		return err
	}
	for _, place := range []struct{ name, base string }{{"builtin base", "builtin"}, {"large base", folder}} {
		for _, dtype := range append([]string{"auto"}, precisions...) {
			if err := r.lock.prepare(ctx); err != nil {
				return err
			}
			r.doing("%s as %s", place.name, dtype)
			if err := r.doctor(ctx, q, place.name, place.base, dtype); err != nil {
				return fmt.Errorf("%s as %s: %w", place.name, dtype, err)
			}
		}
	}
	return nil
}

// doctor adds what a process of one base and type weighs.
func (r *run) doctor(ctx context.Context, q *Question, name, base, dtype string) error {
	cmd := exec.CommandContext(ctx, r.o.Self, "doctor", "--json", "--repeat", "1", "--device", "cpu", "--base", base, "--dtype", dtype, "--threads", strconv.Itoa(r.o.Threads))
	said := &tail{}
	cmd.Stderr, cmd.Env = said, ownEnv(os.Environ())
	out, err := cmd.Output()
	if err != nil {
		return errors.Join(err, errors.New(said.String()))
	}
	weight, err := parseDoctor(out)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s, %s", name, dtype)
	if dtype == "auto" {
		what += " (" + weight.Dtype + ")"
	}
	q.add(what+", resident", "MB", float64(weight.Resident)/1e6)
	q.add(what+", at its peak", "MB", float64(weight.Peak)/1e6)
	return nil
}

// weight is what is read of doctor's report.
type weight struct {
	Dtype    string `json:"dtype"`
	Resident int64  `json:"resident_bytes"`
	Peak     int64  `json:"peak_resident_bytes"`
}

func parseDoctor(out []byte) (w weight, err error) {
	if err := json.Unmarshal(out, &w); err != nil {
		return w, fmt.Errorf("doctor's report: %w", err)
	}
	if w.Resident <= 0 || w.Peak < w.Resident {
		return w, fmt.Errorf("doctor's report says %d bytes resident, %d at the peak", w.Resident, w.Peak)
	}
	return w, nil
}
