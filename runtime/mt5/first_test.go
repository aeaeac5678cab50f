package mt5

import (
	"math"
	"testing"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// TestFirstStep holds the decoder's first step against the general one, for every layout
// of adapters, with rows of several lengths and adapters in one batch, one of which is
// read by two sequences.
func TestFirstStep(t *testing.T) { everyWay(t, testFirstStep) }

func testFirstStep(t *testing.T, way string) {
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			f := loadAs(t, variant, way)
			b := &spec.Batch{}
			for _, name := range []string{"base", "default", "second", "custom", "regex"} {
				b.IDs = append(b.IDs, []int32{5, 70, 101, 122, 48, 1}[len(b.IDs):])
				b.Adapters = append(b.Adapters, f.adapters[name])
			}
			rows := []int64{3, 0, 1, 2, 4, 3}
			n := int64(len(rows))
			var fast, slow, single []float32
			err := f.model.thread.Do(t.Context(), torch.Serving, func(s *torch.Scope) (err error) {
				p, err := f.model.begin(s, b)
				if err != nil {
					return err
				}
				in := p.pad(b.IDs)
				states := p.encode(in)
				mem := p.remember(states, in, rows)
				p.sc = f.model.table.gather(s, pick(p.slots, rows), f.model.dtype)
				ids := s.Int64s(make([]int64, n), n, 1)
				if slow, err = s.ReadFloat32s(p.decode(ids, n, 1, mem, &past{})); err != nil {
					return err
				}
				r := read{states, in, rows, n}
				if fast, err = s.ReadFloat32s(p.first(ids, r)); err != nil || !f.model.decoder.byHead() {
					single = fast
					return err
				}
				// By single operators, as where oneDNN has the projections.
				x, attend := p.embed(ids), p.absorb(r)
				for _, b := range f.model.decoder.blocks {
					x = p.firstLayer(x, b, attend)
				}
				single, err = s.ReadFloat32s(p.norm(x, f.model.decoder.finalNorm))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range slow {
				for _, got := range []float32{fast[i], single[i]} {
					if d := math.Abs(float64(got - slow[i])); !(d <= tolerance) {
						t.Fatalf("element %d is %v, want %v", i, got, slow[i])
					}
				}
			}
		})
	}
}
