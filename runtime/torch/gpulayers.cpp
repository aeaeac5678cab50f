#include "gpulayers.h"

#include <algorithm>
#include <initializer_list>

#include <ATen/ops/add.h>
#include <ATen/ops/addmm.h>

#include "gpunorm.h"

namespace valence::gpu {
namespace {

template <class T>
T taken(std::vector<T> &all) {
  auto last = std::move(all.back());
  all.pop_back();
  return last;
}

// A vector of wi1's output scales what the gate gives, or, where there is none, that of wo's input.
bool ups(const FeedForward &ff) { return ff.by_wi1.out >= 0; }
int64_t gated_by(const FeedForward &ff) { return ups(ff) ? ff.by_wi1.out : ff.by_wo.in; }

}  // namespace

void Layers::begin() {
  end();
  at = 0;
}

void Layers::end() {
  for (auto *t : {&x, &states, &encoder_end, &g, &states_slope, &taught}) *t = at::Tensor();
  attended.clear();
  fed.clear();
}

int64_t Layers::there() {
  TORCH_CHECK(at < layers(), "lesson: there are no more layers");
  if (at == 0) {
    x = embedded(in.texts);
    drop(in.texts, in.noise_at(0, 1), x);
  }
  if (at < encoders()) {
    const auto &layer = w.encoder[at];
    self(in.texts, in.encoder_distances, layer.self);
    feed_forward(in.texts, layer.ff);
    if (at == encoders() - 1) {
      encoder_end = x;
      states = norm(x, w.encoder_norm);
      drop(in.texts, in.noise_at(encoders() + 1, 1), states);
      x = embedded(in.sequences);
      drop(in.sequences, in.noise_at(encoders() + 2, 1), x);
    }
  } else {
    const auto &layer = w.decoder[at - encoders()];
    self(in.sequences, in.decoder_distances, layer.self);
    cross(layer.cross);
    feed_forward(in.sequences, layer.ff);
  }
  return layers() - ++at;
}

const at::Tensor &Layers::stream() const {
  TORCH_CHECK(at == layers(), "lesson: layers are left");
  return x;
}

void Layers::along(const at::Tensor &slope, const at::Tensor &to) {
  TORCH_CHECK(in.learns && at == layers(), "lesson: there is no way back");
  taught = to;
  g = slope;
}

int64_t Layers::back() {
  TORCH_CHECK(taught.defined() && at > lowest(), "lesson: there is nothing to go back through");
  at--;
  if (at >= encoders()) {
    const auto &layer = w.decoder[at - encoders()];
    feed_forward_back(in.sequences, layer.ff);
    cross_back(layer.cross);
    self_back(in.sequences, in.decoder_distances, layer.self);
    if (at == encoders() && lowest() < at) {
      drop(in.texts, in.noise_at(encoders() + 1, 1), states_slope);
      g = norm_back(states_slope, encoder_end, w.encoder_norm, {});
    }
  } else {
    const auto &layer = w.encoder[at];
    feed_forward_back(in.texts, layer.ff);
    self_back(in.texts, in.encoder_distances, layer.self);
  }
  return at - lowest();
}

// lowest is the first layer that has vectors, below which nothing goes back.
int64_t Layers::lowest() const {
  auto any = [](std::initializer_list<Scales> all) { return std::any_of(all.begin(), all.end(), [](const Scales &s) { return s.in >= 0 || s.out >= 0; }); };
  auto attends = [&](const auto &a) { return any({a.by_q, a.by_k, a.by_v, a.by_o}); };
  auto feeds = [&](const FeedForward &ff) { return any({ff.by_wi0, ff.by_wi1, ff.by_wo}); };
  int64_t n = 0;
  for (const auto &l : w.encoder) {
    if (attends(l.self) || feeds(l.ff)) return n;
    n++;
  }
  for (const auto &l : w.decoder) {
    if (attends(l.self) || attends(l.cross) || feeds(l.ff)) return n;
    n++;
  }
  return n;
}

at::Tensor Layers::embedded(const Tokens &t) const {
  auto y = room({t.all, w.d});
  kernels.run(Kernel::kEmbed, {t.all}, threads(w.d), data(w.embeddings), t.ids, 0, data(y), int(w.d));
  return y;
}

at::Tensor Layers::norm(const at::Tensor &x, const at::Tensor &weight) const {
  auto y = room(x.sizes());
  gpu::norm(x, weight, w.eps, y);
  return y;
}

at::Tensor Layers::norm_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &weight, const at::Tensor &plus) const {
  auto dx = room(x.sizes());
  gpu::norm_back(g, x, weight, w.eps, plus, dx);
  return dx;
}

void drop(const Kernels &kernels, const Tokens &t, const Noise &noise, const at::Tensor &x, const at::Tensor &plus, const at::Tensor &y) {
  int64_t d = x.size(1);
  kernels.run(Kernel::kDrop, {t.all}, threads(d), data(x), plus.defined() ? data(plus) : nullptr, data(y), noise, t.start, t.rows, int(d));
}

// add adds the projection of h, some of which is dropped, to the stream.
Joined Layers::add(const Tokens &t, const at::Tensor &h, const at::Tensor &weight, const Scales &by, const Noise &noise) {
  auto y = room(x.sizes());
  Joined j{weight, {by}, {}, {}, {}};
  if (by.in < 0 && by.out < 0 && !noise) {
    at::addmm_out(y, x, h, weight.t());
  } else {
    j = joined(t, h, weight, {by});
    const auto &made = by.out < 0 ? j.made : j.scaled;
    if (noise) {
      gpu::drop(kernels, t, noise, made, x, y);
    } else {
      at::add_out(y, x, made);
    }
  }
  x = y;
  return j;
}

// add_back is the gradient of h for that of the stream, which stays.
at::Tensor Layers::add_back(const Tokens &t, const Joined &j, const Noise &noise) const {
  if (j.by[0].out < 0 && !noise) return joined_back(t, j, g);
  auto d = room(g.sizes());
  if (noise) {
    gpu::drop(kernels, t, noise, g, {}, d);
  } else {
    d.copy_(g);
  }
  return joined_back(t, j, d);
}

Attention Layers::attention(const Attended &a, const Tokens &of, const Tokens &to, const at::Tensor &distances) const {
  auto q = a.q.part(0), k = a.keys(), v = a.values();
  Attention p{q.x, k.x, v.x, q.step, k.step, {}};
  p.start = of.start, p.keys = to.start, p.sequences = int(of.texts);
  if (!a.self()) p.of = in.seen;
  if (distances.defined()) p.distances = distances.const_data_ptr<float>(), p.reach = int(distances.size(1) / 2);
  p.y = data(a.mixed), p.inner = w.inner(), p.log = a.log.data_ptr<float>();
  p.noise = noise_at(a.first());
  return p;
}

// attend adds the attention to the stream.
void Layers::attend(Attended a, const Tokens &of, const Tokens &to, const at::Tensor &distances, const at::Tensor &o, const Scales &by_o) {
  a.mixed = room({of.all, w.inner()}), a.log = room({w.heads, of.all}, at::kFloat);
  kernels.attend(Kernel::kAttend, of.longest, w.heads, of.texts, attention(a, of, to, distances));
  a.o = add(of, a.mixed, o, by_o, noise_at(a.first() + 1));
  if (in.learns) attended.push_back(std::move(a));
}

// attend_back writes the gradients of queries, keys and values.
void Layers::attend_back(const Attended &a, const Tokens &of, const Tokens &to, const at::Tensor &distances, const Columns &dq, const Columns &dk, const Columns &dv) const {
  auto slope = add_back(of, a.o, noise_at(a.first() + 1)), along = room(a.log.sizes(), at::kFloat);
  AttentionBack b{attention(a, of, to, distances), data(slope), along.data_ptr<float>(), dq.x, dk.x, dv.x, dq.step, dk.step};
  kernels.attend(Kernel::kAttendQueries, of.longest, w.heads, of.texts, b);
  kernels.attend(Kernel::kAttendKeys, to.longest, w.heads, to.texts, b);
}

void Layers::self(const Tokens &t, const at::Tensor &distances, const SelfAttention &s) {
  Attended a{x};
  a.q = joined(t, norm(x, s.norm), s.qkv, {s.by_q, s.by_k, s.by_v});
  attend(std::move(a), t, t, distances, s.o, s.by_o);
}

void Layers::self_back(const Tokens &t, const at::Tensor &distances, const SelfAttention &s) {
  auto a = taken(attended);
  auto d = room(a.q.made.sizes());
  int64_t inner = w.inner();
  attend_back(a, t, t, distances, part(d, 0, inner), part(d, 1, inner), part(d, 2, inner));
  g = norm_back(joined_back(t, a.q, d), a.x, s.norm, g);
}

void Layers::cross(const CrossAttention &c) {
  Attended a{x};
  a.q = joined(in.sequences, norm(x, c.norm), c.q, {c.by_q});
  a.kv = joined(in.texts, states, c.kv, {c.by_k, c.by_v});
  attend(std::move(a), in.sequences, in.texts, at::Tensor(), c.o, c.by_o);
}

void Layers::cross_back(const CrossAttention &c) {
  auto a = taken(attended);
  auto dq = room(a.q.made.sizes()), d = room(a.kv.made.sizes());
  int64_t inner = w.inner();
  attend_back(a, in.sequences, in.texts, at::Tensor(), part(dq, 0, inner), part(d, 0, inner), part(d, 1, inner));
  states_slope = joined_back(in.texts, a.kv, d, states_slope);
  g = norm_back(joined_back(in.sequences, a.q, dq), a.x, c.norm, g);
}

void Layers::feed_forward(const Tokens &t, const FeedForward &ff) {
  Fed f{x};
  std::vector<Scales> joins{ff.by_wi0};
  if (w.gated) joins.push_back({ff.by_wi1.in, -1});
  f.wi = joined(t, norm(x, ff.norm), ff.wi, joins);
  auto h = f.wi.part(0), u = up(f.wi.made);
  auto y = room({t.all, w.ff});
  kernels.run(Kernel::kGate, {t.all}, threads(w.ff), h.x, u.x, h.step, w.activation, by(gated_by(ff)), t.rows, data(y), int(w.ff));
  drop(t, noise_at(inner_noise()), y);
  f.wo = add(t, y, ff.wo, {ups(ff) ? ff.by_wo.in : -1, ff.by_wo.out}, noise_at(inner_noise() + 1));
  if (in.learns) fed.push_back(std::move(f));
}

void Layers::feed_forward_back(const Tokens &t, const FeedForward &ff) {
  auto f = taken(fed);
  auto along = add_back(t, f.wo, noise_at(inner_noise() + 1)), d = room(f.wi.made.sizes());
  drop(t, noise_at(inner_noise()), along);
  auto h = f.wi.part(0), u = up(f.wi.made), dh = part(d, 0, w.ff), du = up(d);
  kernels.run(Kernel::kGateBack, {blocks(w.ff, kStrip), t.texts}, kStripThreads, data(along), h.x, u.x, h.step, w.activation, by(gated_by(ff)), t.start, dh.x, du.x,
              slopes(gated_by(ff)), taught.stride(0), int(w.ff));
  g = norm_back(joined_back(t, f.wi, d), f.x, ff.norm, g);
}

}  // namespace valence::gpu
