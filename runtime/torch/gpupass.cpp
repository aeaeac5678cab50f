#include "gpupass.h"

#include <algorithm>

#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>

namespace valence::gpu {
namespace {

void multiply(at::Tensor to, const at::Tensor &a, const at::Tensor &b) { at::mm_out(to, a, b); }
void multiply_each(at::Tensor to, const at::Tensor &a, const at::Tensor &b) { at::bmm_out(to, a, b); }

constexpr int64_t kAligned = 256;

}  // namespace

at::Tensor Room::take(at::IntArrayRef sizes, at::ScalarType type) {
  int64_t bytes = blocks(c10::multiply_integers(sizes) * int64_t(c10::elementSize(type)), kAligned) * kAligned, from = at;
  at += bytes;
  most = std::max(most, at);
  if (!memory.defined()) return at::empty(sizes, options.dtype(type));
  TORCH_CHECK(at <= memory.numel(), "gpu: a pass needs ", at, " bytes of ", memory.numel());
  return at::for_blob(static_cast<char *>(data(memory)) + from, sizes).options(options.dtype(type)).target_device(memory.device()).make_tensor();
}

Vectors Pass::vectors(int64_t column) const {
  if (!in.adapters || column < 0) return {};
  return {w.table + column, w.table_step};
}

at::Tensor Pass::norm(const at::Tensor &weight) {
  int64_t rows = x.size(0);
  auto y = room.take({rows, w.d});
  kernels.run(Kernel::kNorm, {blocks(rows, 4)}, 128, data(x), data(weight), data(y), int(rows), int(w.d), w.eps);
  return y;
}

// scale writes from [n, size] times vectors over to, which may be the same: row i has the slot of row i / each of the stream.
void Pass::scale(const at::Tensor &from, const at::Tensor &to, const Vectors &l, int64_t each) const {
  int64_t size = from.size(1);
  kernels.run(Kernel::kScale, {from.size(0)}, threads(size), data(from), from.stride(0), data(to), to.stride(0), l, slots, int(each), int(size));
}

// project writes the projection of h, scaled by vectors, over to [rows, out], which may be a part of wider rows.
void Pass::project(const at::Tensor &h, const at::Tensor &weight, const Vectors &by, const at::Tensor &to) {
  auto from = h;
  if (by) scale(h, from = room.take(h.sizes()), by, 1);
  multiply(to, from, weight.t());
}

// joined projects h by matrices of one size that lie one after the other.
void Pass::joined(const at::Tensor &h, const at::Tensor &weight, std::initializer_list<Scales> by, const at::Tensor &to) {
  if (std::none_of(by.begin(), by.end(), [&](const Scales &l) { return bool(vectors(l.in)); })) {
    multiply(to, h, weight.t());
    return;
  }
  int64_t size = weight.size(0) / int64_t(by.size()), at = 0;
  for (const auto &l : by) {
    project(h, weight.narrow(0, at, size), vectors(l.in), to.narrow(1, at, size));
    at += size;
  }
}

at::Tensor Pass::projected(const at::Tensor &h, const at::Tensor &weight, const Scales &by) {
  auto y = room.take({h.size(0), weight.size(0)});
  project(h, weight, vectors(by.in), y);
  if (auto l = vectors(by.out)) scale(y, l);
  return y;
}

// add adds the projection of h, which it may change, to the stream.
void Pass::add(const at::Tensor &h, const at::Tensor &weight, const Scales &by) {
  if (auto l = vectors(by.in)) scale(h, l);
  auto out = vectors(by.out);
  if (!out) {
    x.addmm_(h, weight.t());
    return;
  }
  auto y = room.take(x.sizes());
  multiply(y, h, weight.t());
  scale(y, out);
  x.add_(y);
}

void Pass::feed_forward(const FeedForward &ff) {
  int64_t rows = x.size(0), parts = w.gated ? 2 : 1;
  auto h = norm(ff.norm), inner = room.take({rows, parts * w.ff}), y = room.take({rows, w.ff});
  if (w.gated) {
    joined(h, ff.wi, {ff.by_wi0, ff.by_wi1}, inner);
  } else {
    joined(h, ff.wi, {ff.by_wi0}, inner);
  }
  auto l0 = vectors(ff.by_wi0.out), l1 = vectors(ff.by_wi1.out), last = vectors(ff.by_wo.in);
  if (l0) scale(inner.narrow(1, 0, w.ff), l0);
  // A vector of wi1's output may as well scale what wo is given, where nothing else does.
  if (l1 && last) scale(inner.narrow(1, w.ff, w.ff), l1);
  auto *gates = static_cast<char *>(data(inner)), *ups = w.gated ? gates + w.ff * inner.element_size() : nullptr;
  kernels.run(Kernel::kGate, {rows}, threads(w.ff), gates, ups, parts * w.ff, w.activation, last ? last : l1, slots, data(y), int(w.ff));
  add(y, ff.wo, {-1, ff.by_wo.out});
}

void Pass::attention(const SelfAttention &self) {
  int64_t rows = x.size(0), inner = w.inner();
  auto all = room.take({rows, 3 * inner}), mixed = room.take({rows, inner});
  joined(norm(self.norm), self.qkv, {self.by_q, self.by_k, self.by_v}, all);
  auto part = [&](int64_t i) { return static_cast<char *>(data(all)) + i * inner * all.element_size(); };
  Attention a{part(0), part(1), part(2), 3 * inner, 3 * inner, {vectors(self.by_q.out), vectors(self.by_k.out), vectors(self.by_v.out)}};
  a.slots = in.text_slots, a.start = a.keys = in.start;
  a.distances = w.distances.const_data_ptr<float>(), a.reach = int(w.reach()), a.sequences = int(in.texts);
  a.y = data(mixed), a.inner = inner;
  kernels.attend(Kernel::kAttend, in.longest, w.heads, in.texts, a);
  add(mixed, self.o, self.by_o);
}

at::Tensor Pass::states() {
  x = room.take({in.tokens, w.d});
  slots = in.slots;
  kernels.run(Kernel::kEmbed, {in.tokens}, threads(w.d), data(w.embeddings), in.ids, 0, data(x), int(w.d));
  for (const auto &layer : w.encoder) {
    auto mark = room.mark();
    attention(layer.self);
    room.rewind(mark);
    feed_forward(layer.ff);
    room.rewind(mark);
  }
  return norm(w.encoder_norm);
}

// only is the self-attention of an only token, whose value is all that it gets.
void Pass::only(const SelfAttention &self) {
  add(projected(norm(self.norm), self.qkv.narrow(0, 2 * w.inner(), w.inner()), self.by_v), self.o, self.by_o);
}

// by_head is t [texts, heads * n] as [heads, texts, n].
at::Tensor Pass::by_head(const at::Tensor &t) const { return t.view({in.texts, w.heads, -1}).transpose(0, 1); }

// cross looks at the states themselves: the query goes through the keys' matrix, and the weighted sum of states through the values'.
void Pass::cross(const CrossAttention &cross, const at::Tensor &states) {
  struct {
    void *u, *x;
    const int *start;
    int heads, d;
    void *scores;
    int longest;
    void *y;
  } look;
  int64_t n = in.texts, d = w.d, tiles = blocks(w.heads, 16);
  auto q = projected(norm(cross.norm), cross.q, cross.by_q);
  auto k = cross.kv.narrow(0, 0, w.inner()).view({w.heads, w.width, d}), v = cross.kv.narrow(0, w.inner(), w.inner()).view({w.heads, w.width, d});
  if (auto l = vectors(cross.by_k.out)) scale(q, l);
  auto u = room.take({n, w.heads, d}), sum = room.take({n, w.heads, d}), scores = room.take({n, w.heads, in.longest}, at::kFloat);
  auto rows = [&](const at::Tensor &t) { return t.view({n * w.heads, d}); };
  multiply_each(by_head(u), by_head(q), k);
  if (auto l = vectors(cross.by_k.in)) scale(rows(u), l, w.heads);
  look = {data(u), data(states), in.start, int(w.heads), int(d), data(scores), int(in.longest), data(sum)};
  kernels.run(Kernel::kScores, {blocks(in.longest, 32), n, tiles}, 128, look);
  kernels.run(Kernel::kSum, {blocks(d, 64), n, tiles}, 128, look);
  if (auto l = vectors(cross.by_v.in)) scale(rows(sum), l, w.heads);
  auto mixed = room.take({n, w.inner()});
  multiply_each(by_head(mixed), by_head(sum), v.transpose(1, 2));
  if (auto l = vectors(cross.by_v.out)) scale(mixed, l);
  add(mixed, cross.o, cross.by_o);
}

at::Tensor Pass::first(const at::Tensor &states) {
  x = room.take({in.texts, w.d});
  slots = in.text_slots;
  kernels.run(Kernel::kEmbed, {in.texts}, threads(w.d), data(w.embeddings), static_cast<const int *>(nullptr), w.start, data(x), int(w.d));
  for (const auto &layer : w.decoder) {
    auto mark = room.mark();
    only(layer.self);
    room.rewind(mark);
    cross(layer.cross, states);
    room.rewind(mark);
    feed_forward(layer.ff);
    room.rewind(mark);
  }
  return norm(w.decoder_norm);
}

void logits(const Weights &w, const at::Tensor &x, const int *next, const at::Tensor &to) {
  int64_t rows = to.size(0), n = to.size(1);
  Kernels::of(w.device, w.width).run(Kernel::kLogits, {blocks(rows * n, 4)}, 128, data(x), data(w.head), next, int(rows), int(n), int(w.d), w.head_scale, data(to));
}

}  // namespace valence::gpu
