package metrics

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
)

type reference struct {
	Name                       string
	Labels                     int
	Truth                      []int
	Probs                      [][]float64
	Accuracy, ECE, Temperature float64
	MacroF1                    float64 `json:"macro_f1"`
	Confusion                  [][]int
	Precision, Recall, F1      []float64
	Support                    []int
}

func near(t *testing.T, name string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

// TestEqualsScikitLearn compares with testdata/reference.json.
func TestEqualsScikitLearn(t *testing.T) {
	data, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []reference
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			rows := make([]Row, len(c.Truth))
			for i := range rows {
				rows[i] = Row{c.Truth[i], c.Probs[i]}
			}
			r, err := Evaluate(strings.Split("abcdefg", "")[:c.Labels], rows)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "accuracy", r.Accuracy, c.Accuracy, 1e-12)
			near(t, "macro-F1", r.MacroF1, c.MacroF1, 1e-12)
			near(t, "ECE", r.ECE, c.ECE, 1e-9)
			near(t, "temperature", FitTemperature(rows), c.Temperature, 1e-3*c.Temperature)
			if !reflect.DeepEqual(r.Confusion, c.Confusion) {
				t.Errorf("confusion %v, want %v", r.Confusion, c.Confusion)
			}
			for i, class := range r.Classes {
				near(t, class.Label+" precision", class.Precision, c.Precision[i], 1e-12)
				near(t, class.Label+" recall", class.Recall, c.Recall[i], 1e-12)
				near(t, class.Label+" F1", class.F1, c.F1[i], 1e-12)
				if class.Support != c.Support[i] {
					t.Errorf("%s support %d, want %d", class.Label, class.Support, c.Support[i])
				}
			}
		})
	}
}

func TestBinsAndAbstention(t *testing.T) {
	rows := []Row{{0, []float64{0.9, 0.1}}, {1, []float64{0.6, 0.4}}, {1, []float64{0, 1}}, {0, []float64{0.5, 0.5}}}
	r, err := Evaluate([]string{"a", "b"}, rows)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, b := range r.Calibration {
		n += b.Rows
		if b.Confidence <= b.Low || b.Confidence > b.High+1e-12 {
			t.Errorf("bin %+v", b)
		}
	}
	if n != 4 {
		t.Errorf("%d rows in bins", n)
	}
	for _, c := range r.Abstention {
		want := map[float64][2]float64{0: {1, 0.75}, 0.55: {0.75, 2.0 / 3}, 0.65: {0.5, 1}, 0.99: {0.25, 1}}[c.Threshold]
		if want != [2]float64{} && (c.Coverage != want[0] || c.Accuracy != want[1]) {
			t.Errorf("%+v, want %v", c, want)
		}
	}
}

func TestEvaluateRefuses(t *testing.T) {
	for _, tc := range []struct {
		rows []Row
		want string
	}{
		{nil, "there are none"},
		{[]Row{{0, []float64{1, 0}}, {2, []float64{1, 0}}}, "row 1: the truth is label 2 of 2"},
		{[]Row{{0, []float64{1}}}, "row 0: there are 1 probabilities"},
		{[]Row{{0, []float64{math.NaN(), 0}}}, "row 0: the probability of label 0 is NaN"},
	} {
		if _, err := Evaluate([]string{"a", "b"}, tc.rows); !errors.Is(err, ErrRows) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v", tc.rows, err)
		}
	}
}
