package bench

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"valence/runtime/builtin"
	"valence/runtime/mt5/checkpoint"
	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
)

func TestISA(t *testing.T) {
	if got := isa("fpu sse avx2 avx512_bf16x amx_int8 fma"); !slices.Equal(got, []string{"avx2", "fma", "amx_int8"}) {
		t.Errorf("%v", got)
	}
	if got := isa(""); got == nil || len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestParseDoctor(t *testing.T) {
	w, err := parseDoctor([]byte(`{"dtype": "int8", "resident_bytes": 5, "peak_resident_bytes": 7}`))
	if err != nil || w != (weight{"int8", 5, 7}) {
		t.Errorf("%+v, %v", w, err)
	}
	for _, bad := range []string{`{"dtype": "int8"}`, `{"resident_bytes": 5, "peak_resident_bytes": 4}`, `no`} {
		if _, err := parseDoctor([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// TestShapes holds the large base to the published counts, and what is written to what a
// checkpoint must be.
func TestShapes(t *testing.T) {
	large := shapes["mt0-large"]
	if n, trained := large.Parameters(), spec.Total(large.DefaultSites()); n != 1_229_581_312 || trained != 282_624 {
		t.Errorf("mt0-large has %d parameters, %d of an adapter", n, trained)
	}
	folder := filepath.Join(t.TempDir(), "tiny")
	if err := writeShape(t.Context(), folder, shapes["tiny"]); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.DType() != safetensors.BF16 || c.Tokenizer == nil || len(c.Unused()) > 0 {
		t.Errorf("%v, unused %v", c.DType(), c.Unused())
	}
	if got, want := *c.Config, shapes["tiny"]; got != want {
		t.Errorf("read back %+v, want %+v", got, want)
	}
	if err := writeShape(t.Context(), folder, shapes["tiny"]); err == nil {
		t.Error("a folder that is there was written over")
	}
}

func TestRandomWeight(t *testing.T) {
	config := shapes["tiny"]
	for _, w := range config.Weights() {
		data := randomWeight(&config, w)
		values, err := safetensors.Tensor{Name: w.Name, DType: safetensors.BF16, Shape: w.Shape, Data: data}.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(data, randomWeight(&config, w)) {
			t.Fatalf("%s is another one each time", w.Name)
		}
		sum := 0.0
		for _, v := range values {
			sum += float64(v) * float64(v)
		}
		want := scaleOf(&config, w.Name)
		if want == 0 {
			want = 1
		}
		if got := math.Sqrt(sum / float64(len(values))); math.Abs(got-want) > 0.2*want {
			t.Errorf("%s scatters by %v, want %v", w.Name, got, want)
		}
	}
}

// TestForwardWork counts by hand: mt0-large has 24 layers of 12,845,056 numbers in the
// encoder's projections.
func TestForwardWork(t *testing.T) {
	large := shapes["mt0-large"]
	layer := 4.0*1024*1024 + 3*1024*2816
	first := 6.0*1024*1024 + 3*1024*2816
	want := 2 * 24 * (32*layer + 2*32*32*1024 + first + 2*32*16*1024)
	if got := forwardWork(&large, 1, 32); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if one, many := forwardWork(&large, 1, 32), forwardWork(&large, 64, 32); many != 64*one {
		t.Errorf("64 rows are %v times one", many/one)
	}
}

func TestBatches(t *testing.T) {
	config := shapes["tiny"]
	adapters, err := makeAdapters(&config, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(adapters[0].Data, adapters[1].Data) {
		t.Error("adapters are alike")
	}
	b := makeBatch(&config, 4, 9, adapters, 1)
	if len(b.rows.IDs) != 4 || len(b.probes) != 4 || b.rows.Adapters[3] != adapters[0] || b.rows.Adapters[2] != adapters[2] {
		t.Errorf("%+v", b)
	}
	for i, row := range b.rows.IDs {
		if len(row) != 9 || row[8] != config.EOSID || slices.Contains(row[:8], config.EOSID) || b.probes[i].Row != i {
			t.Errorf("row %d: %v, %+v", i, row, b.probes[i])
		}
	}
}

func TestTexts(t *testing.T) {
	texts := makeTexts(500, 5)
	if n := len(slices.Compact(slices.Sorted(slices.Values(texts)))); n != 500 {
		t.Errorf("%d of 500 texts differ", n)
	}
	if !slices.Equal(texts[:100], makeTexts(100, 5)) {
		t.Error("the same seed makes others")
	}
}

// TestLessons holds the texts that are trained on to the length that is said of them, and
// what PEFT is given to what ours reads.
func TestLessons(t *testing.T) {
	base, err := checkpoint.OpenFS("builtin", builtin.Base())
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	l, err := newLessons(base, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.ids) != 80 || len(l.data.Examples) != 80 || math.Abs(l.meanTokens()-meanLength) > 5 {
		t.Errorf("%d rows of %v tokens", len(l.ids), l.meanTokens())
	}
	for i, row := range l.ids {
		if len(row) > peftPad || row[len(row)-1] != base.Config.EOSID || len(l.labels[i]) > l.recipe.LabelTokens {
			t.Errorf("row %d: %v, %v", i, row, l.labels[i])
		}
	}
}

func TestDifferences(t *testing.T) {
	got := differences([][]float64{{1, 2}, {3, 4}}, [][]float64{{1, 2.5}, {2, 4}})
	if !slices.Equal(got, []float64{0, 0.5, 1, 0}) {
		t.Errorf("%v", got)
	}
}

func TestSameLoss(t *testing.T) {
	for _, c := range []struct {
		ours, theirs float64
		same         bool
	}{{10.1, 10, true}, {10, 10.1, true}, {10, 11, false}, {0, 10, false}, {math.NaN(), 10, false}} {
		l := &lessons{loss: c.ours, peftLoss: c.theirs}
		if err := l.sameLoss(); (err == nil) != c.same {
			t.Errorf("%v and %v: %v", c.ours, c.theirs, err)
		}
	}
}
