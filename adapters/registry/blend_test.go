package registry

import (
	"math"
	"testing"

	"valence/adapters"
)

func blendOf(strength float64, parts ...adapters.QueryPart) adapters.Query {
	return adapters.Query{Parts: parts, Strength: strength}
}

func part(ref string, weight float64) adapters.QueryPart {
	return adapters.QueryPart{Ref: ref, Weight: weight}
}

func TestBlend(t *testing.T) {
	h := start(t, nil, nil)
	h.upload("a", 2, goodBad)
	h.upload("b", 4, sure)
	q := blendOf(0.5, part("a", 0.25), part("b", 0.75))
	l := h.lease(q)
	if x := l.Vectors.Data[0]; x != 1+0.5*(0.25*1+0.75*3) {
		t.Errorf("vectors of %v", x)
	}
	s := l.Sidecar
	if s.Temperature != 1.75 || s.AbstainBelow != 0.375 || s.Labels[0].Name != "bad" || s.Canary != nil {
		t.Errorf("%+v", s)
	}
	if spec := h.engine.spec(l.Task); spec.Temperature != 1.75 || spec.Vectors != l.Vectors {
		t.Errorf("%+v", spec)
	}
	b := l.Blend
	if l.ID != "" || l.Version != "" || l.Digest != "" || b.Strength != 0.5 || len(b.Parts) != 2 || b.Parts[1].ID != "b" ||
		b.Parts[1].Version != "v1" || b.Parts[1].Weight != 0.75 || b.Parts[1].Digest != h.info("b").Versions[0].Digest {
		t.Errorf("%+v %+v", l.Entry, b)
	}
	if v := h.info("a").Versions[0]; v.Leases != 0 {
		t.Errorf("%d leases: the parts are held longer than it takes", v.Leases)
	}
	same := h.lease(q)
	if same.Vectors != l.Vectors {
		t.Error("made twice")
	}
	l.Release()
	same.Release()
	h.upload("a", 8, goodBad)
	l = h.lease(q)
	defer l.Release()
	if x := l.Vectors.Data[0]; x != 1+0.5*(0.25*7+0.75*3) {
		t.Errorf("vectors of %v after an activation", x)
	}
	if h.info("a").Requests != 3 || h.info("b").Requests != 3 {
		t.Error("parts are not counted")
	}
}

func TestStrength(t *testing.T) {
	h := start(t, nil, nil)
	h.upload("a", 2, goodBad)
	l := h.lease(blendOf(1.5, part("a@v1", 1)))
	defer l.Release()
	if l.Vectors.Data[0] != 2.5 || l.ID != "a" || l.Version != "v1" || l.Digest != h.info("a").Versions[0].Digest || l.Blend.Strength != 1.5 {
		t.Errorf("%+v", l.Entry)
	}
	plain, other := h.lease(adapters.Ask("a")), h.lease(blendOf(1, part("a", 1)))
	defer plain.Release()
	defer other.Release()
	if plain.Blend != nil || plain.Vectors != other.Vectors {
		t.Error("strength 1 is not the adapter itself")
	}
	none := h.lease(blendOf(0, part("a", 1)))
	defer none.Release()
	if none.Vectors.Data[0] != 1 {
		t.Errorf("strength 0 is %v", none.Vectors.Data[0])
	}
}

func TestBlendWithBase(t *testing.T) {
	h := start(t, nil, nil)
	h.upload("a", 3, "") // the labels of the base
	l := h.lease(blendOf(1, part("", 0.5), part("a", 0.5)))
	defer l.Release()
	if l.Vectors.Data[0] != 2 || l.Blend.Parts[0].ID != adapters.BaseID {
		t.Errorf("%+v", l.Entry)
	}
	base := h.lease(blendOf(0.5, part("base", 1)))
	defer base.Release()
	if base.Vectors != nil || base.ID != adapters.BaseID {
		t.Errorf("%+v", base.Entry)
	}
}

func TestBlendRefuses(t *testing.T) {
	h := start(t, nil, nil)
	h.upload("a", 2, goodBad)
	h.upload("three", 2, "")
	h.upload("framed", 2, framed)
	for _, tt := range []struct {
		name string
		q    adapters.Query
		want error
		says []string
	}{
		{"nothing", blendOf(1), adapters.ErrBlend, nil},
		{"labels", blendOf(1, part("a", 0.5), part("three", 0.5)), adapters.ErrBlend,
			[]string{`a has the labels bad ("negative"), good ("positive"), and three negative, neutral, positive`}},
		{"template", blendOf(1, part("a", 0.5), part("framed", 0.5)), adapters.ErrBlend, []string{"a has the template", `framed "Review: {text}"`}},
		{"weights", blendOf(1, part("a", 0.5), part("a@v1", 0.6)), adapters.ErrBlend, []string{"1.1"}},
		{"one weight", blendOf(1, part("a", 0.5)), adapters.ErrBlend, []string{"0.5"}},
		{"not a number", blendOf(1, part("a", math.NaN())), adapters.ErrBlend, nil},
		{"strength", blendOf(1.6, part("a", 1)), adapters.ErrBlend, []string{"1.6"}},
		{"unknown", blendOf(1, part("a", 0.5), part("x", 0.5)), adapters.ErrNotFound, []string{`"x"`}},
	} {
		t.Run(tt.name, func(t *testing.T) { h.refused(tt.q, tt.want, tt.says...) })
	}
	if v := h.info("a").Versions[0]; v.Leases != 0 {
		t.Errorf("%d leases are left", v.Leases)
	}
}

// No part of a key can be read as another part.
func TestKeys(t *testing.T) {
	a, b := versionKey("a", 1, "sha256:01"), versionKey("a", 11, "sha256:01")
	x := &version{key: a}
	y := &version{key: b}
	mixed := blendKey([]blendPart{{source{version: y}, 0.5}, {source{version: x}, 0.5}}, 1)
	only := blendKey([]blendPart{{source{version: y}, 1}}, 0.5)
	for _, tt := range []struct {
		key, version string
		want         bool
	}{{a, a, true}, {a, b, false}, {mixed, a, true}, {mixed, b, true}, {only, b, true}, {only, a, false}} {
		if got := uses(tt.key, map[string]bool{tt.version: true}); got != tt.want {
			t.Errorf("%q uses %q: %v", tt.key, tt.version, got)
		}
	}
}
