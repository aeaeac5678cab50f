package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"valence/adapters/datasets"
	"valence/adapters/datasets/table"
	"valence/adapters/store"
)

// errNoDataset is wrapped by errors about a data set that is not there.
var errNoDataset = errors.New("no such data set")

// trainData says what is learnt from: exactly one of Examples, Dataset and Feedback.
type trainData struct {
	Examples []example      `json:"examples" validate:"omitempty,min=1,dive"`
	Dataset  *string        `json:"dataset"`
	Feedback *bool          `json:"feedback"`
	From     *string        `json:"from"     validate:"excluded_unless=Feedback true"`
	Mapping  *mappingChoice `json:"mapping"`
}

// example is a labelled text in a body.
type example struct {
	Text  *string       `json:"text"  validate:"required"`
	Label *exampleLabel `json:"label" validate:"required"`
}

// exampleLabel is a label as it was sent: a string or a number.
type exampleLabel struct{ jsontext.Value }

// UnmarshalJSONFrom reads either.
func (l *exampleLabel) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if kind := dec.PeekKind(); kind != '"' && kind != '0' {
		return wrongKind(dec, kind)
	}
	v, err := dec.ReadValue()
	l.Value = v.Clone()
	return err
}

// mappingChoice is a datasets.Mapping as it is sent.
type mappingChoice struct {
	Text      *string           `json:"text"`
	Label     *string           `json:"label"`
	Labels    map[string]string `json:"labels"`
	Unmapped  *string           `json:"unmapped"  validate:"omitempty,oneof=refuse drop"`
	Empty     *string           `json:"empty"     validate:"omitempty,oneof=refuse drop"`
	Header    *bool             `json:"header"`
	Delimiter *string           `json:"delimiter"`
	Quotes    *string           `json:"quotes"    validate:"omitempty,oneof=rfc4180 loose none"`
}

// faults lists what tags cannot say.
func (d *trainData) faults() []fieldError {
	given := 0
	for _, is := range []bool{d.Examples != nil, d.Dataset != nil, or(d.Feedback, false)} {
		if is {
			given++
		}
	}
	if given != 1 {
		return []fieldError{{Pointer: "/data", Code: "one_of", Detail: `give exactly one of "examples", "dataset" and "feedback": true`}}
	}
	m := d.Mapping
	if m == nil || d.Dataset != nil {
		return nil
	}
	var out []fieldError
	for _, f := range []struct {
		name  string
		given bool
	}{{"text", m.Text != nil}, {"label", m.Label != nil}, {"header", m.Header != nil}, {"delimiter", m.Delimiter != nil}, {"quotes", m.Quotes != nil}} {
		if f.given {
			out = append(out, fieldError{Pointer: "/data/mapping/" + f.name, Code: "not_allowed", Detail: "has a meaning only with /data/dataset"})
		}
	}
	return out
}

// mapping is what is asked for, over what of a data set's own is not mentioned.
func (m *mappingChoice) mapping(own datasets.Mapping) datasets.Mapping {
	if m == nil {
		return own
	}
	out := datasets.Mapping{
		Text: or(m.Text, own.Text), Label: or(m.Label, own.Label), Labels: own.Labels,
		Unmapped: datasets.Policy(or(m.Unmapped, string(own.Unmapped))), Empty: datasets.Policy(or(m.Empty, string(own.Empty))),
		Header: own.Header, Delimiter: or(m.Delimiter, own.Delimiter), Quotes: table.Quotes(or(m.Quotes, string(own.Quotes))),
	}
	if m.Labels != nil {
		out.Labels = m.Labels
	}
	if m.Header != nil {
		out.Header = m.Header
	}
	return out
}

// gather finds the data sets that a training learns from. One that is not there yet is a
// draft. close must follow, whatever the error.
func (a *api) gather(ctx context.Context, t *training) (g gathered, err error) {
	if v := t.body.Validation; v != nil && v.Dataset != nil {
		if g.validation, err = a.dataset(ctx, *v.Dataset); err != nil {
			return g, within("/validation/dataset", err)
		}
	}
	d := t.body.Data
	switch {
	case d.Dataset != nil:
		if g.data, err = a.dataset(ctx, *d.Dataset); err == nil && d.Mapping != nil {
			err = datasetError(g.take(a.Datasets.DraftRemap(ctx, *d.Dataset, d.Mapping.mapping(g.data.Mapping))), *d.Dataset)
		}
	case d.Examples != nil:
		err = g.take(a.draftExamples(ctx, d))
	default:
		err = g.take(a.draftFeedback(ctx, or(d.From, t.id), d.Mapping))
	}
	return g, err
}

func (a *api) dataset(ctx context.Context, id string) (datasets.Dataset, error) {
	if !datasetID.MatchString(id) {
		return datasets.Dataset{}, fmt.Errorf("%w: %q", errNoDataset, id)
	}
	d, err := a.Datasets.Get(ctx, id)
	return d, datasetError(err, id)
}

// datasetError names a data set that the store lacks.
func datasetError(err error, id string) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %q", errNoDataset, id)
	}
	return err
}

// draftExamples makes a data set of a body's examples.
func (a *api) draftExamples(ctx context.Context, d *trainData) (*datasets.Draft, error) {
	var lines bytes.Buffer
	for _, e := range d.Examples {
		if err := writeExample(&lines, *e.Text, e.Label.Value); err != nil {
			return nil, err
		}
	}
	draft, err := a.Datasets.Draft(ctx, "examples", table.JSONL, &lines, exampleMapping(d.Mapping))
	if faults, ok := errors.AsType[*datasets.Faults](err); ok {
		return nil, exampleFaults(faults)
	}
	return draft, err
}

// exampleMapping is that of the lines that writeExample writes.
func exampleMapping(m *mappingChoice) datasets.Mapping {
	return m.mapping(datasets.Mapping{Text: "text", Label: "label"})
}

func writeExample(to *bytes.Buffer, text string, label jsontext.Value) error {
	err := json.MarshalWrite(to, struct {
		Text  string         `json:"text"`
		Label jsontext.Value `json:"label"`
	}{text, label})
	to.WriteByte('\n')
	return err
}

// exampleFaults says where in the body rows are at fault.
func exampleFaults(f *datasets.Faults) error {
	out := &invalidError{}
	for _, fault := range f.First {
		at := fmt.Sprintf("/data/examples/%d", fault.Row-1)
		if fault.Column != "" {
			at += "/" + fault.Column
		}
		out.fields = append(out.fields, fieldError{Pointer: at, Code: "invalid", Detail: detail(errors.New(fault.Problem))})
	}
	if more := f.Total - len(f.First); more > 0 {
		out.fields = append(out.fields, fieldError{Pointer: "/data/examples", Code: "invalid", Detail: fmt.Sprintf("and %d more", more)})
	}
	return out
}

// draftFeedback makes a data set of the feedback that an adapter has got so far.
func (a *api) draftFeedback(ctx context.Context, id string, m *mappingChoice) (*datasets.Draft, error) {
	next, stop := iter.Pull2(a.Datasets.FeedbackRows(ctx, id))
	defer stop()
	draft, err := a.Datasets.Draft(ctx, "feedback for "+id, table.JSONL, &rowReader{next: next}, exampleMapping(m))
	if errors.Is(err, table.ErrEmpty) {
		return nil, fmt.Errorf("%w: there is no feedback for %q yet; POST /v1/feedback takes some", datasets.ErrInvalid, id)
	}
	return draft, err
}

// rowReader writes rows as lines of JSON, as they are read.
type rowReader struct {
	next func() (datasets.Row, error, bool)
	line bytes.Buffer
}

func (r *rowReader) Read(p []byte) (int, error) {
	if r.line.Len() == 0 {
		row, err, more := r.next()
		if !more {
			return 0, io.EOF
		}
		if err != nil {
			return 0, err
		}
		label, err := json.Marshal(row.Label)
		if err == nil {
			err = writeExample(&r.line, row.Text, label)
		}
		if err != nil {
			return 0, err
		}
	}
	return r.line.Read(p)
}

// within puts the pointers of an error below another one, and gives an error without any
// that pointer.
func within(pointer string, err error) error {
	inv, ok := errors.AsType[*invalidError](err)
	if !ok {
		return err
	}
	out := &invalidError{slices.Clone(inv.fields)}
	for i := range out.fields {
		out.fields[i].Pointer = pointer + out.fields[i].Pointer
	}
	return out
}
