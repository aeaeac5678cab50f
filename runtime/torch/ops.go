package torch

import (
	lib "github.com/sugarme/gotch/libtch"
)

// The operators below do what PyTorch's functions of the same name do. Shapes in
// comments are in elements; "..." is any leading shape.

// ok tells whether an operator may run: no error so far, every argument defined.
func (s *Scope) ok(args ...Tensor) bool {
	if s.err != nil {
		return false
	}
	for _, t := range args {
		if t.c == nil {
			s.Fail("an operator was given a tensor that does not exist")
			return false
		}
	}
	return true
}

// Linear is x Wᵀ: x [..., in], w [out, in], result [..., out].
func (s *Scope) Linear(x, w Tensor) Tensor {
	if !s.ok(x, w) {
		return Tensor{}
	}
	return s.own(linear(x.c, w.c))
}

// MatMul is the product of [..., n, k] and [..., k, m].
func (s *Scope) MatMul(a, b Tensor) Tensor {
	if !s.ok(a, b) {
		return Tensor{}
	}
	lib.AtgMatmul(s.out, a.c, b.c)
	return s.take()
}

// Add is a + b with broadcasting.
func (s *Scope) Add(a, b Tensor) Tensor {
	if !s.ok(a, b) {
		return Tensor{}
	}
	lib.AtgAdd(s.out, a.c, b.c)
	return s.take()
}

// Mul is a * b with broadcasting.
func (s *Scope) Mul(a, b Tensor) Tensor {
	if !s.ok(a, b) {
		return Tensor{}
	}
	lib.AtgMul(s.out, a.c, b.c)
	return s.take()
}

// ReLU is max(x, 0).
func (s *Scope) ReLU(x Tensor) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	lib.AtgRelu(s.out, x.c)
	return s.take()
}

// SiLU is x * sigmoid(x).
func (s *Scope) SiLU(x Tensor) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	lib.AtgSilu(s.out, x.c)
	return s.take()
}

// GELUTanh is GELU in its tanh approximation.
func (s *Scope) GELUTanh(x Tensor) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	return s.own(geluTanh(x.c))
}

// RMSNorm is x / sqrt(mean(x²) + eps) * w over the last dimension: x [..., d], w [d].
// The mean is taken in float32 whatever the type of x.
//
// Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization".
func (s *Scope) RMSNorm(x, w Tensor, eps float64) Tensor {
	if !s.ok(x, w) {
		return Tensor{}
	}
	return s.own(rmsNorm(x.c, w.c, eps))
}

// Embedding reads rows: w [n, d], ids int64 [...], result [..., d]. The caller has
// checked that 0 <= id < n: on CUDA a bad id spoils the device for good.
func (s *Scope) Embedding(w, ids Tensor) Tensor {
	if !s.ok(w, ids) {
		return Tensor{}
	}
	lib.AtgEmbedding(s.out, w.c, ids.c, -1, 0, 0)
	return s.take()
}

// IndexSelect gathers slices along dim; index is int64 [n], checked by the caller.
func (s *Scope) IndexSelect(x Tensor, dim int64, index Tensor) Tensor {
	if !s.ok(x, index) {
		return Tensor{}
	}
	lib.AtgIndexSelect(s.out, x.c, dim, index.c)
	return s.take()
}

// IndexSelectInto is IndexSelect along dimension 0 into out, of the result's shape.
func (s *Scope) IndexSelectInto(out, x, index Tensor) {
	if !s.ok(out, x, index) {
		return
	}
	lib.AtgIndexSelectOut(s.out, out.c, x.c, 0, index.c)
	s.take()
}

// Attention is softmax(q kᵀ + bias) v without the usual scaling, as T5 has it:
// q [b, h, n, d], k and v [b, h, m, d], bias broadcast to [b, h, n, m] or none.
func (s *Scope) Attention(q, k, v, bias Tensor) Tensor {
	if !s.ok(q, k, v) {
		return Tensor{}
	}
	return s.own(attention(q.c, k.c, v.c, bias.c))
}

// ArgMax is the index of the greatest element of the last dimension; of equals, one.
func (s *Scope) ArgMax(x Tensor) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	lib.AtgArgmax(s.out, x.c, -1, 0, 0)
	return s.take()
}

// Softmax is exp(x) over its sum, along the last dimension.
func (s *Scope) Softmax(x Tensor) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	lib.AtgSoftmax(s.out, x.c, -1, lib.AtScalarType(x.c))
	return s.take()
}

// LogSoftmax is x less the logarithm of the sum of exp(x), along the last dimension.
func (s *Scope) LogSoftmax(x Tensor) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	lib.AtgLogSoftmax(s.out, x.c, -1, lib.AtScalarType(x.c))
	return s.take()
}

// Pick takes one element of each row: x [n, m], index int64 [n], checked by the
// caller, result [n].
func (s *Scope) Pick(x, index Tensor) Tensor {
	if !s.ok(x, index) {
		return Tensor{}
	}
	if index = s.Unsqueeze(index, 1); !s.ok(index) {
		return Tensor{}
	}
	lib.AtgGather(s.out, x.c, 1, index.c, 0)
	return s.Reshape(s.take(), -1)
}

// Sum adds up the slices along dim, which is gone from the result.
func (s *Scope) Sum(x Tensor, dim int64) Tensor {
	if !s.ok(x) {
		return Tensor{}
	}
	lib.AtgSumDimIntlist(s.out, x.c, []int64{dim}, 1, 0, lib.AtScalarType(x.c))
	return s.take()
}

// Dropout zeroes elements of x [rows, ...] with probability rate and scales the
// others by 1 / (1 - rate). Which ones depends on the row's key (keys [rows] int64),
// the salt, which tells apart the places of use, and where the element stands in its
// row; not on the padding, nor on the other rows.
//
// Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks
// from Overfitting".
func (s *Scope) Dropout(x, keys Tensor, salt int64, rate float64) Tensor {
	if !s.ok(x, keys) {
		return Tensor{}
	}
	return s.own(dropout(x.c, keys.c, salt, rate))
}
