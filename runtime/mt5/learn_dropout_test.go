package mt5

import (
	"testing"

	"valence/runtime/torch/torchtest"
)

// TestDropoutDependsOnTheKey wants the same loss from the same key, and others from others.
func TestDropoutDependsOnTheKey(t *testing.T) {
	f := load(t, "mt5")
	l := lesson(f, 3)
	l.Dropout = 0.1
	seen := map[float64]uint64{}
	for range 2 {
		for key := range uint64(100) {
			for i := range l.Rows {
				l.Rows[i].Key = key
			}
			loss := total(l, learn(t, f.model, l).Losses, 2)
			if other, ok := seen[loss]; ok && other != key {
				t.Fatalf("keys %d and %d give the same loss: %v", key, other, loss)
			}
			seen[loss] = key
		}
	}
	if len(seen) != 100 {
		t.Errorf("100 keys give %d losses", len(seen))
	}
}

// TestDropoutEndToEnd holds a lesson whose texts lie end to end to the same with padded texts, of
// which libtorch's operators drop the same elements.
func TestDropoutEndToEnd(t *testing.T) {
	torchtest.OnCPU(t)
	for _, variant := range variants {
		f := load(t, variant)
		l := lesson(f, 5)
		l.Dropout = 0.3
		got := learn(t, f.model, l)
		st, err := f.model.study(ctx, l)
		if err != nil {
			t.Fatal(err)
		}
		if !st.flat {
			t.Fatal("the lesson is padded")
		}
		st.learn, st.flat = true, false
		want, err := st.teach()
		if err != nil {
			t.Fatal(err)
		}
		if far := lossesApart(got.Losses, want.Losses); !(far < 1e-5) {
			t.Errorf("%s: losses are %v apart: %v, padded %v", variant, far, got.Losses, want.Losses)
		}
		for run := range want.Runs {
			if c := cosine(got.Runs[run], want.Runs[run]); !(c > 1-1e-8) {
				t.Errorf("%s: run %d: the cosine of its gradient with that of padded texts is %v", variant, run, c)
			}
		}
	}
}
