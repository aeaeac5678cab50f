package safetensors

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The fixtures were written by the library for Python.
func TestWriteEqualsReference(t *testing.T) {
	for _, name := range []string{"dtypes", "names", "plain", "bare", "empty", "floats"} {
		t.Run(name, func(t *testing.T) {
			want := fixture(t, name+".safetensors")
			f, err := Parse(want)
			if err != nil {
				t.Fatal(err)
			}
			tensors := all(f)
			rng := rand.New(rand.NewPCG(1, 2))
			for range 4 {
				rng.Shuffle(len(tensors), func(i, j int) { tensors[i], tensors[j] = tensors[j], tensors[i] })
				if got := written(t, tensors, f.Metadata()); !bytes.Equal(got, want) {
					t.Fatalf("wrote\n%q\nwant\n%q", got, want)
				}
			}
		})
	}
}

func TestWriteSortsMetadata(t *testing.T) {
	got := written(t, nil, map[string]string{"b": "2", "a": "1", "c": "3"})
	if want := `{"__metadata__":{"a":"1","b":"2","c":"3"}}`; !strings.Contains(string(got), want) {
		t.Errorf("got %q", got)
	}
}

func TestWriteLeavesItsArgumentAlone(t *testing.T) {
	tensors := []Tensor{{"b", U8, []int64{1}, []byte("2")}, {"a", U8, []int64{1}, []byte("1")}}
	written(t, tensors, nil)
	if tensors[0].Name != "b" {
		t.Error("Write sorted the caller's slice")
	}
}

func TestWriteRefuses(t *testing.T) {
	good := Tensor{"a", U8, []int64{1}, []byte("1")}
	for name, c := range map[string]struct {
		tensors  []Tensor
		metadata map[string]string
		want     string
	}{
		"twice":            {[]Tensor{good, good}, nil, `tensor "a": the name is given twice`},
		"reserved":         {[]Tensor{{"__metadata__", U8, nil, []byte("1")}}, nil, "reserved"},
		"name not UTF-8":   {[]Tensor{{"\xff", U8, nil, []byte("1")}}, nil, "UTF-8"},
		"unknown dtype":    {[]Tensor{{"a", "F7", nil, []byte("1")}}, nil, `dtype "F7"`},
		"data too short":   {[]Tensor{{"a", F32, []int64{2}, make([]byte, 7)}}, nil, "needs 8 bytes, not 7"},
		"data too long":    {[]Tensor{{"a", F32, nil, make([]byte, 5)}}, nil, "needs 4 bytes, not 5"},
		"negative shape":   {[]Tensor{{"a", U8, []int64{-1}, nil}}, nil, "negative"},
		"two negatives":    {[]Tensor{{"a", U8, []int64{-1, -1}, []byte("1")}}, nil, "negative"},
		"overflow":         {[]Tensor{{"a", U8, []int64{1 << 32, 1 << 32}, nil}}, nil, "overflows"},
		"metadata, no UTF": {nil, map[string]string{"k": "\xff"}, `metadata "k"`},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			err := Write(&b, c.tensors, c.metadata)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want ErrFormat with %q", err, c.want)
			}
			if b.Len() != 0 {
				t.Errorf("%d bytes were written before the error", b.Len())
			}
		})
	}
}

// failing errs once n writes have passed.
type failing struct{ n int }

var errFull = errors.New("full")

func (f *failing) Write(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteReportsTheWriter(t *testing.T) {
	tensors := []Tensor{{"a", U8, []int64{1}, []byte("1")}}
	for n := range 3 {
		if err := Write(&failing{n}, tensors, nil); !errors.Is(err, errFull) || errors.Is(err, ErrFormat) {
			t.Errorf("after %d writes: %v", n, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, d := range alignment {
		if d.Size() == 0 {
			t.Errorf("%s has no size", d)
		}
	}
	if !slices.IsSortedFunc(alignment[:8], func(a, b DType) int { return a.Size() - b.Size() }) || DType("F4").Size() != 0 {
		t.Error("sizes do not follow the alignment")
	}
}
