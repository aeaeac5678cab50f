// RMSNorm, there and back, in bfloat16 on a GPU by the kernels of kernels.cu and learn.cu, for what libtorch's operators are between.
// Tensors are contiguous, and errors thrown.
#ifndef VALENCE_TORCH_GPUNORM_H
#define VALENCE_TORCH_GPUNORM_H

#include <ATen/core/Tensor.h>

namespace valence::gpu {

// norms tells whether norm can have x.
bool norms(const at::Tensor &x, const at::Tensor &w);
at::Tensor norm(const at::Tensor &x, const at::Tensor &w, double eps);
// norm_back is the gradient of x for that of its norm, and plus where it is defined.
at::Tensor norm_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &w, double eps, const at::Tensor &plus = {});

}  // namespace valence::gpu

#endif
