package training

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"valence/adapters"
	"valence/adapters/jobs"
	"valence/adapters/store"
	"valence/runtime/mt5/spec"
	"valence/runtime/train"
)

// origin is what a job takes from where it starts: the base, or a version.
type origin struct {
	Adapter  string           `json:"adapter"`
	Version  string           `json:"version,omitempty"` // of the base none
	Digest   string           `json:"digest"`
	Labels   []adapters.Label `json:"labels"`
	Template string           `json:"template"`

	vectors *spec.Vectors // nil: those of the base
}

func originOf(e *adapters.Entry) *origin {
	return &origin{
		Adapter: e.ID, Version: e.Version, Digest: e.Digest, Labels: e.Sidecar.Labels, Template: e.Sidecar.Template, vectors: e.Vectors,
	}
}

// origin finds where a request starts from at this moment.
func (t *Trainer) origin(ctx context.Context, s jobs.Spec) (*origin, error) {
	if s.WarmStartFrom == "" {
		return originOf(t.o.Base), nil
	}
	lease, err := t.o.Adapters.Lease(ctx, adapters.Ask(s.WarmStartFrom))
	if err != nil {
		if ctx.Err() != nil || !lastingly(err) {
			return nil, err
		}
		return nil, findings{{Code: "warm_start_unavailable", Pointer: "/warm_start_from", Message: err.Error()}}.err()
	}
	defer lease.Release()
	return originOf(lease.Entry), nil
}

// lastingly tells whether an error is about what was asked for, not of a moment.
func lastingly(err error) bool {
	for _, e := range []error{adapters.ErrID, adapters.ErrNotFound, adapters.ErrPullForbidden, adapters.ErrWrongBase, adapters.ErrCanary} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// job is everything that decides what is learnt.
func (t *Trainer) job(ctx context.Context, s jobs.Spec, data jobs.Data, from *origin) (train.Job, error) {
	r := t.recipe(s)
	if err := checkSpec(s, r).err(); err != nil {
		return train.Job{}, err
	}
	d, err := t.data(ctx, s, data, from)
	if err != nil {
		return train.Job{}, err
	}
	if s.ClassWeights {
		r.ClassWeights = balance(d)
	}
	if len(d.Validation) > 0 {
		r.Validation = 0
	}
	job := train.Job{Recipe: r, Data: *d, Base: t.o.Base.Digest, Sites: t.o.Config.DefaultSites()}
	if from.vectors != nil {
		if !slices.Equal(from.vectors.Sites, job.Sites) {
			return train.Job{}, findings{{Code: "invalid_start", Pointer: "/warm_start_from",
				Message: "its vectors are of other modules than those that are trained: k, v and the feed-forward layer"}}.err()
		}
		job.Start = from.vectors
	}
	return job, nil
}

// data reads the data sets of a job.
func (t *Trainer) data(ctx context.Context, s jobs.Spec, data jobs.Data, from *origin) (*train.Data, error) {
	d := &train.Data{Template: from.Template}
	if s.Template != nil {
		d.Template = *s.Template
	}
	var err error
	if d.Examples, err = t.rows(ctx, data.Dataset, "/data"); err != nil {
		return nil, err
	}
	if s.Validation.Dataset != "" {
		if d.Validation, err = t.rows(ctx, data.Validation, "/validation/dataset"); err != nil {
			return nil, err
		}
	}
	if d.Labels = labels(s, d.Examples, from); s.Labels == nil && len(d.Labels) == 1 {
		return nil, findings{{Code: string(train.OneClass), Pointer: "/data",
			Message: fmt.Sprintf("all rows have the label %q; at least two labels are needed", d.Labels[0].Name)}}.err()
	}
	return d, checkLabels(s, d)
}

func (t *Trainer) rows(ctx context.Context, id, pointer string) ([]train.Example, error) {
	var out []train.Example
	for row, err := range t.o.Datasets.Rows(ctx, id) {
		if errors.Is(err, store.ErrNotFound) {
			return nil, findings{{Code: "unknown_dataset", Pointer: pointer, Message: fmt.Sprintf("there is no data set %q", id)}}.err()
		}
		if err != nil {
			return nil, fmt.Errorf("data set %s: %w", id, err)
		}
		out = append(out, train.Example{Text: row.Text, Label: row.Label, Row: row.Row})
	}
	return out, nil
}

// labels are those asked for, or else those of the rows: in the order of the labels that
// the job starts from where they are all among them, and otherwise sorted.
func labels(s jobs.Spec, rows []train.Example, from *origin) []train.Label {
	names := s.Labels
	if names == nil {
		seen := map[string]bool{}
		for _, e := range rows {
			seen[e.Label] = true
		}
		for _, l := range from.Labels {
			if seen[l.Name] {
				names = append(names, l.Name)
			}
		}
		if len(names) < len(seen) {
			names = slices.Sorted(maps.Keys(seen))
		}
	}
	out := make([]train.Label, len(names))
	for i, name := range names {
		out[i] = train.Label{Name: name, Verbaliser: name}
		for _, l := range from.Labels {
			if l.Name == name {
				out[i].Verbaliser = l.Verbaliser
			}
		}
		if v, ok := s.Verbalisers[name]; ok {
			out[i].Verbaliser = v
		}
	}
	return out
}

// checkLabels looks for what serving would refuse.
func checkLabels(s jobs.Spec, d *train.Data) error {
	var f findings
	for _, name := range slices.Sorted(maps.Keys(s.Verbalisers)) {
		if !slices.ContainsFunc(d.Labels, func(l train.Label) bool { return l.Name == name }) {
			f.addf("unknown_label", "/verbalisers", "%q is not among the labels", name)
		}
	}
	side := sidecarOf(d.Labels, d.Template)
	task := side.TaskSpec(nil)
	if err := task.Validate(); err != nil && len(d.Labels) >= 2 { // one label is the data's fault, which says more
		pointer := "/labels"
		if badTemplate(d) {
			pointer = "/template"
		}
		f.add("invalid_labels", pointer, err.Error())
	}
	return f.err()
}

// badTemplate tells whether it is the template that cannot be used.
func badTemplate(d *train.Data) bool {
	side := adapters.DefaultSidecar()
	side.Template = d.Template
	task := side.TaskSpec(nil)
	return task.Validate() != nil
}
