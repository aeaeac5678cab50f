package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"valence/runtime/mt5"
	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// size is rows of tokens.
type size struct{ rows, tokens int }

func (s size) String() string { return fmt.Sprintf("%d x %d", s.rows, s.tokens) }

// repeat is how often an arm is timed in a round: a short one more often.
func (s size) repeat() int {
	if s.rows == 1 {
		return 3
	}
	return 1
}

// latencyNeed is the least ratios for a size in a type.
type latencyNeed struct {
	size      size
	dtype     string
	peft, ct2 float64
}

// latencyNeeds are the least ratios for a size: how many times as fast as PEFT that
// generates, and as the faster of CTranslate2's two.
var latencyNeeds = []latencyNeed{
	{size{1, 32}, "auto", 5, 2},
	{size{1, 32}, "int8", 8, 4},
	{size{8, 32}, "auto", 2.5, 1.3},
	{size{8, 32}, "int8", 4, 2},
}

// generated is how many tokens PEFT generates: a label's, as a rule.
const generated = 3

// needs are those of the types that are measured on a device.
func needs(d torch.Device) []latencyNeed {
	return slices.DeleteFunc(slices.Clone(latencyNeeds), func(n latencyNeed) bool { return !slices.Contains(dtypes(d), n.dtype) })
}

func latencyQuestion(d torch.Device) (*Question, asker) {
	q := &Question{Name: "latency", Title: "label scores of one batch of the large base, beside PEFT and CTranslate2"}
	for _, n := range needs(d) {
		q.Bars = append(q.Bars, &Bar{Name: peftBar(n.size, n.dtype), Need: n.peft, Unit: "times", Peers: true})
		if !d.IsCUDA() { // where CTranslate2 is built without it, as a rule
			q.Bars = append(q.Bars, &Bar{Name: ct2Bar(n.size, n.dtype), Need: n.ct2, Unit: "times", Peers: true})
		}
	}
	return q, askLatency
}

func peftBar(s size, dtype string) string {
	return fmt.Sprintf("%v, %s, faster than PEFT's generate", s, dtype)
}

func ct2Bar(s size, dtype string) string {
	return fmt.Sprintf("%v, %s, faster than the faster CTranslate2", s, dtype)
}

func oursName(s size, dtype string) string { return fmt.Sprintf("Valence %s, %v", dtype, s) }

func askLatency(ctx context.Context, r *run, q *Question) (err error) {
	base, folder, err := r.large(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	ct2 := folder + "-ct2"
	if !r.device.IsCUDA() {
		if err := r.convert(ctx, folder, ct2); err != nil {
			return err
		}
	}
	models := map[string]*mt5.Model{}
	defer func() {
		for _, m := range models {
			err = errors.Join(err, m.Close(context.WithoutCancel(ctx)))
		}
	}()
	for _, dtype := range dtypes(r.device) {
		m, err := r.load(ctx, base, dtype)
		if err != nil {
			return err
		}
		models[dtype] = m
		q.note(fmt.Sprintf("%s is %s", dtype, m.Precision()))
	}
	if err := base.Close(); err != nil { // the mapped file would count as memory in use
		return err
	}
	ours, err := ourArms(base.Config, needs(r.device), models)
	if err != nil {
		return err
	}
	if r.o.Python == "" {
		return r.compare(ctx, q, ours, nil)
	}
	if r.device.IsCUDA() {
		return r.besidePEFT(ctx, q, base.Config, folder, ours)
	}
	return errors.Join(r.besidePEFT(ctx, q, base.Config, folder, ours), r.besideCT2(ctx, q, base.Config, folder, ct2, ours))
}

// ourArms are all sizes in all types. Rows are read with an adapter, as PEFT's are.
func ourArms(config *spec.Config, needs []latencyNeed, models map[string]*mt5.Model) ([]arm, error) {
	adapters, err := makeAdapters(config, 1, 7)
	if err != nil {
		return nil, err
	}
	var out []arm
	for _, n := range needs {
		b, m := makeBatch(config, n.size.rows, n.size.tokens, adapters, 1), models[n.dtype]
		out = append(out, arm{oursName(n.size, n.dtype), "ms", func(ctx context.Context) (float64, error) {
			return timed(n.size.repeat(), func() error { return b.score(ctx, m) })
		}})
	}
	return out, nil
}

// convert makes CTranslate2's copy of the base, once.
func (r *run) convert(ctx context.Context, folder, to string) error {
	if r.o.Python == "" {
		return nil
	}
	if err := r.lock.prepare(ctx); err != nil {
		return err
	}
	r.doing("converting %s for CTranslate2, once", filepath.Base(folder))
	p, err := r.startPeer(ctx, "convert", folder, "--ct2-dir", to)
	if err != nil {
		return err
	}
	return p.stop()
}

// besidePEFT measures in turns with PEFT. The peer's memory is given back before the next
// one comes.
func (r *run) besidePEFT(ctx context.Context, q *Question, config *spec.Config, folder string, ours []arm) (err error) {
	r.doing("starting PEFT")
	p, err := r.startPeer(ctx, "peft", folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	arms := slices.Clone(ours)
	for _, s := range sizes() {
		arms = append(arms, p.arm("PEFT, generate, "+s.String(), config, s, map[string]any{"op": "generate", "new": generated}),
			p.arm("PEFT, one step, "+s.String(), config, s, map[string]any{"op": "step"}))
	}
	return r.compare(ctx, q, arms, func(got figures) {
		for _, n := range needs(r.device) {
			q.figure(peftBar(n.size, n.dtype), got["PEFT, generate, "+n.size.String()]/got[oursName(n.size, n.dtype)])
		}
	})
}

func (r *run) besideCT2(ctx context.Context, q *Question, config *spec.Config, folder, ct2 string, ours []arm) (err error) {
	r.doing("starting CTranslate2")
	p, err := r.startPeer(ctx, "ct2", folder, "--ct2-dir", ct2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	arms := slices.Clone(ours)
	for _, s := range sizes() {
		for _, kind := range []string{"float32", "int8"} {
			arms = append(arms, p.arm(ct2Name(kind, s), config, s, map[string]any{"op": kind}))
		}
	}
	return r.compare(ctx, q, arms, func(got figures) {
		for _, n := range latencyNeeds {
			faster := min(got[ct2Name("float32", n.size)], got[ct2Name("int8", n.size)])
			q.figure(ct2Bar(n.size, n.dtype), faster/got[oursName(n.size, n.dtype)])
		}
	})
}

func ct2Name(kind string, s size) string { return fmt.Sprintf("CTranslate2 %s, one step, %v", kind, s) }

// sizes are those of latencyNeeds, each once.
func sizes() []size { return []size{{1, 32}, {8, 32}} }

// arm asks the peer for its time of a request on rows of a size.
func (p *peer) arm(name string, config *spec.Config, s size, request map[string]any) arm {
	request["ids"] = randomIDs(config, s.rows, s.tokens, 1)
	return arm{name, "ms", func(context.Context) (float64, error) {
		var all []float64
		for range s.repeat() {
			got, err := p.ask(request)
			if err != nil {
				return 0, err
			}
			all = append(all, got.Seconds*1e3)
		}
		return median(all), nil
	}}
}
