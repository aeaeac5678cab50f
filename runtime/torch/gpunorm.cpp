#include "gpunorm.h"

#include <ATen/ops/empty_like.h>

#include "gpukernels.h"

namespace valence::gpu {
namespace {

const Kernels &kernels(const at::Tensor &x) { return Kernels::any(index_of(x)); }

}  // namespace

bool norms(const at::Tensor &x, const at::Tensor &w) { return has(x) && has(w) && w.is_contiguous() && x.size(-1) % 8 == 0; }

at::Tensor norm(const at::Tensor &x, const at::Tensor &w, double eps) {
  int64_t d = x.size(-1), rows = x.numel() / d;
  auto y = at::empty_like(x);
  kernels(x).run(Kernel::kNorm, {blocks(rows, 4)}, 128, data(x), data(w), data(y), int(rows), int(d), float(eps));
  return y;
}

at::Tensor norm_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &w, double eps, const at::Tensor &plus) {
  int64_t d = x.size(-1), rows = x.numel() / d;
  auto dx = at::empty_like(x);
  kernels(x).run(Kernel::kNormBack, {blocks(rows, 4)}, 128, data(g), data(x), data(w), plus.defined() ? data(plus) : nullptr, data(dx), int(rows), int(d), float(eps));
  return dx;
}

}  // namespace valence::gpu
