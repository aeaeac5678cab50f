package mt5

import (
	"math"

	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// positionBias is a stack's relative position bias, which all its layers share.
// It depends on j - i only, so the bias of a short sequence is a corner of that of
// a longer one: the largest asked for so far is kept, and others are views of it.
type positionBias struct {
	config  *spec.Config
	causal  bool
	weights torch.Tensor // [buckets, H]
	owned   *torch.Scope
	dtype   torch.DType

	size      int64
	full      torch.Tensor // [1, H, size, size]
	distances torch.Tensor // [H, 2 size - 1] float32: the same by distance
}

// minBias is the smallest size kept, so that short texts do not make it grow often.
const minBias = 128

// rows gives the bias of n queries that begin at position start and see the
// positions before start + n: [1, H, n, start+n]. Where causal it is -inf for the
// positions after a query.
func (p *positionBias) rows(s *torch.Scope, start, n int64) torch.Tensor {
	p.fit(s, start+n)
	return s.Narrow(s.Narrow(p.full, 2, start, n), 3, 0, start+n)
}

// fit makes the bias large enough for so many positions.
func (p *positionBias) fit(s *torch.Scope, need int64) {
	if need <= p.size {
		return
	}
	size := max(p.size, minBias)
	for size < need {
		size *= 2
	}
	ids := make([]int64, size*size)
	for i := range size {
		for j := range size {
			ids[i*size+j] = int64(bucket(int(j-i), p.config.Buckets, p.config.MaxDistance, !p.causal))
		}
	}
	full := s.Permute(s.Embedding(p.weights, s.Int64s(ids, size, size)), 2, 0, 1) // [H, size, size]
	if p.causal {
		full = s.Add(full, s.To(s.Float32s(causalMask(int(size)), size, size), p.dtype))
	}
	full = s.Contiguous(s.Unsqueeze(full, 0))
	distances := s.Distances(full)
	s.Synchronize() // serving and training both read them
	if s.Err() != nil {
		return
	}
	p.owned.Drop(p.full)
	p.owned.Drop(p.distances)
	p.full, p.distances, p.size = s.Give(p.owned, full), s.Give(p.owned, distances), size
}

// byDistance gives the bias as torch.Scope.Distances does, for texts of n tokens or more.
func (p *positionBias) byDistance(s *torch.Scope, n int64) torch.Tensor {
	p.fit(s, n)
	return p.distances
}

// causalMask is [n, n]: 0 where a query sees a position, -inf after it.
func causalMask(n int) []float32 {
	mask := make([]float32, n*n)
	hidden := float32(math.Inf(-1))
	for i := range n {
		for j := i + 1; j < n; j++ {
			mask[i*n+j] = hidden
		}
	}
	return mask
}

// bucket is T5's bucket of a distance, key position less query position: half of
// the buckets count single steps, the rest grow logarithmically up to maxDistance.
// With bidirectional one half of all is for keys after the query; without, those
// share bucket 0. The logarithm is taken in float32, as transformers does, since
// its rounding decides at the borders.
//
// Source: Raffel et al. 2020, section 2.1, and its Mesh TensorFlow code.
func bucket(distance, buckets, maxDistance int, bidirectional bool) int {
	base := 0
	if bidirectional {
		buckets /= 2
		if distance > 0 {
			base = buckets
		}
		distance = max(distance, -distance)
	} else {
		distance = max(-distance, 0)
	}
	exact := buckets / 2
	if distance < exact {
		return base + distance
	}
	ratio := float32(math.Log(float64(float32(distance) / float32(exact))))
	span := float32(math.Log(float64(maxDistance) / float64(exact)))
	large := exact + int(ratio/span*float32(buckets-exact))
	return base + min(large, buckets-1)
}
