package mt5

import (
	"math/rand/v2"
	"testing"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// TestRowsAreAlone scores rows of several lengths and adapters together and each by
// itself: up to the head, whose product may sum in another order, a packed model gives a
// row the same bits. In bfloat16 and int8 anything less would grow, as a last bit can
// decide how a number is rounded.
func TestRowsAreAlone(t *testing.T) {
	for _, format := range []torch.Format{torch.PackedFloat32, torch.PackedBFloat16, torch.PackedFloat16, torch.PackedInt8, torch.PackedWideInt8} {
		t.Run(format.String(), func(t *testing.T) {
			for _, variant := range variants {
				f := load(t, variant)
				base := open(t, variant)
				m := loadPacked(t, base.Config, base, format)
				rng := rand.New(rand.NewPCG(1, 2))
				names := []string{"base", "default", "second", "custom", "regex"}
				b, probes := &spec.Batch{}, []spec.Probe(nil)
				for i := range 40 {
					b.IDs = append(b.IDs, randomIDs(rng, 1+i))
					b.Adapters = append(b.Adapters, f.adapters[names[i%len(names)]])
					probes = append(probes, spec.Probe{Row: i, Prefix: randomIDs(rng, i%3*i%2), Next: []int32{5, 6, 7}})
				}
				for _, probes := range [][]spec.Probe{probes, firstOnly(probes)} {
					together, err := m.Score(t.Context(), b, probes)
					if err != nil {
						t.Fatal(err)
					}
					for i, p := range probes {
						alone, err := m.Score(t.Context(), &spec.Batch{IDs: b.IDs[i : i+1], Adapters: b.Adapters[i : i+1]}, []spec.Probe{{Prefix: p.Prefix, Next: p.Next}})
						if err != nil {
							t.Fatal(err)
						}
						for j := range p.Next {
							if d := alone[0][j] - together[i][j]; d > 2e-5 || d < -2e-5 {
								t.Errorf("%s, row %d, prefix %v, logit %d: %v alone, %v beside others", variant, i, p.Prefix, j, alone[0][j], together[i][j])
							}
						}
					}
				}
			}
		})
	}
}

// firstOnly is the same probes without their prefixes, which the decoder's first step
// answers.
func firstOnly(probes []spec.Probe) []spec.Probe {
	out := make([]spec.Probe, len(probes))
	for i, p := range probes {
		out[i] = spec.Probe{Row: p.Row, Next: p.Next}
	}
	return out
}

func randomIDs(rng *rand.Rand, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = 3 + rng.Int32N(60)
	}
	return ids
}
