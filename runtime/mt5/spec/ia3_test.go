package spec

import (
	"slices"
	"strings"
	"testing"
)

func TestSitesOfBothLayouts(t *testing.T) {
	mt5 := parse(t, `{"model_type":"mt5","num_layers":1,"d_model":8,"d_kv":2,"num_heads":3,"d_ff":20,"vocab_size":10}`)
	var got []string
	for _, s := range mt5.DefaultSites() {
		got = append(got, strings.TrimPrefix(s.Key(), "base_model.model."))
		if s.Input || s.Shape()[1] != 1 || s.Shape()[0] != int64(s.Size) {
			t.Errorf("%s: %+v", s.Module, s)
		}
	}
	want := []string{
		"encoder.block.0.layer.0.SelfAttention.k.ia3_l", "encoder.block.0.layer.0.SelfAttention.v.ia3_l",
		"encoder.block.0.layer.1.DenseReluDense.wi_1.ia3_l",
		"decoder.block.0.layer.0.SelfAttention.k.ia3_l", "decoder.block.0.layer.0.SelfAttention.v.ia3_l",
		"decoder.block.0.layer.1.EncDecAttention.k.ia3_l", "decoder.block.0.layer.1.EncDecAttention.v.ia3_l",
		"decoder.block.0.layer.2.DenseReluDense.wi_1.ia3_l",
	}
	if !slices.Equal(got, want) {
		t.Errorf("mt5 sites %q", got)
	}
	t5 := parse(t, `{"model_type":"t5","num_layers":1,"d_model":8,"d_kv":2,"num_heads":3,"d_ff":20,"vocab_size":10}`)
	wo := t5.DefaultSites()[2]
	if !wo.Input || wo.Size != 20 || !slices.Equal(wo.Shape(), []int64{1, 20}) {
		t.Errorf("t5's wo: %+v", wo)
	}
}

func TestAnyOfMatchesWholeNames(t *testing.T) {
	m := AnyOf("k", "DenseReluDense.wo")
	for module, want := range map[string]bool{
		"a.k": true, "k": true, "a.ok": false, "a.k.b": false, "x.DenseReluDense.wo": true, "x.wo": false,
	} {
		if m(module) != want {
			t.Errorf("%s: %v", module, !want)
		}
	}
}

func TestNewVectorsChecksTheLength(t *testing.T) {
	sites := []Site{{"a", false, 3}, {"b", true, 2}}
	if v, err := NewVectors(sites, make([]float32, 5)); err != nil || Total(v.Sites) != 5 {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := NewVectors(sites, make([]float32, 4)); err == nil {
		t.Error("4 elements were taken for 5")
	}
}
