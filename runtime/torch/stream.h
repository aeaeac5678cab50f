// The residual stream of a stack's layer on the CPU, and what layers of the encoder and of the decoder do to it alike.
#ifndef VALENCE_TORCH_STREAM_H
#define VALENCE_TORCH_STREAM_H

#include <initializer_list>
#include <optional>

#include <ATen/ops/empty.h>

#include "encoder.h"
#include "guard.h"
#include "product.h"
#include "rows.h"
#include "texts.h"

namespace valence {

// Vectors are one for each text, or one for all, or none.
struct Vectors {
  const float *first = nullptr;
  int64_t stride = 0;
  Vectors(void *tensor, int64_t texts, int64_t size) {
    if (!tensor) return;
    const auto &t = ref(tensor);
    TORCH_CHECK(floats_on_cpu(t) && t.dim() == 3 && (t.size(0) == texts || t.size(0) == 1) && t.size(1) == 1 &&
                    t.size(2) == size && (t.stride(2) == 1 || size == 1),
                "vectors ", t.sizes(), " for ", texts, " texts of ", size);
    first = t.const_data_ptr<float>();
    stride = t.size(0) == 1 ? 0 : t.stride(0);
  }
  const float *of(int64_t text) const { return first ? first + text * stride : nullptr; }
};

inline const Panels &panels(void *packed) {
  auto *w = dynamic_cast<const Panels *>(static_cast<Packed *>(packed));
  TORCH_CHECK(w, "a weight is not in panels");
  return *w;
}

struct Projection {
  const Panels &w;
  Vectors in, out;
  Projection(const vl_projection &p, int64_t texts) : w(panels(p.w)), in(p.in, texts, w.in), out(p.out, texts, w.out) {}
};

// Product is one projection of prepared rows.
struct Product {
  const Panels &w;
  const Rows &a;
};

// products multiplies n prepared rows by each of some weights of as many inputs, and gives what comes out a row and a panel at a
// time: use(weight, row, column, numbers, how many), which goes to at(weight, row, column).
template <class F, class At>
void products(std::initializer_list<Product> all, int64_t n, At at, F use) {
  int64_t blocks = in_blocks(n), panels = 0, in = 1;
  for (auto &p : all) panels += p.w.panels, in = p.w.in;
  each(panels * blocks, in * kPanel, [&](int64_t task) {
    float c[kBlock * kPanel];
    int64_t panel = task / blocks, first = task % blocks * kBlock, some = std::min(kBlock, n - first), which = 0;
    auto p = all.begin();
    for (; panel >= p->w.panels; p++, which++) panel -= p->w.panels;
    for (int64_t i = 0; i < some; i++) fetch(at(which, first + i, panel * kPanel));
    p->w.block(p->a.at(first), p->a.step(first), some, panel, c);
    for (int64_t i = 0; i < some; i++) use(which, first + i, panel * kPanel, c + i * kPanel, p->w.width(panel));
  });
}

// Stream is x [n, d], whose rows are tokens of texts that lie end to end.
class Stream {
 public:
  static constexpr int64_t kMost = 16384;  // numbers of a token

  Stream(at::Tensor &x, const Texts &texts, int activation, double eps)
      : texts(texts), n(texts.tokens()), d(x.size(1)), x(x.data_ptr<float>()), activation(activation), eps(eps) {}

  // check tells whether a tensor can be the stream of some texts.
  static void check(const at::Tensor &x, const Texts &texts, const char *what) {
    TORCH_CHECK(floats_on_cpu(x) && x.dim() == 2 && x.is_contiguous() && x.size(0) == texts.tokens() &&
                    x.size(1) <= kMost,
                what, ": tokens ", x.sizes(), " for texts of ", texts.tokens(), " in all");
  }

 protected:
  const Texts &texts;
  int64_t n, d;
  float *x;

  const float *norm(void *weights) const {
    const auto &t = ref(weights);
    TORCH_CHECK(floats_on_cpu(t) && t.is_contiguous() && t.numel() == d, "norm of ", t.sizes(), " for tokens of ", d);
    return t.const_data_ptr<float>();
  }

  // normed is the norm of rows from first to last, prepared for a projection.
  Rows normed(const Projection &p, const float *norm, int64_t from, int64_t to) const {
    Rows a(p.w, to - from);
    each(to - from, 4 * d, [&](int64_t i) {
      float y[kMost];
      row_norm(x + (from + i) * d, norm, y, d, eps);
      a.set(p.w, i, y, p.in.of(texts.of[from + i]));
    });
    return a;
  }

  // add adds the projection of z [to - from, p's inputs] to rows from first to last.
  void add(const Projection &p, const float *z, int64_t from, int64_t to) const {
    Rows a(p.w, to - from);
    each(to - from, p.w.in, [&](int64_t i) { a.set(p.w, i, z + i * p.w.in, p.in.of(texts.of[from + i])); });
    auto at = [&](int64_t, int64_t i, int64_t column) { return x + (from + i) * d + column; };
    products({{p.w, a}}, to - from, at, [&](int64_t, int64_t i, int64_t column, const float *c, int64_t some) {
      const auto *l = p.out.of(texts.of[from + i]);
      row_add(c, l ? l + column : nullptr, at(0, i, column), some);
    });
  }

  // FeedForward is activation(wi0 x) wi1 x, or without wi1, and then wo.
  struct FeedForward {
    const float *norm;
    Projection wi0, wo;
    std::optional<Projection> wi1;
    FeedForward(const Stream &s, void *norm, const vl_projection &wi0, const vl_projection &wi1, const vl_projection &wo)
        : norm(s.norm(norm)), wi0(wi0, s.texts.texts()), wo(wo, s.texts.texts()) {
      if (wi1.w) this->wi1.emplace(wi1, s.texts.texts());
      const auto &gate = this->wi1;
      TORCH_CHECK(this->wi0.w.in == s.d && this->wo.w.out == s.d && this->wo.w.in == this->wi0.w.out &&
                      (!gate || (gate->w.in == s.d && gate->w.out == this->wi0.w.out && &gate->w.kernel == &this->wi0.w.kernel)),
                  "the projections of the feed-forward do not fit");
    }
  };

  // feed_forward works out some rows at a time: their inner numbers are many.
  void feed_forward(const FeedForward &ff) const {
    constexpr int64_t kTogether = 8 * kBlock;
    for (int64_t from = 0; from < n; from += kTogether) feed_forward(ff, from, std::min(n, from + kTogether));
  }

 private:
  int activation;
  double eps;

  void feed_forward(const FeedForward &ff, int64_t from, int64_t to) const {
    int64_t some = to - from, inner = ff.wi0.w.out;
    auto hidden = at::empty({some, inner}, at::kFloat);
    auto *h = hidden.data_ptr<float>();
    auto a = normed(ff.wi0, ff.norm, from, to);
    if (ff.wi1) {
      gated(ff, a, ff.wi0.in.first || ff.wi1->in.first ? normed(*ff.wi1, ff.norm, from, to) : a, from, some, h);
    } else {
      auto at = [&](int64_t, int64_t i, int64_t column) { return h + i * inner + column; };
      products({{ff.wi0.w, a}}, some, at, [&](int64_t, int64_t i, int64_t column, const float *c, int64_t size) {
        const auto *l = ff.wi0.out.of(texts.of[from + i]);
        row_activate(activation, c, l ? l + column : nullptr, nullptr, nullptr, at(0, i, column), size);
      });
    }
    add(ff.wo, h, from, to);
  }

  // gated is the activated gate times the other half, a panel of both at a time.
  void gated(const FeedForward &ff, const Rows &a, const Rows &b, int64_t from, int64_t n, float *h) const {
    int64_t blocks = in_blocks(n), inner = ff.wi0.w.out;
    each(ff.wi0.w.panels * blocks, 2 * d * kPanel, [&](int64_t task) {
      float c[kBlock * kPanel], u[kBlock * kPanel];
      int64_t panel = task / blocks, first = task % blocks * kBlock, some = std::min(kBlock, n - first), column = panel * kPanel;
      for (int64_t i = 0; i < some; i++) fetch(h + (first + i) * inner + column);
      ff.wi0.w.block(a.at(first), a.step(first), some, panel, c);
      ff.wi1->w.block(b.at(first), b.step(first), some, panel, u);
      for (int64_t i = 0; i < some; i++) {
        int64_t text = texts.of[from + first + i];
        const auto *l0 = ff.wi0.out.of(text), *l1 = ff.wi1->out.of(text);
        row_activate(activation, c + i * kPanel, l0 ? l0 + column : nullptr, u + i * kPanel, l1 ? l1 + column : nullptr,
                     h + (first + i) * inner + column, ff.wi0.w.width(panel));
      }
    });
  }
};

}  // namespace valence

#endif
