// Products of a lesson on a GPU, there and back, with the vectors of each text before and after them.
#ifndef VALENCE_TORCH_GPUJOINED_H
#define VALENCE_TORCH_GPUJOINED_H

#include <vector>

#include <ATen/core/Tensor.h>

#include "gpukernels.h"
#include "gpupass.h"
#include "gpupool.h"

namespace valence::gpu {

// Tokens are those of texts or of sequences, which lie end to end. There may be more than these have, whose numbers mean nothing.
struct Tokens {
  int64_t all = 0, texts = 0, longest = 0;
  const int *ids = nullptr;    // [all]
  const int *start = nullptr;  // [texts + 1]
  const int *rows = nullptr;   // [all]: row of the vectors that each has
};

// Columns are some of a tensor's: x has their first, and its rows lie step apart.
struct Columns {
  char *x = nullptr;
  int64_t step = 0;
};

// part is the i-th size columns of t [n, ..].
inline Columns part(const at::Tensor &t, int64_t i, int64_t size) { return {static_cast<char *>(data(t)) + i * size * t.element_size(), t.size(1)}; }

// Joined is a product by matrices of one size and input that lie one after the other, and what its way back needs.
struct Joined {
  at::Tensor weight;        // [parts * size, in]
  std::vector<Scales> by;   // of each part
  at::Tensor from;          // [n, in], where vectors scale it for any part
  at::Tensor made, scaled;  // [n, parts * size], and, where vectors scale parts of it, these
  int64_t size() const { return weight.size(0) / int64_t(by.size()); }
  Columns part(int64_t i) const { return gpu::part(by[i].out < 0 ? made : scaled, i, size()); }
};

// Products are a model's, for rows of vectors [rows, width] float32. What they make lies in a pool, or in libtorch's memory.
class Products {
 public:
  Products(const Weights &w, at::Tensor vectors, Pool *pool) : w(w), kernels(Kernels::of(w.device, w.width)), vectors(std::move(vectors)), pool(pool) {}

 protected:
  Weights w;
  const Kernels &kernels;
  at::Tensor vectors, taught;  // and their gradients

  at::Tensor room(at::IntArrayRef sizes, at::ScalarType type = at::kBFloat16) const;
  Vectors by(int64_t column) const;
  float *slopes(int64_t column) const { return column < 0 ? nullptr : taught.data_ptr<float>() + column; }
  void scale(const Tokens &t, const Columns &from, const Columns &to, int64_t column, int64_t size) const;
  // scale_back turns d, the gradient of x scaled, into that of x.
  void scale_back(const Tokens &t, const Columns &d, const Columns &x, int64_t column, int64_t size) const;
  Joined joined(const Tokens &t, const at::Tensor &h, const at::Tensor &weight, std::vector<Scales> by) const;
  // joined_back is the gradient of what was multiplied, for d [n, parts * size] of what came out, which it changes. Where to is
  // defined it is added to that.
  at::Tensor joined_back(const Tokens &t, const Joined &j, const at::Tensor &d, at::Tensor to = {}) const;

 private:
  Pool *pool;
};

// Columns of a block that sums tokens, and its threads: kStrip and kWarps of learn.cu.
constexpr int64_t kStrip = 256;
constexpr unsigned kStripThreads = 256;

}  // namespace valence::gpu

#endif
