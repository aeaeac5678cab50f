package training

import (
	"context"
	"fmt"
	"math"

	"github.com/go-json-experiment/json"

	"valence/adapters"
	"valence/adapters/jobs"
	"valence/adapters/peft"
	"valence/runtime/engine"
	"valence/runtime/mt5/spec"
	"valence/runtime/train"
)

// content is what a result hands to Publish.
type content struct {
	Files   map[string][]byte `json:"files"` // of a PEFT folder
	MacroF1 float64           `json:"macro_f1"`
	Held    []int             `json:"held"`   // of the data's rows, those validated on; nil where they are a data set of their own
	Active  *comparison       `json:"active"` // with ActivateIfBetter; nil where no version is active
}

// made is a sidecar's account of how a version was trained.
type made struct {
	Base       string       `json:"base"` // digest
	Start      *origin      `json:"start,omitempty"`
	Data       string       `json:"data"`                 // digest of the data set
	Validation string       `json:"validation,omitempty"` // of that to validate on
	Rows       int          `json:"rows"`                 // trained and validated on
	Recipe     train.Recipe `json:"recipe"`
	Run        runChoice    `json:"run"` // of several, the one that was published
}

type runChoice struct {
	LearningRate float64 `json:"learning_rate"`
	Seed         uint64  `json:"seed"`
	Fold         *int    `json:"fold,omitempty"`
	Steps        int     `json:"steps"`
	Epoch        int     `json:"epoch"` // whose vectors these are
}

// result measures what came out, and makes a folder of the best run.
func (t *Trainer) result(ctx context.Context, w *work, seg jobs.Segment, s jobs.Spec, data jobs.Data) (*jobs.Result, error) {
	r := w.trainer.Result()
	if err := diverged(r, seg); err != nil {
		return nil, err
	}
	best := &r.Runs[r.Best]
	all := finalMetrics(r)
	side := sidecarOf(r.Labels, w.task.Data.Template)
	side.Temperature, side.AbstainBelow = best.Temperature, best.AbstainBelow
	if err := t.describe(&side, w, best, all, data); err != nil {
		return nil, err
	}
	if err := t.addCanaries(ctx, &side, best.Vectors); err != nil {
		return nil, err
	}
	folder, err := t.folder(best.Vectors, side)
	if err != nil {
		return nil, err
	}
	c := content{MacroF1: all.MacroF1}
	if len(w.task.Data.Validation) == 0 {
		c.Held = w.trainer.Validation(r.Best)
	}
	if c.Files, err = folder.Encode(); err != nil {
		return nil, err
	}
	if s.Activate == jobs.ActivateIfBetter {
		if c.Active, err = t.compare(ctx, seg.Adapter, w.trainer.ValidationRows(r.Best)); err != nil {
			return nil, err
		}
		all.Active = c.Active
	}
	out := &jobs.Result{Digest: folder.Digest}
	if out.Metrics, err = encode(all); err != nil {
		return nil, err
	}
	out.Content, err = encode(c)
	return out, err
}

// sidecarOf is that of an adapter that is not calibrated.
func sidecarOf(labels []train.Label, template string) adapters.Sidecar {
	side := adapters.Sidecar{Format: adapters.SidecarFormat, Template: template, Temperature: 1}
	for _, l := range labels {
		side.Labels = append(side.Labels, adapters.Label(l))
	}
	return side
}

// describe writes metrics and provenance into a sidecar. Nothing in them depends on the
// clock: the same training gives the same text.
func (t *Trainer) describe(side *adapters.Sidecar, w *work, best *train.RunResult, all allMetrics, data jobs.Data) error {
	short := all.runMetrics
	short.Confusion = nil
	metrics := map[string]any{"accuracy": short.Accuracy, "macro_f1": short.MacroF1, "ece": short.ECE, "validation_loss": short.ValidationLoss, "validation_rows": short.Rows}
	if short.Rows == 0 {
		metrics = map[string]any{"validation_rows": 0}
	}
	if x := all.CrossValidation; x != nil {
		metrics["cross_validation"] = x
	}
	m := made{
		Base: t.o.Base.Digest, Data: data.Digest, Validation: data.Validation,
		Rows: len(w.task.Data.Examples) + len(w.task.Data.Validation), Recipe: w.task.Recipe,
		Run: runChoice{LearningRate: best.LearningRate, Seed: best.Seed, Fold: short.Fold, Steps: best.Steps, Epoch: best.Kept},
	}
	if w.task.Start != nil {
		m.Start = w.from
	}
	var err error
	if side.Metrics, err = encode(metrics); err != nil {
		return err
	}
	side.Training, err = encode(m)
	return err
}

// canaryTexts are asked of every version when it is made, and again when it is loaded.
var canaryTexts = [...]string{
	"I love it, it works perfectly.",
	"It broke after two days and nobody answers my mails.",
	"The parcel arrived on Tuesday.",
	"Operating profit rose to 13.1 million from 8.7 million a year earlier.",
	"Der Service war freundlich, aber das Zimmer war schmutzig.",
	"No volvería a comprarlo nunca.",
}

// addCanaries records what the vectors answer to the canary texts, before temperature as
// after: as serving will.
func (t *Trainer) addCanaries(ctx context.Context, side *adapters.Sidecar, v *spec.Vectors) error {
	if t.o.CanaryTolerance > adapters.CanaryTolerance("float32") {
		side.CanaryTolerance = t.o.CanaryTolerance
	}
	task, err := t.o.Engine.NewTask(side.TaskSpec(v))
	if err != nil {
		return err
	}
	reqs := make([]engine.Request, len(canaryTexts))
	for i, text := range canaryTexts {
		reqs[i] = engine.Request{Text: text, Task: task, Truncate: true}
	}
	outcomes, err := t.predict(ctx, reqs)
	if err != nil {
		return err
	}
	for i, o := range outcomes {
		if o.Err != nil {
			return fmt.Errorf("training: canary %q: %w", canaryTexts[i], o.Err)
		}
		c := adapters.Canary{Text: canaryTexts[i], Scores: map[string]float64{}}
		for k, label := range o.Labels {
			c.Scores[label] = math.Round(math.Exp(o.LogProbs[k])*1e6) / 1e6
		}
		side.Canary = append(side.Canary, c)
	}
	return nil
}

func (t *Trainer) folder(v *spec.Vectors, side adapters.Sidecar) (*peft.Folder, error) {
	text, err := encode(side)
	if err != nil {
		return nil, err
	}
	config := peft.DefaultConfig(t.o.Config)
	if ref, err := adapters.ParseID(t.o.BaseName); err == nil && ref.ID != adapters.BaseID && isRepo(ref.ID) {
		config.BaseModel, config.Revision = ref.ID, ref.Revision
	}
	return peft.NewFolder(t.o.Config, config, v, text)
}

func (c *content) parse(data []byte) error {
	if err := json.Unmarshal(data, c); err != nil {
		return fmt.Errorf("training: result: %w", err)
	}
	return nil
}
