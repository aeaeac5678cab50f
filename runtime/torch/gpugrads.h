// What training does between products, there and back, in bfloat16 on a GPU, by the kernels of kernels.cu and learn.cu. Tensors are
// contiguous, and errors thrown.
#ifndef VALENCE_TORCH_GPUGRADS_H
#define VALENCE_TORCH_GPUGRADS_H

#include <ATen/core/Tensor.h>

#include "texts.h"

namespace valence::gpu {

// norms tells whether norm can have x.
bool norms(const at::Tensor &x, const at::Tensor &w);
at::Tensor norm(const at::Tensor &x, const at::Tensor &w, double eps);
at::Tensor norm_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &w, double eps);

// places is where texts lie on x's device: int32 [texts + 1 + tokens], the first token of each and the end, then the text of each token.
at::Tensor places(const Texts &texts, c10::Device device);

// scales tells whether scale and gate can have tokens x of texts that lie end to end, each with its row of l [texts or 1, 1, d] float32, whose
// rows may be apart; l may be none for gate.
bool scales(const at::Tensor &x, const at::Tensor &l);
at::Tensor scale(const at::Tensor &x, const at::Tensor &l, const at::Tensor &places, int64_t texts);
// scale_back writes dx, like x, and dl, of l's sizes.
void scale_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &l, const at::Tensor &places, int64_t texts, at::Tensor *dx, at::Tensor *dl);
at::Tensor gate(const at::Tensor &h, const at::Tensor &u, const at::Tensor &l, int activation, const at::Tensor &places, int64_t texts);
void gate_back(const at::Tensor &g, const at::Tensor &h, const at::Tensor &u, const at::Tensor &l, int activation, const at::Tensor &places, int64_t texts,
               at::Tensor *dh, at::Tensor *du, at::Tensor *dl);

// Looks are what sequences look at.
struct Looks {
  int64_t heads, sequences, texts, longest_sequence, longest_text;
  at::Tensor queries, keys;  // places
  at::Tensor of;             // [sequences] int32 on the device, or none
  at::Tensor distances;      // [heads, 2 reach + 1] float32, or none
};

// attend gives y, and in log [heads, tokens] float32 what attend_back needs of it.
at::Tensor attend(const Looks &looks, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, at::Tensor *log);
void attend_back(const Looks &looks, const at::Tensor &g, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &y,
                 const at::Tensor &log, at::Tensor *dq, at::Tensor *dk, at::Tensor *dv);

}  // namespace valence::gpu

#endif
