#include "gradloops.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include "attend.h"
#include "rows.h"
#include "share.h"

namespace valence::loops {
namespace {

const float *floats(const at::Tensor &x, int64_t at = 0) { return x.defined() ? x.const_data_ptr<float>() + at : nullptr; }
float *floats_of(at::Tensor &x, int64_t at = 0) { return x.defined() ? x.data_ptr<float>() + at : nullptr; }

}  // namespace

at::Tensor scale(const at::Tensor &x, const at::Tensor &l, const Texts &texts) {
  auto out = at::empty_like(x);
  int64_t d = x.size(2);
  auto *y = out.data_ptr<float>();
  each(texts.tokens(), d, [&](int64_t i) { row_product(floats(x, i * d), floats(l, texts.of[i] * d), y + i * d, d); });
  return out;
}

void scale_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &l, const Texts &texts, at::Tensor *dx, at::Tensor *dl) {
  *dx = at::empty_like(x), *dl = at::zeros_like(l);
  int64_t d = g.size(2);
  auto *to_x = dx->data_ptr<float>(), *to_l = dl->data_ptr<float>();
  each(texts.texts(), texts.longest * d, [&](int64_t text) {
    for (int64_t i = texts.start[text]; i < texts.start[text + 1]; i++) {
      row_product_back(floats(g, i * d), floats(x, i * d), floats(l, text * d), to_x + i * d, to_l + text * d, d);
    }
  });
}

at::Tensor gate(const at::Tensor &h, const at::Tensor &u, const at::Tensor &l, int activation, const Texts &texts) {
  auto out = at::empty_like(u);
  int64_t d = u.size(2);
  auto *y = out.data_ptr<float>();
  each(texts.tokens(), 4 * d, [&](int64_t i) {
    row_activate(activation, floats(h, i * d), nullptr, floats(u, i * d), floats(l, texts.of[i] * d), y + i * d, d);
  });
  return out;
}

void gate_back(const at::Tensor &g, const at::Tensor &h, const at::Tensor &u, const at::Tensor &l, int activation, const Texts &texts, at::Tensor *dh,
               at::Tensor *du, at::Tensor *dl) {
  *dh = at::empty_like(h), *du = at::empty_like(u);
  if (l.defined()) *dl = at::zeros_like(l);
  int64_t d = g.size(2);
  auto *to_h = dh->data_ptr<float>(), *to_u = du->data_ptr<float>();
  each(texts.texts(), 4 * texts.longest * d, [&](int64_t text) {
    for (int64_t i = texts.start[text]; i < texts.start[text + 1]; i++) {
      row_activate_back(activation, floats(g, i * d), floats(h, i * d), floats(u, i * d), floats(l, text * d), to_h + i * d, to_u + i * d,
                        floats_of(*dl, text * d), d);
    }
  });
}

at::Tensor drop(const at::Tensor &x, const std::vector<Noise> &noise, const Texts &texts) {
  auto out = at::empty_like(x);
  int64_t d = x.size(2);
  auto *y = out.data_ptr<float>();
  each(texts.tokens(), 2 * d, [&](int64_t i) {
    int64_t text = texts.of[i];
    row_drop(noise[text], uint64_t(i - texts.start[text]) * kPlaces, floats(x, i * d), y + i * d, d);
  });
  return out;
}

namespace {

// Places are where heads of sequences, and of the texts that they look at, are.
struct Places {
  const Looks &looks;
  int64_t inner, width;
  Places(const Looks &looks, const at::Tensor &q) : looks(looks), inner(q.size(-1)), width(inner / looks.heads) {}

  int64_t query(int64_t i, int64_t h) const { return looks.queries.start[i] * inner + h * width; }
  int64_t key(int64_t text, int64_t h) const { return looks.keys.start[text] * inner + h * width; }
  // head is one head of one sequence's attention.
  Head head(int64_t i, int64_t h, const at::Tensor &q) const {
    const auto &by = looks.distances;
    // One query further, a key at the same place is one step nearer.
    const float *bias = by.defined() ? floats(by, h * by.size(1) + by.size(1) / 2) : nullptr;
    int64_t text = looks.of[i];
    return {looks.queries.start[i + 1] - looks.queries.start[i], looks.keys.start[text + 1] - looks.keys.start[text], width, floats(q, query(i, h)), inner,
            bias, -1, nullptr, inner, looks.noise.empty() ? nullptr : &looks.noise[i], uint64_t(h)};
  }
  int64_t work() const { return looks.queries.longest * looks.keys.longest * width / 2; }
};

}  // namespace

at::Tensor attend(const Looks &looks, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v) {
  auto out = at::empty_like(q);
  Places at(looks, q);
  auto *y = out.data_ptr<float>();
  each_with(attend_scratch(looks.keys.longest, at.width), looks.queries.texts() * looks.heads, at.work(), [&](int64_t task, float *room) {
    int64_t i = task / looks.heads, h = task % looks.heads, first = at.key(looks.of[i], h);
    auto one = at.head(i, h, q);
    one.out = y + at.query(i, h);
    valence::attend(one, floats(k, first), floats(v, first), at.inner, room);
  });
  return out;
}

void attend_back(const Looks &looks, const at::Tensor &g, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, at::Tensor *dq, at::Tensor *dk,
                 at::Tensor *dv) {
  *dq = at::empty_like(q), *dk = at::zeros_like(k), *dv = at::zeros_like(v);
  Places at(looks, q);
  auto *to_q = dq->data_ptr<float>(), *to_k = dk->data_ptr<float>(), *to_v = dv->data_ptr<float>();
  // A task is a text and a head: sequences that look at the same text add up there, in their order.
  each_with(attend_back_scratch(looks.keys.longest, at.width), looks.keys.texts() * looks.heads, 3 * at.work(), [&](int64_t task, float *room) {
    int64_t text = task / looks.heads, h = task % looks.heads, first = at.key(text, h);
    for (int64_t i = 0; i < looks.queries.texts(); i++) {
      if (looks.of[i] != text) continue;
      int64_t query = at.query(i, h);
      valence::attend_back({at.head(i, h, q), floats(k, first), floats(v, first), at.inner, floats(g, query), at.inner, to_q + query, at.inner, to_k + first,
                            to_v + first, at.inner},
                           room);
    }
  });
}

}  // namespace valence::loops
