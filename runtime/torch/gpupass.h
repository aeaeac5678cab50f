// A forward on a GPU, queued piece by piece.
#ifndef VALENCE_TORCH_GPUPASS_H
#define VALENCE_TORCH_GPUPASS_H

#include <initializer_list>
#include <vector>

#include <ATen/core/Tensor.h>

#include "gpu.h"
#include "gpukernels.h"

namespace valence::gpu {

// Scales are the columns of the adapters' table for one projection's input and output, or -1.
struct Scales {
  int64_t in = -1, out = -1;
};

struct FeedForward {
  at::Tensor norm, wi, wo;
  Scales by_wi0, by_wi1, by_wo;
};

struct SelfAttention {
  at::Tensor norm, qkv, o;
  Scales by_q, by_k, by_v, by_o;
};

struct CrossAttention {
  at::Tensor norm, q, kv, o;
  Scales by_q, by_k, by_v, by_o;
};

struct EncoderLayer {
  SelfAttention self;
  FeedForward ff;
};

struct DecoderLayer {
  SelfAttention self;
  CrossAttention cross;
  FeedForward ff;
};

struct Weights {
  int device = 0;
  int64_t heads = 0, width = 0, d = 0, ff = 0;  // width of a head; d and ff: of states and within the feed-forward
  bool gated = false;
  int activation = 0;
  int start = 0;
  float eps = 0, head_scale = 1;
  at::Tensor embeddings, head, encoder_norm, decoder_norm;
  std::vector<EncoderLayer> encoder;
  std::vector<DecoderLayer> decoder;
  const float *table = nullptr;  // [slots, table_step], or none while all rows are the base's
  int64_t table_step = 0;
  at::Tensor distances;  // [heads, 2 reach + 1] float32
  explicit Weights(const vl_gpu_weights &w);
  // place tells the projections where their vectors are, in the order that vl_gpu_adapters has.
  void place(const int64_t *columns, int projections);
  int64_t inner() const { return heads * width; }
  int64_t reach() const { return distances.size(1) / 2; }
};

// Inputs are a batch: numbers on the device, and sizes, which may be greater than what there is, as long as what is too much has
// no tokens.
struct Inputs {
  int64_t tokens = 0, texts = 0, longest = 0;
  bool adapters = false;      // whether any row has one
  const int *ids = nullptr;    // [tokens]
  const int *slots = nullptr;  // [tokens]: of each token's text
  const int *start = nullptr;  // [texts + 1]
  const int *text_slots = nullptr;  // [texts]
};

// Room is memory for what a pass makes on its way: libtorch's, or one piece that was found to be enough. What is used between two
// marks is used again after the second.
class Room {
 public:
  explicit Room(const at::TensorOptions &options) : options(options) {}
  // Room is within memory, uint8 [size].
  Room(const at::TensorOptions &options, at::Tensor memory) : options(options), memory(std::move(memory)) {}
  at::Tensor take(at::IntArrayRef sizes, at::ScalarType type = at::kBFloat16);
  int64_t mark() const { return at; }
  void rewind(int64_t mark) { at = mark; }
  int64_t peak() const { return most; }

 private:
  at::TensorOptions options;
  at::Tensor memory;
  int64_t at = 0, most = 0;
};

class Pass {
 public:
  Pass(const Weights &w, const Inputs &in, Room &room) : w(w), in(in), room(room), kernels(Kernels::of(w.device, w.width)) {}
  // states are the encoder's after its last norm [tokens, d].
  at::Tensor states();
  // first are the decoder's after the start token and its last norm [texts, d].
  at::Tensor first(const at::Tensor &states);

 private:
  const Weights &w;
  const Inputs &in;
  Room &room;
  const Kernels &kernels;
  at::Tensor x;                // the stream: the tokens, and then a start token for each text
  const int *slots = nullptr;  // of its rows

  Vectors vectors(int64_t column) const;
  at::Tensor norm(const at::Tensor &weight);
  void scale(const at::Tensor &from, const at::Tensor &to, const Vectors &l, int64_t each) const;
  void scale(const at::Tensor &t, const Vectors &l, int64_t each = 1) const { scale(t, t, l, each); }
  void project(const at::Tensor &h, const at::Tensor &weight, const Vectors &by, const at::Tensor &to);
  void joined(const at::Tensor &h, const at::Tensor &weight, std::initializer_list<Scales> by, const at::Tensor &to);
  at::Tensor projected(const at::Tensor &h, const at::Tensor &weight, const Scales &by);
  void add(const at::Tensor &h, const at::Tensor &weight, const Scales &by);
  void feed_forward(const FeedForward &ff);
  void attention(const SelfAttention &self);
  void only(const SelfAttention &self);
  void cross(const CrossAttention &cross, const at::Tensor &states);
  at::Tensor by_head(const at::Tensor &t) const;
};

// logits are those of tokens next [n] on the device for the decoder's states x [texts, d]: [texts, n] float32, into to.
void logits(const Weights &w, const at::Tensor &x, const int *next, const at::Tensor &to);

}  // namespace valence::gpu

#endif
