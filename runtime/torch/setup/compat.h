// Bridges gotch 0.9.1, written for libtorch 2.1, to libtorch 2.11. It is forced
// into every C++ file of the build with -include; our own, which define
// VALENCE_NATIVE, need nothing of it and compile in half the time without.
//
// Exactly three of gotch's generated functions call operators whose signature
// has changed since. The program calls none of them; here they are declared so
// that the file compiles, and they throw if they are ever reached.
//
// Go's build cache does not look inside this file: after a change raise GLUE in
// the Makefile, which names the folder that it is copied to.
#pragma once
#ifndef VALENCE_NATIVE
#include <torch/torch.h>

#include <stdexcept>
#include <tuple>

namespace torch {
inline at::Tensor _cslt_sparse_mm(const at::Tensor&, const at::Tensor&, const at::Tensor&, bool) {
  throw std::runtime_error("_cslt_sparse_mm: not supported with this libtorch");
}
template <class... A>
std::tuple<at::Tensor, at::Tensor> _scaled_mm(A&&...) {
  throw std::runtime_error("_scaled_mm: not supported with this libtorch");
}
template <class... A>
std::tuple<at::Tensor, at::Tensor> _scaled_mm_out(A&&...) {
  throw std::runtime_error("_scaled_mm_out: not supported with this libtorch");
}
}  // namespace torch
#endif
