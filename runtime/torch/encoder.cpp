#include "encoder.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include "attend.h"
#include "stream.h"

namespace valence {
namespace {

class Layer : Stream {
 public:
  Layer(at::Tensor &x, const Texts &texts, const vl_layer &l, const at::Tensor &distances, int activation, double eps)
      : Stream(x, texts, activation, eps),
        distances(distances),
        self_norm(norm(l.self_norm)),
        q(l.q, texts.texts()),
        k(l.k, texts.texts()),
        v(l.v, texts.texts()),
        o(l.o, texts.texts()),
        ff(*this, l.ff_norm, l.wi0, l.wi1, l.wo) {
    TORCH_CHECK(q.w.in == d && k.w.in == d && v.w.in == d && o.w.out == d && q.w.out == k.w.out && k.w.out == v.w.out && o.w.in == v.w.out,
                "encode: the projections do not fit");
    TORCH_CHECK(&q.w.kernel == &k.w.kernel && &q.w.kernel == &v.w.kernel,
                "encode: projections of the same rows are packed in different formats");
    TORCH_CHECK(distances.is_contiguous() && distances.dim() == 2 && distances.size(1) >= 2 * texts.longest - 1 &&
                    q.w.out % distances.size(0) == 0,
                "encode: distances ", distances.sizes(), " for texts of up to ", texts.longest);
  }

  void run() {
    attention();
    feed_forward(ff);
  }

 private:
  const at::Tensor &distances;
  const float *self_norm;
  Projection q, k, v, o;
  FeedForward ff;

  void attention() {
    int64_t inner = q.w.out, width = 3 * inner, heads = distances.size(0);
    auto made = at::empty({n, width}, at::kFloat), mixed = at::empty({n, inner}, at::kFloat);
    auto *y = made.data_ptr<float>(), *z = mixed.data_ptr<float>();
    auto aq = normed(q, self_norm, 0, n);
    bool one = !q.in.first && !k.in.first && !v.in.first;
    auto ak = one ? aq : normed(k, self_norm, 0, n), av = one ? aq : normed(v, self_norm, 0, n);
    const Vectors *out[] = {&q.out, &k.out, &v.out};
    auto at = [&](int64_t which, int64_t token, int64_t column) { return y + token * width + which * inner + column; };
    products({{q.w, aq}, {k.w, ak}, {v.w, av}}, n, at, [&](int64_t which, int64_t token, int64_t column, const float *c, int64_t some) {
      const auto *l = out[which]->of(texts.of[token]);
      row_product(c, l ? l + column : nullptr, at(which, token, column), some);
    });
    attend_all(y, width, inner / heads, heads, z, inner);
    add(o, z, 0, n);
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
      attend({tokens, tokens, size, first, width, bias + head * distances.size(1) + middle, -1, z + at * inner + head * size, inner},
             first + inner, first + 2 * inner, width, room);
    });
  }
};

}  // namespace
}  // namespace valence

using namespace valence;

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
        Stream::check(ref(x), t, "encode");
        Layer(ref(x), t, *layer, ref(distances), activation, eps).run();
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

}  // extern "C"
