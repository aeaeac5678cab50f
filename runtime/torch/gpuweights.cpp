#include <c10/util/Exception.h>

#include "gpupass.h"
#include "guard.h"

namespace valence::gpu {
namespace {

const at::Tensor &matrix(vl_tensor tensor, at::IntArrayRef sizes, const char *what) {
  TORCH_CHECK(tensor, "gpu: ", what, " is missing");
  const auto &t = ref(tensor);
  TORCH_CHECK(has(t) && t.is_contiguous() && t.sizes() == sizes, "gpu: ", what, " is ", t.scalar_type(), " ",
              t.sizes(), " on ", t.device(), ", not bfloat16 ", sizes, " on a GPU");
  return t;
}

}  // namespace

Weights::Weights(const vl_gpu_weights &from)
    : device(index_of(ref(from.embeddings))),
      heads(from.heads),
      gated(from.gated),
      activation(from.activation),
      start(from.start),
      eps(float(from.eps)),
      head_scale(float(from.head_scale)) {
  TORCH_CHECK(from.encoder_layers > 0 && from.decoder_layers > 0, "gpu: a stack has no layers");
  int64_t vocabulary = ref(from.embeddings).size(0), parts = gated ? 2 : 1;
  d = ref(from.embeddings).size(1);
  width = ref(from.encoder[1]).size(0) / 3 / heads;
  ff = ref(from.encoder[4]).size(0) / parts;
  TORCH_CHECK(sizes_fit(d, width, ff), "gpu: states of ", d, ", feed-forwards of ", ff, " and heads of ", width);
  embeddings = matrix(from.embeddings, {vocabulary, d}, "embeddings");
  head = matrix(from.head, {vocabulary, d}, "head");
  encoder_norm = matrix(from.encoder_norm, {d}, "norm");
  decoder_norm = matrix(from.decoder_norm, {d}, "norm");
  auto self = [&](const vl_tensor *t) {
    return SelfAttention{matrix(t[0], {d}, "norm"), matrix(t[1], {3 * inner(), d}, "qkv"), matrix(t[2], {d, inner()}, "o"), {}, {}, {}, {}};
  };
  auto feed_forward = [&](const vl_tensor *t) {
    return FeedForward{matrix(t[0], {d}, "norm"), matrix(t[1], {parts * ff, d}, "wi"), matrix(t[2], {d, ff}, "wo"), {}, {}, {}};
  };
  for (int i = 0; i < from.encoder_layers; i++) {
    const auto *t = from.encoder + i * vl_encoder_parts;
    encoder.push_back({self(t), feed_forward(t + 3)});
  }
  for (int i = 0; i < from.decoder_layers; i++) {
    const auto *t = from.decoder + i * vl_decoder_parts;
    CrossAttention cross{matrix(t[3], {d}, "norm"), matrix(t[4], {inner(), d}, "q"), matrix(t[5], {2 * inner(), d}, "kv"), matrix(t[6], {d, inner()}, "o"), {}, {}, {}, {}};
    decoder.push_back({self(t), cross, feed_forward(t + 7)});
  }
}

void Weights::place(const int64_t *columns, int projections) {
  const auto *end = columns + 2 * projections;
  auto next = [&](Scales &to) {
    TORCH_CHECK(columns < end, "gpu: columns for ", projections, " projections are too few");
    to = {columns[0], columns[1]};
    TORCH_CHECK((to.in < 0 || to.in % 4 == 0) && (to.out < 0 || to.out % 4 == 0), "gpu: columns ", to.in, " and ", to.out, " are not aligned");
    columns += 2;
  };
  auto attention = [&](auto &a) {
    for (auto *s : {&a.by_q, &a.by_k, &a.by_v, &a.by_o}) next(*s);
  };
  auto feed_forward = [&](FeedForward &ff) {
    next(ff.by_wi0);
    if (gated) next(ff.by_wi1);
    next(ff.by_wo);
  };
  for (auto &l : encoder) {
    attention(l.self);
    feed_forward(l.ff);
  }
  for (auto &l : decoder) {
    attention(l.self);
    attention(l.cross);
    feed_forward(l.ff);
  }
  TORCH_CHECK(columns == end, "gpu: columns for ", projections, " projections are too many");
}

}  // namespace valence::gpu
