package mt5

import (
	"context"
	"fmt"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// Layout names how this processor lays out packed weights of a base for Options.Packed, ""
// where they cannot be kept. It is what Options.Packs must have been packed for.
func Layout(config *spec.Config, format torch.Format) string {
	return torch.Layout(packedFor(config, format))
}

// packedFor is the format that a base's weights are packed in where a format is asked for.
func packedFor(config *spec.Config, format torch.Format) torch.Format {
	if format == torch.PackedInt8 && config.WideInt8 {
		return torch.PackedWideInt8
	}
	return format
}

// packedWeights are by the names of their tensors.
func (m *Model) packedWeights() map[string]torch.Packed {
	names := m.config.Linears()
	all := map[string]torch.Packed{}
	for _, st := range []*stack{&m.encoder, &m.decoder} {
		for _, b := range st.blocks {
			for _, l := range []linear{b.self.q, b.self.k, b.self.v, b.self.o, b.cross.q, b.cross.k, b.cross.v, b.cross.o, b.ff.wi0, b.ff.wi1, b.ff.wo} {
				name := names[l.id].Module + ".weight"
				if l.packed.Defined() {
					all[name] = l.packed
				}
				if l.heads.Defined() {
					all[headsName(name)] = l.heads
				}
			}
		}
	}
	return all
}

// Packed gives use the packed weights by the names of the checkpoint's tensors, to keep them
// for Options.Packs; there are none where they cannot be kept. They are valid until use
// returns, which must be before Settle and Close are called.
func (m *Model) Packed(use func(weights map[string][]byte) error) error {
	weights := map[string][]byte{}
	for name, p := range m.packedWeights() {
		if data := p.Data(); data != nil {
			weights[name] = data
		}
	}
	return use(weights)
}

// Settle moves what Options.Packs has to memory in large pages, where it is read faster, and
// closes them. The work goes to the thread weight by weight, with the priority of training.
// Without Packs there is nothing to do. The model must not be closed before it returns.
func (m *Model) Settle(ctx context.Context) error {
	if m.packs == nil {
		return nil
	}
	for name, p := range m.packedWeights() {
		err := m.thread.Do(ctx, torch.Training, func(*torch.Scope) error {
			m.owned.Settle(p)
			return m.owned.Err()
		})
		if err != nil {
			return fmt.Errorf("mt5: settle %s: %w", name, err)
		}
	}
	return m.thread.Do(ctx, torch.Training, func(*torch.Scope) error { return m.closePacks() })
}
