// What training does between products, there and back, in float32 on a CPU, by loops of our own. Tensors are contiguous: tokens [.., d] of
// texts end to end, and vectors l [texts, 1, d].
#ifndef VALENCE_TORCH_GRADLOOPS_H
#define VALENCE_TORCH_GRADLOOPS_H

#include <ATen/core/Tensor.h>

#include "noise.h"
#include "texts.h"

namespace valence::loops {

at::Tensor scale(const at::Tensor &x, const at::Tensor &l, const Texts &texts);
void scale_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &l, const Texts &texts, at::Tensor *dx, at::Tensor *dl);
// l may be none.
at::Tensor gate(const at::Tensor &h, const at::Tensor &u, const at::Tensor &l, int activation, const Texts &texts);
void gate_back(const at::Tensor &g, const at::Tensor &h, const at::Tensor &u, const at::Tensor &l, int activation, const Texts &texts, at::Tensor *dh,
               at::Tensor *du, at::Tensor *dl);

// drop is x with elements dropped, by the noise of each text.
at::Tensor drop(const at::Tensor &x, const std::vector<Noise> &noise, const Texts &texts);

// Looks are sequences, and the texts that they look at.
struct Looks {
  Texts queries, keys;
  std::vector<int64_t> of;  // text of each sequence
  int64_t heads;
  at::Tensor distances;      // [heads, 2 reach + 1], or none
  std::vector<Noise> noise;  // of each sequence's weights, or none
};

at::Tensor attend(const Looks &looks, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v);
void attend_back(const Looks &looks, const at::Tensor &g, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, at::Tensor *dq, at::Tensor *dk,
                 at::Tensor *dv);

}  // namespace valence::loops

#endif
