// Package metrics judges a classifier's answers against the truth: accuracy,
// macro-F1, the confusion matrix, calibration and abstention. It is pure Go.
package metrics

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrRows is wrapped by errors about rows that cannot be judged.
var ErrRows = errors.New("metrics: rows")

// Row is one answer and its truth.
type Row struct {
	Truth int       // number of the true label
	Probs []float64 // probability of each label
}

// best is the most probable label and its probability.
func (r Row) best() (label int, p float64) {
	for i, q := range r.Probs {
		if i == 0 || q > p {
			label, p = i, q
		}
	}
	return label, p
}

// Report is everything that rows tell. Fractions are from 0 to 1.
type Report struct {
	Rows     int     `json:"rows"`
	Accuracy float64 `json:"accuracy"`
	// MacroF1 is the mean F1 of the classes that are true or predicted in any row, as
	// scikit-learn's f1_score(average="macro") has it.
	MacroF1 float64 `json:"macro_f1"`
	// ECE is the expected calibration error over CalibrationBins bins of equal width.
	ECE         float64    `json:"ece"`
	Classes     []Class    `json:"labels"`
	Confusion   [][]int    `json:"confusion"`   // rows of truth i that were answered j
	Calibration []Bin      `json:"calibration"` // bins that hold rows
	Abstention  []Coverage `json:"abstention"`
}

// Class is one label's part. A fraction whose denominator is 0 is 0.
type Class struct {
	Label     string  `json:"label"`
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
	Support   int     `json:"support"` // rows whose truth it is
}

// Bin holds the rows whose best probability lies in (Low, High].
type Bin struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Rows       int     `json:"rows"`
	Confidence float64 `json:"confidence"` // mean best probability
	Accuracy   float64 `json:"accuracy"`
}

// Coverage tells what is left when rows whose best probability is below a
// threshold get no answer.
type Coverage struct {
	Threshold float64 `json:"threshold"`
	Coverage  float64 `json:"coverage"` // fraction of rows that are answered
	Accuracy  float64 `json:"accuracy"` // of those; 0 when there are none
}

// CalibrationBins is the number of bins of the calibration error, as in Guo et al.
// 2017, "On Calibration of Modern Neural Networks".
const CalibrationBins = 15

// Evaluate judges rows over the labels. Errors wrap ErrRows and name the row.
func Evaluate(labels []string, rows []Row) (*Report, error) {
	if len(rows) == 0 {
		return nil, fmt.Errorf("%w: there are none", ErrRows)
	}
	for i, r := range rows {
		if err := r.check(len(labels)); err != nil {
			return nil, fmt.Errorf("%w: row %d: %w", ErrRows, i, err)
		}
	}
	r := &Report{Rows: len(rows), Confusion: confusion(len(labels), rows)}
	r.classes(labels)
	r.calibrate(rows)
	r.abstain(rows)
	return r, nil
}

func (r Row) check(labels int) error {
	if r.Truth < 0 || r.Truth >= labels {
		return fmt.Errorf("the truth is label %d of %d", r.Truth, labels)
	}
	if len(r.Probs) != labels {
		return fmt.Errorf("there are %d probabilities for %d labels", len(r.Probs), labels)
	}
	for j, p := range r.Probs {
		if !(p >= 0 && p <= 1+1e-9) {
			return fmt.Errorf("the probability of label %d is %v", j, p)
		}
	}
	return nil
}

func confusion(labels int, rows []Row) [][]int {
	m := make([][]int, labels)
	for i := range m {
		m[i] = make([]int, labels)
	}
	for _, row := range rows {
		best, _ := row.best()
		m[row.Truth][best]++
	}
	return m
}

func (r *Report) classes(labels []string) {
	right, present, sum := 0, 0, 0.0
	for i, label := range labels {
		hit, support, answered := r.Confusion[i][i], 0, 0
		for j := range labels {
			support += r.Confusion[i][j]
			answered += r.Confusion[j][i]
		}
		right += hit
		r.Classes = append(r.Classes, Class{
			Label: label, Support: support,
			Precision: ratio(float64(hit), answered), Recall: ratio(float64(hit), support), F1: ratio(2*float64(hit), support+answered),
		})
		if support+answered > 0 {
			present++
			sum += r.Classes[i].F1
		}
	}
	r.Accuracy, r.MacroF1 = ratio(float64(right), r.Rows), ratio(sum, present)
}

func ratio(a float64, b int) float64 {
	if b == 0 {
		return 0
	}
	return a / float64(b)
}

// calibrate fills the bins and sums the calibration error: over the bins, the
// distance of confidence and accuracy, weighted by rows.
func (r *Report) calibrate(rows []Row) {
	var bins [CalibrationBins]Bin
	for _, row := range rows {
		label, p := row.best()
		b := &bins[min(max(int(math.Ceil(p*CalibrationBins))-1, 0), CalibrationBins-1)]
		b.Rows++
		b.Confidence += p
		if label == row.Truth {
			b.Accuracy++
		}
	}
	for i, b := range bins {
		if b.Rows == 0 {
			continue
		}
		b.Low, b.High = float64(i)/CalibrationBins, float64(i+1)/CalibrationBins
		b.Confidence, b.Accuracy = b.Confidence/float64(b.Rows), b.Accuracy/float64(b.Rows)
		r.ECE += math.Abs(b.Confidence-b.Accuracy) * float64(b.Rows) / float64(len(rows))
		r.Calibration = append(r.Calibration, b)
	}
}

// abstainSteps are the thresholds of the abstention curve: 0 to 0.95 by 0.05, and
// 0.99.
func abstainSteps() []float64 {
	var steps []float64
	for i := range 20 {
		steps = append(steps, float64(i)/20)
	}
	return append(steps, 0.99)
}

func (r *Report) abstain(rows []Row) {
	for _, threshold := range abstainSteps() {
		answered, right := 0, 0
		for _, row := range rows {
			label, p := row.best()
			if p < threshold {
				continue
			}
			answered++
			if label == row.Truth {
				right++
			}
		}
		r.Abstention = append(r.Abstention, Coverage{threshold, ratio(float64(answered), len(rows)), ratio(float64(right), answered)})
	}
}

// FitTemperature gives the temperature that makes the truth most likely: the
// probabilities become proportional to p^(1/temperature). It searches between
// 0.05 and 20; the likelihood has one maximum there, being concave in 1/temperature.
func FitTemperature(rows []Row) float64 {
	low, high := math.Log(0.05), math.Log(20)
	golden := (math.Sqrt(5) - 1) / 2
	for high-low > 1e-5 {
		a, b := high-golden*(high-low), low+golden*(high-low)
		if negLogLikelihood(rows, math.Exp(a)) < negLogLikelihood(rows, math.Exp(b)) {
			high = b
		} else {
			low = a
		}
	}
	return math.Exp((low + high) / 2)
}

// negLogLikelihood of the truth at a temperature, summed over rows.
func negLogLikelihood(rows []Row, temperature float64) float64 {
	total := 0.0
	for _, row := range rows {
		scaled := make([]float64, len(row.Probs))
		for i, p := range row.Probs {
			scaled[i] = math.Log(max(p, 1e-300)) / temperature
		}
		top := slices.Max(scaled)
		sum := 0.0
		for _, x := range scaled {
			sum += math.Exp(x - top)
		}
		total += top + math.Log(sum) - scaled[row.Truth]
	}
	return total
}
