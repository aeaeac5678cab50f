#include "gpunorm.h"

#include "gpukernels.h"

namespace valence::gpu {
namespace {

const Kernels &kernels(const at::Tensor &x) { return Kernels::any(index_of(x)); }

}  // namespace

bool norms(const at::Tensor &x, const at::Tensor &w) { return has(x) && has(w) && w.is_contiguous() && x.size(-1) % 8 == 0; }

void norm(const at::Tensor &x, const at::Tensor &w, double eps, const at::Tensor &to) {
  int64_t d = x.size(-1), rows = x.numel() / d;
  kernels(x).run(Kernel::kNorm, {blocks(rows, 4)}, 128, data(x), data(w), data(to), int(rows), int(d), float(eps));
}

void norm_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &w, double eps, const at::Tensor &plus, const at::Tensor &to) {
  int64_t d = x.size(-1), rows = x.numel() / d;
  kernels(x).run(Kernel::kNormBack, {blocks(rows, 4)}, 128, data(g), data(x), data(w), plus.defined() ? data(plus) : nullptr, data(to), int(rows), int(d), float(eps));
}

}  // namespace valence::gpu
