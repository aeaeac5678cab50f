// RMSNorm, there and back, in bfloat16 on a GPU by the kernels of kernels.cu and learn.cu, for what libtorch's operators are between.
// Tensors are contiguous, and errors thrown.
#ifndef VALENCE_TORCH_GPUNORM_H
#define VALENCE_TORCH_GPUNORM_H

#include <ATen/core/Tensor.h>

namespace valence::gpu {

// norms tells whether norm can have x.
bool norms(const at::Tensor &x, const at::Tensor &w);
void norm(const at::Tensor &x, const at::Tensor &w, double eps, const at::Tensor &to);
// norm_back writes the gradient of x for that of its norm, and plus where it is defined, over to.
void norm_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &w, double eps, const at::Tensor &plus, const at::Tensor &to);

}  // namespace valence::gpu

#endif
