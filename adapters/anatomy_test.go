package adapters

import (
	"fmt"
	"math"
	"testing"

	"valence/runtime/mt5/spec"
)

func close6(a, b float64) bool { return math.Abs(a-b) < 1e-6 }

func TestAnatomy(t *testing.T) {
	var sites []spec.Site
	var data []float32
	for i, d := range []float32{0.1, 0.2, 0.3, 2.1} { // distances of four k's, the last unlike the others
		sites = append(sites, spec.Site{Module: fmt.Sprintf("encoder.block.%d.k", i), Size: 2})
		data = append(data, 1+d, 1-d)
	}
	sites = append(sites, spec.Site{Module: "encoder.block.0.wo", Input: true, Size: 4})
	data = append(data, 1, 1, 1.0005, 3)
	a := AnatomyOf(vectors(t, sites, data...))
	if len(a.Sites) != 5 || !close6(a.Sites[1].Distance, 0.2) || !close6(a.Sites[1].Largest, 0.2) || a.Sites[1].Sparsity != 0 {
		t.Errorf("%+v", a.Sites)
	}
	wo := a.Sites[4]
	if !wo.Input || wo.Sparsity != 0.75 || !close6(wo.Largest, 2) || wo.Outlier != 0 {
		t.Errorf("wo %+v", wo)
	}
	// median 0.25; deviations 0.15, 0.05, 0.05, 1.85 have the median 0.1
	if got := a.Sites[3].Outlier; math.Abs(got-1.85/(1.4826*0.1)) > 1e-4 || a.Sites[0].Outlier >= 0 {
		t.Errorf("outliers %v and %v", a.Sites[0].Outlier, got)
	}
	want := math.Sqrt((2*(0.01+0.04+0.09+4.41) + 0.0005*0.0005 + 4) / 12)
	if !close6(a.Distance, want) || a.Sparsity != 3.0/12 {
		t.Errorf("distance %v, want %v; sparsity %v", a.Distance, want, a.Sparsity)
	}
	if base := AnatomyOf(nil); base.Distance != 0 || base.Sites == nil || len(base.Sites) != 0 {
		t.Errorf("the base: %+v", base)
	}
}

func TestSimilar(t *testing.T) {
	x := &Entry{ID: "x", Vectors: vectors(t, []spec.Site{siteA}, 2, 1)}
	same := &Entry{ID: "same", Version: "v3", Vectors: vectors(t, []spec.Site{siteB, siteA}, 1, 1.5, 1)}
	opposite := &Entry{ID: "opposite", Vectors: vectors(t, []spec.Site{siteA}, 0, 1)}
	elsewhere := &Entry{ID: "elsewhere", Vectors: vectors(t, []spec.Site{siteB}, 5)}
	ones := &Entry{ID: "ones", Vectors: vectors(t, []spec.Site{siteA}, 1, 1)}
	got := Similar(x, []*Entry{opposite, x, {ID: BaseID}, ones, elsewhere, same})
	if len(got) != 3 || got[0].ID != "same" || got[0].Version != "v3" || !close6(got[0].Cosine, 1) || got[1].Cosine != 0 || !close6(got[2].Cosine, -1) {
		t.Errorf("%+v", got)
	}
}
