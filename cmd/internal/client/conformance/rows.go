package conformance

import (
	"fmt"

	"valence/cmd/internal/client"
)

// blend is two adapters that are asked together. Its parts' labels are the same.
type blend struct {
	a, b   *subject
	weight float64 // of a
}

// maxBlends bounds how many pairs are blended: every two of their versions are asked
// alone.
const maxBlends = 16

// blends are pairs of steady neighbours within a group.
func (r *run) blends() []blend {
	last := map[int]*subject{}
	var out []blend
	for _, s := range r.subjects {
		if !s.steady || s.hub != "" || len(out) == maxBlends {
			continue
		}
		if other := last[s.group]; other != nil {
			out = append(out, blend{other, s, []float64{0.3, 0.5, 0.75}[len(out)%3]})
		}
		last[s.group] = s
	}
	return out
}

// strengthOf is how an adapter is turned up or down where that is asked for.
func strengthOf(s *subject) float64 { return []float64{0.5, 1.5, 0}[s.index%3] }

// maxDialled bounds how many adapters are asked at another strength.
const maxDialled = 64

// dialled tells whether the adapter is asked at its strengthOf.
func dialled(s *subject) bool { return s.hub == "" && s.index < maxDialled }

// rowsAlone lists what is asked alone: every version, the base, blends and strengths.
// Versions are named exactly, by digest.
func (r *run) rowsAlone() ([]alone, error) {
	var out []alone
	for text := range r.texts {
		out = append(out, alone{text, plain(r.baseDigest), "the base", nil, 1})
	}
	for _, s := range r.subjects {
		for v, content := range s.variants {
			ref, err := s.exactly(content.digest)
			if err != nil {
				return nil, err
			}
			name := fmt.Sprintf("%s (content %d)", s.id, v)
			for _, text := range r.textsOf(s) {
				out = append(out, alone{text, plain(content.digest), name, client.One(ref), 1})
			}
			if r.Blend && dialled(s) {
				strength := strengthOf(s)
				out = append(out, alone{r.textsOf(s)[0], mix(strength, share{content.digest, 1}), name + " at another strength", client.One(ref), strength})
			}
		}
	}
	if !r.Blend {
		return out, nil
	}
	for _, b := range r.blends() {
		rows, err := r.blendAlone(b)
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	return out, nil
}

func (r *run) blendAlone(b blend) ([]alone, error) {
	var out []alone
	for _, v := range b.a.variants {
		for _, w := range b.b.variants {
			x, err := b.a.exactly(v.digest)
			if err != nil {
				return nil, err
			}
			y, err := b.b.exactly(w.digest)
			if err != nil {
				return nil, err
			}
			out = append(out, alone{
				text:    r.textsOf(b.a)[0],
				mix:     mix(1, share{v.digest, b.weight}, share{w.digest, 1 - b.weight}),
				name:    fmt.Sprintf("a blend of %s and %s", b.a.id, b.b.id),
				adapter: client.Mix{{Ref: x, Weight: b.weight}, {Ref: y, Weight: 1 - b.weight}}, strength: 1,
			})
		}
	}
	return out, nil
}

// exactly is a reference to the version with the digest, by its name.
func (s *subject) exactly(digest string) (string, error) {
	for _, there := range s.timeline.now() {
		if version, _, ok := there.resolve(digestPrefix(digest)); ok {
			return s.id + "@" + version, nil
		}
	}
	return "", fmt.Errorf("%s has no version %s", s.id, digest)
}
