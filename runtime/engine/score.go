package engine

import (
	"fmt"
	"math"
	"slices"
)

// logProbs turns the logits of each node's children into the labels' natural
// log-probabilities, which sum to 1 over the trie's labels.
//
// The temperature divides the labels' log-probabilities, not the logits of the
// nodes, and the result is normalised again: p_i^(1/T) / sum_j p_j^(1/T). For a
// trie of one node that is the temperature scaling of Guo et al. 2017, "On
// Calibration of Modern Neural Networks".
func (t *trie) logProbs(logits [][]float32, temperature float64) ([]float64, error) {
	norms := make([]float64, len(t.nodes))
	for i, n := range t.nodes {
		for j, x := range logits[i] {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				return nil, fmt.Errorf("%w: token %d after %v has %v", ErrNonFinite, n.next[j], n.prefix, x)
			}
		}
		norms[i] = logSumExp(logits[i])
	}
	out := make([]float64, len(t.steps))
	for i, steps := range t.steps {
		for _, s := range steps {
			out[i] += float64(logits[s.node][s.child]) - norms[s.node]
		}
	}
	temper(out, temperature)
	return out, nil
}

// temper divides log-probabilities by the temperature and normalises them. The
// largest is taken off first, so that no temperature overflows all of them.
func temper(logProbs []float64, temperature float64) {
	top := slices.Max(logProbs)
	for i := range logProbs {
		logProbs[i] = (logProbs[i] - top) / temperature
	}
	norm := logSumExp(logProbs)
	for i := range logProbs {
		logProbs[i] -= norm
	}
}

// logSumExp is log(sum(exp(x))) in float64, without overflow.
func logSumExp[F float32 | float64](xs []F) float64 {
	top := float64(slices.Max(xs))
	sum := 0.0
	for _, x := range xs {
		sum += math.Exp(float64(x) - top)
	}
	return top + math.Log(sum)
}
