#include "encoder.h"

#include <algorithm>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "attend.h"
#include "guard.h"
#include "product.h"
#include "rows.h"
#include "texts.h"

namespace valence {
namespace {

// Vectors are one for each text, or one for all, or none.
struct Vectors {
  const float *first = nullptr;
  int64_t stride = 0;
  Vectors(void *tensor, int64_t texts, int64_t size) {
    if (!tensor) return;
    const auto &t = ref(tensor);
    TORCH_CHECK(t.is_cpu() && t.scalar_type() == at::kFloat && t.dim() == 3 && (t.size(0) == texts || t.size(0) == 1) && t.size(1) == 1 &&
                    t.size(2) == size && (t.stride(2) == 1 || size == 1),
                "encode: vectors ", t.sizes(), " for ", texts, " texts of ", size);
    first = t.const_data_ptr<float>();
    stride = t.size(0) == 1 ? 0 : t.stride(0);
  }
  const float *of(int64_t text) const { return first ? first + text * stride : nullptr; }
};

struct Projection {
  const Panels &w;
  Vectors in, out;
  Projection(const vl_projection &p, int64_t texts)
      : w(dynamic_cast<const Panels &>(*static_cast<Packed *>(p.w))), in(p.in, texts, w.in), out(p.out, texts, w.out) {}
};

const float *weights(void *norm, int64_t d) {
  const auto &t = ref(norm);
  TORCH_CHECK(t.is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous() && t.numel() == d, "encode: norm of ", t.sizes());
  return t.const_data_ptr<float>();
}

// Product is one projection of prepared rows and what becomes of the results: use(token, column, numbers, how many).
struct Product {
  const Projection &p;
  const Rows &a;
};

// products multiplies rows from first to last by each of the projections, which have as many rows.
template <class F>
void products(std::initializer_list<Product> all, int64_t n, F use) {
  int64_t blocks = (n + kBlock - 1) / kBlock, panels = 0, in = 1;
  for (auto &p : all) panels += p.p.w.panels, in = p.p.w.in;
  each(panels * blocks, in * std::min(n, kBlock), [&](int64_t task) {
    float c[kBlock * kPanel];
    int64_t panel = task / blocks, first = task % blocks * kBlock, some = std::min(kBlock, n - first), which = 0;
    auto p = all.begin();
    for (; panel >= p->p.w.panels; p++, which++) panel -= p->p.w.panels;
    p->p.w.block(p->a.at(first), p->a.step(first), some, panel, c);
    for (int64_t i = 0; i < some; i++) use(which, first + i, panel * kPanel, c + i * kPanel, p->p.w.width(panel));
  });
}

class Layer {
 public:
  Layer(at::Tensor &x, const Texts &texts, const vl_layer &l, const at::Tensor &distances, int activation, double eps)
      : texts(texts),
        n(texts.tokens()),
        d(x.size(1)),
        x(x.data_ptr<float>()),
        distances(distances),
        activation(activation),
        eps(eps),
        self_norm(weights(l.self_norm, d)),
        ff_norm(weights(l.ff_norm, d)),
        q(l.q, texts.texts()),
        k(l.k, texts.texts()),
        v(l.v, texts.texts()),
        o(l.o, texts.texts()),
        wi0(l.wi0, texts.texts()),
        wo(l.wo, texts.texts()) {
    if (l.wi1.w) wi1.emplace(l.wi1, texts.texts());
    TORCH_CHECK(q.w.in == d && k.w.in == d && v.w.in == d && o.w.out == d && wi0.w.in == d && wo.w.out == d && q.w.out == k.w.out &&
                    k.w.out == v.w.out && o.w.in == v.w.out && wo.w.in == wi0.w.out && (!wi1 || (wi1->w.in == d && wi1->w.out == wi0.w.out)),
                "encode: the projections do not fit");
    TORCH_CHECK(&q.w.kernel == &k.w.kernel && &q.w.kernel == &v.w.kernel && (!wi1 || &wi0.w.kernel == &wi1->w.kernel),
                "encode: projections of the same rows are packed in different formats");
    TORCH_CHECK(distances.is_contiguous() && distances.dim() == 2 && distances.size(1) >= 2 * texts.longest - 1 &&
                    q.w.out % distances.size(0) == 0,
                "encode: distances ", distances.sizes(), " for texts of up to ", texts.longest);
  }

  void run() {
    attention();
    for (int64_t from = 0; from < n; from += kTogether) feed_forward(from, std::min(n, from + kTogether));
  }

 private:
  // Tokens whose feed-forward is worked out together: its inner numbers are many.
  static constexpr int64_t kTogether = 8 * kBlock;

  const Texts &texts;
  int64_t n, d;
  float *x;
  const at::Tensor &distances;
  int activation;
  double eps;
  const float *self_norm, *ff_norm;
  Projection q, k, v, o, wi0, wo;
  std::optional<Projection> wi1;

  // normed is the norm of tokens from first to last, prepared for a projection.
  Rows normed(const Projection &p, const float *norm, int64_t from, int64_t to) const {
    Rows a(p.w, to - from);
    each(to - from, 4 * d, [&](int64_t i) {
      float y[kMost];
      row_norm(x + (from + i) * d, norm, y, d, eps);
      a.set(p.w, i, y, p.in.of(texts.of[from + i]));
    });
    return a;
  }

  // Rows that all projections share, where no vector comes before them.
  template <class... P>
  static bool shared(const P &...p) {
    return (... && !p.in.first);
  }

  void attention() {
    int64_t inner = q.w.out, width = 3 * inner, heads = distances.size(0);
    auto made = at::empty({n, width}, at::kFloat), mixed = at::empty({n, inner}, at::kFloat);
    auto *y = made.data_ptr<float>(), *z = mixed.data_ptr<float>();
    auto aq = normed(q, self_norm, 0, n);
    bool one = shared(q, k, v);
    auto ak = one ? aq : normed(k, self_norm, 0, n), av = one ? aq : normed(v, self_norm, 0, n);
    const Vectors *out[] = {&q.out, &k.out, &v.out};
    products({{q, aq}, {k, ak}, {v, av}}, n, [&](int64_t which, int64_t token, int64_t column, const float *c, int64_t some) {
      const auto *l = out[which]->of(texts.of[token]);
      row_product(c, l ? l + column : nullptr, y + token * width + which * inner + column, some);
    });
    attend_all(y, width, inner / heads, heads, z, inner);
    Rows a(o.w, n);
    each(n, inner, [&](int64_t i) { a.set(o.w, i, z + i * inner, o.in.of(texts.of[i])); });
    add(o, a, 0, n);
  }

  void attend_all(const float *y, int64_t width, int64_t size, int64_t heads, float *z, int64_t inner) const {
    int64_t middle = distances.size(1) / 2;
    const auto *bias = distances.const_data_ptr<float>();
    auto tasks = texts.texts() * heads;
    each_with(attend_scratch(texts.longest, size), tasks, texts.longest * texts.longest * size / 2, [&](int64_t task, float *room) {
      int64_t text = task / heads, head = task % heads, at = texts.start[text];
      const auto *first = y + at * width + head * size;
      int64_t tokens = texts.start[text + 1] - at;
      // One query further, a key at the same place is one step nearer.
      attend({tokens, tokens, size, first, first + inner, first + 2 * inner, width, width, bias + head * distances.size(1) + middle, -1,
              z + at * inner + head * size, inner},
             room);
    });
  }

  // add adds a projection's results to x, for tokens from first to last.
  void add(const Projection &p, const Rows &a, int64_t from, int64_t to) const {
    products({{p, a}}, to - from, [&](int64_t, int64_t i, int64_t column, const float *c, int64_t some) {
      const auto *l = p.out.of(texts.of[from + i]);
      row_add(c, l ? l + column : nullptr, x + (from + i) * d + column, some);
    });
  }

  void feed_forward(int64_t from, int64_t to) const {
    int64_t some = to - from, inner = wi0.w.out;
    auto hidden = at::empty({some, inner}, at::kFloat);
    auto *h = hidden.data_ptr<float>();
    auto a = normed(wi0, ff_norm, from, to);
    if (wi1) {
      gated(a, shared(wi0, *wi1) ? a : normed(*wi1, ff_norm, from, to), from, some, h);
    } else {
      products({{wi0, a}}, some, [&](int64_t, int64_t i, int64_t column, const float *c, int64_t size) {
        const auto *l = wi0.out.of(texts.of[from + i]);
        row_activate(activation, c, l ? l + column : nullptr, nullptr, nullptr, h + i * inner + column, size);
      });
    }
    Rows b(wo.w, some);
    each(some, inner, [&](int64_t i) { b.set(wo.w, i, h + i * inner, wo.in.of(texts.of[from + i])); });
    add(wo, b, from, to);
  }

  // gated is the activated gate times the other half, a panel of both at a time.
  void gated(const Rows &a, const Rows &b, int64_t from, int64_t n, float *h) const {
    int64_t blocks = (n + kBlock - 1) / kBlock, inner = wi0.w.out;
    each(wi0.w.panels * blocks, 2 * d * std::min(n, kBlock), [&](int64_t task) {
      float c[kBlock * kPanel], u[kBlock * kPanel];
      int64_t panel = task / blocks, first = task % blocks * kBlock, some = std::min(kBlock, n - first), column = panel * kPanel;
      wi0.w.block(a.at(first), a.step(first), some, panel, c);
      wi1->w.block(b.at(first), b.step(first), some, panel, u);
      for (int64_t i = 0; i < some; i++) {
        int64_t text = texts.of[from + first + i];
        const auto *l0 = wi0.out.of(text), *l1 = wi1->out.of(text);
        row_activate(activation, c + i * kPanel, l0 ? l0 + column : nullptr, u + i * kPanel, l1 ? l1 + column : nullptr,
                     h + (first + i) * inner + column, wi0.w.width(panel));
      }
    });
  }

 public:
  static constexpr int64_t kMost = 16384;  // numbers of a token
};

}  // namespace
}  // namespace valence

using namespace valence;

namespace {

// attended is vl_absorbed: what each sequence's query gathers from the states of its text.
at::Tensor attended(const at::Tensor &q, const at::Tensor &states, const Texts &texts, const int64_t *of, const at::Tensor &wk,
                    const at::Tensor &wv, const Vectors &by_k, const Vectors &by_v, int64_t heads) {
  int64_t n = q.size(0), inner = wk.size(0), d = wk.size(1), width = inner / heads;
  auto out = at::empty({n, 1, inner}, at::kFloat);
  const auto *x = q.const_data_ptr<float>(), *all = states.const_data_ptr<float>();
  auto *y = out.data_ptr<float>();
  bool half = wk.scalar_type() == at::kBFloat16;
  auto rows = [&](const at::Tensor &w, int64_t head) {
    return static_cast<const char *>(w.const_data_ptr()) + head * width * d * w.element_size();
  };
  each_with(absorb_scratch(texts.longest, d), n * heads, (width + texts.longest) * d, [&](int64_t task, float *room) {
    int64_t i = task % n, head = task / n, text = of ? of[i] : i;
    absorb({texts.start[text + 1] - texts.start[text], width, d, x + i * inner + head * width, all + text * texts.longest * d,
            rows(wk, head), rows(wv, head), half, by_k.of(i), by_v.of(i), y + i * inner + head * width},
           room);
  });
  return out;
}

}  // namespace

extern "C" {

int vl_panels(vl_packed p) { return dynamic_cast<Panels *>(static_cast<Packed *>(p)) != nullptr; }

vl_tensor vl_distances(vl_tensor bias) {
  return guarded(
      [&]() -> vl_tensor {
        auto b = ref(bias)[0];  // [heads, n, n]
        auto after = b.select(1, 0), before = b.select(2, 0).slice(1, 1).flip(1);
        return new at::Tensor(at::cat({before, after}, 1).to(at::kFloat).contiguous());
      },
      nullptr);
}

int vl_encode(vl_tensor x, const int64_t *lengths, int texts, const vl_layer *layer, vl_tensor distances, int activation, double eps) {
  return guarded(
      [&] {
        Texts t(lengths, texts);
        auto &in = ref(x);
        TORCH_CHECK(in.is_cpu() && in.scalar_type() == at::kFloat && in.dim() == 2 && in.is_contiguous() && in.size(0) == t.tokens() &&
                        in.size(1) <= Layer::kMost,
                    "encode: tokens ", in.sizes(), " for texts of ", t.tokens(), " in all");
        Layer(in, t, *layer, ref(distances), activation, eps).run();
        return 0;
      },
      -1);
}

vl_tensor vl_lay(vl_tensor x, const int64_t *lengths, int texts) {
  return guarded(
      [&]() -> vl_tensor {
        Texts t(lengths, texts);
        const auto &in = ref(x);
        TORCH_CHECK(in.dim() == 2 && in.size(0) == t.tokens(), "lay: tokens ", in.sizes(), " for texts of ", t.tokens(), " in all");
        if (t.tokens() == t.texts() * t.longest) return new at::Tensor(in.view({t.texts(), t.longest, in.size(1)}));
        auto out = at::zeros({t.texts(), t.longest, in.size(1)}, in.options());
        for (int64_t i = 0; i < t.texts(); i++) {
          int64_t length = t.start[i + 1] - t.start[i];
          out[i].narrow(0, 0, length).copy_(in.narrow(0, t.start[i], length));
        }
        return new at::Tensor(out);
      },
      nullptr);
}

vl_tensor vl_absorbed(vl_tensor q, vl_tensor states, const int64_t *lengths, int texts, const int64_t *of, vl_tensor wk, vl_tensor wv,
                      vl_tensor by_k, vl_tensor by_v, int heads) {
  return guarded(
      [&]() -> vl_tensor {
        Texts t(lengths, texts);
        auto x = ref(q).contiguous(), all = ref(states).contiguous();
        const auto &k = ref(wk), &v = ref(wv);
        int64_t n = x.size(0), d = k.size(1);
        TORCH_CHECK(x.scalar_type() == at::kFloat && x.numel() == n * k.size(0) && all.scalar_type() == at::kFloat && all.dim() == 3 &&
                        all.size(0) == texts && all.size(1) == t.longest && all.size(2) == d && k.sizes() == v.sizes() &&
                        k.scalar_type() == v.scalar_type() && (k.scalar_type() == at::kFloat || k.scalar_type() == at::kBFloat16) &&
                        k.is_contiguous() && v.is_contiguous() && k.size(0) % heads == 0 && (of || n == texts),
                    "absorbed: queries ", x.sizes(), " and states ", all.sizes(), " do not fit weights ", k.sizes());
        for (int64_t i = 0; of && i < n; i++) TORCH_CHECK(of[i] >= 0 && of[i] < texts, "absorbed: query ", i, " is of text ", of[i]);
        return new at::Tensor(attended(x, all, t, of, k, v, Vectors(by_k, n, d), Vectors(by_v, n, d), heads));
      },
      nullptr);
}

}  // extern "C"
