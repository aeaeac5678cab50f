package training

import (
	"math"

	"valence/runtime/train"
	"valence/runtime/train/metrics"
)

// runMetrics is one run after an epoch, or at its end.
type runMetrics struct {
	Run            int             `json:"run"`
	LearningRate   float64         `json:"learning_rate"`
	Seed           uint64          `json:"seed"`
	Fold           *int            `json:"fold,omitempty"` // of cross-validation
	Steps          int             `json:"steps"`
	Epoch          int             `json:"epoch"` // that the numbers are of; 0 before any
	TrainLoss      float64         `json:"train_loss"`
	ValidationLoss float64         `json:"validation_loss,omitzero"`
	Perplexity     float64         `json:"perplexity,omitzero"`
	Written        float64         `json:"written,omitzero"` // share of rows whose label the model would write by itself
	Rows           int             `json:"validation_rows"`
	Accuracy       float64         `json:"accuracy,omitzero"`
	MacroF1        float64         `json:"macro_f1,omitzero"`
	ECE            float64         `json:"ece,omitzero"`
	Failure        string          `json:"failure,omitempty"` // of a run whose numbers became infinite
	Labels         []metrics.Class `json:"labels,omitempty"`
	Confusion      [][]int         `json:"confusion,omitempty"`
}

// allMetrics is a run's metrics and, where there are several, those of all in short.
type allMetrics struct {
	runMetrics
	Runs            []runMetrics     `json:"runs,omitempty"`
	CrossValidation *crossValidation `json:"cross_validation,omitempty"`
	// The following are of a result.
	Temperature  float64     `json:"temperature,omitzero"`
	AbstainBelow float64     `json:"abstain_below,omitzero"`
	Active       *comparison `json:"active,omitempty"`
}

// crossValidation sums up the folds with the best learning rate and seed.
type crossValidation struct {
	Folds    int    `json:"folds"`
	Accuracy spread `json:"accuracy"`
	MacroF1  spread `json:"macro_f1"`
}

// spread is a mean and a standard deviation, of a sample.
type spread struct {
	Mean      float64 `json:"mean"`
	Deviation float64 `json:"deviation"`
}

// epochMetrics are those after the last epoch. run is the one that is told of in full.
func epochMetrics(r *train.Result, run int) allMetrics {
	return collect(r, run, func(x *train.RunResult) (*train.Epoch, *metrics.Report) {
		if len(x.Epochs) == 0 {
			return nil, nil
		}
		e := &x.Epochs[len(x.Epochs)-1]
		return e, e.Report
	})
}

// finalMetrics are those of the vectors that the runs give, calibrated.
func finalMetrics(r *train.Result) allMetrics {
	out := collect(r, r.Best, func(x *train.RunResult) (*train.Epoch, *metrics.Report) {
		if x.Kept == 0 {
			return nil, nil
		}
		return &x.Epochs[x.Kept-1], x.Report
	})
	out.Temperature, out.AbstainBelow = r.Runs[r.Best].Temperature, r.Runs[r.Best].AbstainBelow
	return out
}

func collect(r *train.Result, run int, of func(*train.RunResult) (*train.Epoch, *metrics.Report)) allMetrics {
	var all []runMetrics
	for i := range r.Runs {
		epoch, report := of(&r.Runs[i])
		all = append(all, metricsOf(i, &r.Runs[i], epoch, report))
	}
	out := allMetrics{runMetrics: all[run]}
	if len(all) == 1 {
		return out
	}
	for i := range all {
		all[i].Labels, all[i].Confusion = nil, nil
	}
	out.Runs = all
	out.CrossValidation = crossOf(all, all[run])
	return out
}

func metricsOf(i int, r *train.RunResult, e *train.Epoch, report *metrics.Report) runMetrics {
	out := runMetrics{Run: i, LearningRate: r.LearningRate, Seed: r.Seed, Steps: r.Steps}
	if r.Fold >= 0 {
		out.Fold = &r.Fold
	}
	if r.Failure != nil {
		out.Failure = r.Failure.Reason
	}
	if e != nil {
		out.Epoch, out.TrainLoss, out.ValidationLoss, out.Perplexity, out.Written = e.Epoch, e.TrainLoss, e.ValidationLoss, finite(e.Perplexity), e.Written
	}
	if report != nil {
		out.Rows, out.Accuracy, out.MacroF1, out.ECE = report.Rows, report.Accuracy, report.MacroF1, report.ECE
		out.Labels, out.Confusion = report.Classes, report.Confusion
	}
	return out
}

// finite keeps a number that JSON has: the perplexity of a great loss overflows.
func finite(x float64) float64 { return min(x, math.MaxFloat64) }

// crossOf sums up the folds that have the learning rate and seed of one, or nil.
func crossOf(all []runMetrics, like runMetrics) *crossValidation {
	if like.Fold == nil {
		return nil
	}
	out := &crossValidation{}
	var accuracy, f1 []float64
	for _, r := range all {
		if r.LearningRate == like.LearningRate && r.Seed == like.Seed && r.Failure == "" {
			accuracy, f1 = append(accuracy, r.Accuracy), append(f1, r.MacroF1)
		}
	}
	out.Folds, out.Accuracy, out.MacroF1 = len(f1), spreadOf(accuracy), spreadOf(f1)
	return out
}

func spreadOf(values []float64) spread {
	n := float64(len(values))
	var s spread
	for _, v := range values {
		s.Mean += v / n
	}
	if n > 1 {
		for _, v := range values {
			s.Deviation += (v - s.Mean) * (v - s.Mean) / (n - 1)
		}
		s.Deviation = math.Sqrt(s.Deviation)
	}
	return s
}
