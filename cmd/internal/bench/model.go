package bench

import (
	"context"
	"fmt"
	"math/rand/v2"

	"valence/runtime/mt5"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
)

// load loads a base in a configured type. Whoever loads it closes it.
func (r *run) load(ctx context.Context, base *checkpoint.Checkpoint, dtype string) (*mt5.Model, error) {
	if err := r.lock.time(ctx); err != nil {
		return nil, err
	}
	r.doing("loading %s as %s", base.Name, dtype)
	m, err := r.o.Load(ctx, r.thread, base, dtype)
	if err != nil {
		return nil, fmt.Errorf("%s as %s: %w", base.Name, dtype, err)
	}
	return m, nil
}

// batch is rows that are scored for three labels of one token each.
type batch struct {
	rows   *spec.Batch
	probes []spec.Probe
}

// score runs the batch once.
func (b batch) score(ctx context.Context, m *mt5.Model) error {
	_, err := m.Score(ctx, b.rows, b.probes)
	return err
}

// labels are tokens that any vocabulary here has: what a label's text begins with.
var labels = []int32{259, 590, 1820}

// makeBatch makes rows of random ids, row i read with adapters[i mod n].
func makeBatch(config *spec.Config, rows, tokens int, adapters []*spec.Vectors, seed uint64) batch {
	ids := randomIDs(config, rows, tokens, seed)
	out := batch{rows: &spec.Batch{IDs: ids}}
	for i := range rows {
		out.rows.Adapters = append(out.rows.Adapters, adapters[i%len(adapters)])
		out.probes = append(out.probes, spec.Probe{Row: i, Next: labels})
	}
	return out
}

// randomIDs are rows that end as texts do.
func randomIDs(config *spec.Config, rows, tokens int, seed uint64) [][]int32 {
	random := rand.New(rand.NewPCG(seed, 1))
	out := make([][]int32, rows)
	for i := range out {
		for range tokens - 1 {
			out[i] = append(out[i], 3+random.Int32N(int32(config.VocabSize)-203))
		}
		out[i] = append(out[i], config.EOSID)
	}
	return out
}

// spread is how far random adapters scatter around 1, which is the base.
const spread = 0.1

// makeAdapters makes random adapters with PEFT's default sites.
func makeAdapters(config *spec.Config, n int, seed uint64) ([]*spec.Vectors, error) {
	sites := config.DefaultSites()
	out := make([]*spec.Vectors, n)
	for i := range out {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		data := make([]float32, spec.Total(sites))
		for j := range data {
			data[j] = 1 + spread*(2*random.Float32()-1)
		}
		var err error
		if out[i], err = spec.NewVectors(sites, data); err != nil {
			return nil, err
		}
	}
	return out, nil
}
