#include "first.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>

#include "attend.h"
#include "stream.h"

namespace valence {
namespace {

// ByHead is a matrix that each head has a part of, in panels of its own.
struct ByHead {
  const Panels &w;
  int64_t heads, out, panels;  // outputs and panels of a head

  ByHead(const Panels &w, int64_t heads, int64_t in, int64_t out) : w(w), heads(heads), out(out), panels(in_panels(out)) {
    TORCH_CHECK(!w.kernel.levels && w.in == in && w.out == heads * panels * kPanel, "absorbed: a matrix of ", w.out, " by ", w.in,
                " for ", heads, " heads of ", out, " by ", in);
  }

  // products multiplies each head's n rows, which stand one after the other in a, by the head's part: use(row, head, column,
  // numbers, how many).
  template <class F>
  void products(const Rows &a, int64_t n, F use) const {
    int64_t blocks = in_blocks(n);
    each(heads * panels * blocks, w.in * kPanel, [&](int64_t task) {
      float c[kBlock * kPanel];
      int64_t panel = task / blocks, head = panel / panels, first = task % blocks * kBlock, some = std::min(kBlock, n - first),
              column = panel % panels * kPanel;
      w.block(a.at(head * n + first), a.step(head * n + first), some, panel, c);
      for (int64_t i = 0; i < some; i++) use(first + i, head, column, c + i * kPanel, std::min(kPanel, out - column));
    });
  }
};

// Sight is what sequences see of texts.
class Sight {
 public:
  Sight(const vl_look &l, int64_t n) : texts(l.lengths, l.texts), heads(l.heads), of(l.of) {
    const auto &t = ref(l.seen);
    TORCH_CHECK(of || n == texts.texts(), n, " sequences look at ", texts.texts(), " texts");
    for (int64_t i = 0; of && i < n; i++) TORCH_CHECK(of[i] >= 0 && of[i] < texts.texts(), "sequence ", i, " looks at text ", of[i]);
    TORCH_CHECK(floats_on_cpu(t) && t.dim() == 3 && t.size(0) == texts.texts() && t.is_contiguous(),
                "what is seen has the shape ", t.sizes());
    d = t.size(2), size = t.size(1) * d, first = t.const_data_ptr<float>();
    TORCH_CHECK(seen_size(texts.longest, d) <= size, "what is seen is of shorter texts");
  }
  int64_t tokens(int64_t i) const { return texts.start[text(i) + 1] - texts.start[text(i)]; }
  const float *at(int64_t i) const { return first + text(i) * size; }

  Texts texts;
  int64_t heads, d;

 private:
  const int64_t *of;
  const float *first;
  int64_t size;
  int64_t text(int64_t i) const { return of ? of[i] : i; }
};

// Absorbed is the attention of one query for each sequence, without keys and values.
class Absorbed {
 public:
  Absorbed(const Sight &sight, int64_t n, int64_t inner, const vl_projection &k, const vl_projection &v)
      : sight(sight),
        n(n),
        inner(inner),
        width(inner / sight.heads),
        d(sight.d),
        k(panels(k.w), sight.heads, width, d),
        v(panels(v.w), sight.heads, d, width),
        in_k(k.in, n, d),
        in_v(v.in, n, d),
        out_k(k.out, n, inner),
        out_v(v.out, n, inner) {}

  // run gives what the queries q [n, inner] gather, z [n, inner].
  void run(const float *q, float *z) const {
    Rows seen(v.w, n * sight.heads);
    gather(asked(q), seen);
    v.products(seen, n, [&](int64_t i, int64_t head, int64_t column, const float *c, int64_t some) {
      const auto *l = out_v.of(i);
      int64_t at = head * width + column;
      row_product(c, l ? l + at : nullptr, z + i * inner + at, some);
    });
  }

 private:
  const Sight &sight;
  int64_t n, inner, width, d;
  ByHead k, v;
  Vectors in_k, in_v, out_k, out_v;

  // asked is each query times its head's part of the keys' matrix: [n, heads, d].
  at::Tensor asked(const float *q) const {
    int64_t heads = sight.heads;
    Rows a(k.w, n * heads);
    each(n * heads, width, [&](int64_t i) {
      int64_t row = i % n, at = i / n * width;
      const auto *l = out_k.of(row);  // a vector on a key is as well one on the query
      a.set(k.w, i, q + row * inner + at, l ? l + at : nullptr);
    });
    auto u = at::empty({n, heads, d}, at::kFloat);
    auto *to = u.data_ptr<float>();
    k.products(a, n, [&](int64_t i, int64_t head, int64_t column, const float *c, int64_t some) {
      const auto *l = in_k.of(i);
      row_product(c, l ? l + column : nullptr, to + (i * heads + head) * d + column, some);
    });
    return u;
  }

  // gather prepares what each head sees of the states for the values' matrix, some heads of a sequence at a time.
  void gather(const at::Tensor &u, const Rows &seen) const {
    int64_t heads = sight.heads, groups = (heads + kQueries - 1) / kQueries, most = sight.texts.longest;
    const auto *all = u.const_data_ptr<float>();
    each_with(kQueries * d + look_scratch(most, d), n * groups, kQueries * most * d / 4, [&](int64_t task, float *room) {
      int64_t i = task / groups, from = task % groups * kQueries, some = std::min(kQueries, heads - from);
      valence::look({some, sight.tokens(i), d, all + (i * heads + from) * d, d, nullptr, 0, room, d}, sight.at(i), room + kQueries * d);
      for (int64_t h = 0; h < some; h++) seen.set(v.w, (from + h) * n + i, room + h * d, in_v.of(i));
    });
  }
};

// First is a layer of the decoder for the first token.
class First : Stream {
 public:
  First(at::Tensor &x, const Texts &each, const Sight &sight, const vl_first_layer &l, int activation, double eps)
      : Stream(x, each, activation, eps),
        self_norm(norm(l.self_norm)),
        cross_norm(norm(l.cross_norm)),
        self_v(l.self_v, n),
        self_o(l.self_o, n),
        q(l.q, n),
        o(l.o, n),
        absorbed(sight, n, q.w.out, l.k, l.v),
        ff(*this, l.ff_norm, l.wi0, l.wi1, l.wo) {
    TORCH_CHECK(self_v.w.in == d && self_o.w.in == self_v.w.out && self_o.w.out == d && q.w.in == d && o.w.in == q.w.out && o.w.out == d &&
                    sight.d == d,
                "first: the projections do not fit");
  }

  void run() {
    self();
    cross();
    feed_forward(ff);
  }

 private:
  const float *self_norm, *cross_norm;
  Projection self_v, self_o, q, o;
  Absorbed absorbed;
  FeedForward ff;

  // projected is a projection of the norm of x: [n, outputs].
  at::Tensor projected(const Projection &p, const float *norm) const {
    int64_t inner = p.w.out;
    auto made = at::empty({n, inner}, at::kFloat);
    auto *y = made.data_ptr<float>();
    auto a = normed(p, norm, 0, n);
    auto at = [&](int64_t, int64_t i, int64_t column) { return y + i * inner + column; };
    products({{p.w, a}}, n, at, [&](int64_t, int64_t i, int64_t column, const float *c, int64_t some) {
      const auto *l = p.out.of(i);
      row_product(c, l ? l + column : nullptr, at(0, i, column), some);
    });
    return made;
  }

  void self() const { add(self_o, projected(self_v, self_norm).const_data_ptr<float>(), 0, n); }

  void cross() const {
    auto asked = projected(q, cross_norm), got = at::empty_like(asked);
    absorbed.run(asked.const_data_ptr<float>(), got.data_ptr<float>());
    add(o, got.const_data_ptr<float>(), 0, n);
  }
};

// heads_of is a matrix [heads * width, d] head by head.
at::Tensor heads_of(const void *data, int kind, int64_t d, int64_t width, int64_t heads) {
  return at::from_blob(const_cast<void *>(data), {heads, width, d}, at::TensorOptions(at::ScalarType(kind)));
}

vl_packed pack_by_head(const at::Tensor &w, int format) {
  auto filled = at::constant_pad_nd(w, {0, 0, 0, in_panels(w.size(1)) * kPanel - w.size(1)}).reshape({-1, w.size(2)});
  return vl_pack(&filled, format);
}

}  // namespace
}  // namespace valence

using namespace valence;

extern "C" {

void vl_keys_size(int64_t d, int64_t width, int64_t heads, int64_t *out, int64_t *in) {
  *out = heads * in_panels(d) * kPanel;
  *in = width;
}

void vl_values_size(int64_t d, int64_t width, int64_t heads, int64_t *out, int64_t *in) {
  *out = heads * in_panels(width) * kPanel;
  *in = d;
}

vl_packed vl_pack_keys(const void *data, int kind, int64_t d, int64_t width, int64_t heads, int format) {
  return guarded([&] { return pack_by_head(heads_of(data, kind, d, width, heads).transpose(1, 2), format); }, nullptr);
}

vl_packed vl_pack_values(const void *data, int kind, int64_t d, int64_t width, int64_t heads, int format) {
  return guarded([&] { return pack_by_head(heads_of(data, kind, d, width, heads), format); }, nullptr);
}

vl_tensor vl_seen(vl_tensor states, const int64_t *lengths, int texts) {
  return guarded(
      [&]() -> vl_tensor {
        Texts t(lengths, texts);
        auto x = ref(states).contiguous();
        TORCH_CHECK(floats_on_cpu(x) && x.dim() == 3 && x.size(0) == texts && x.size(1) == t.longest, "states ",
                    x.sizes(), " of texts of up to ", t.longest, " tokens");
        int64_t d = x.size(2), size = (seen_size(t.longest, d) + d - 1) / d * d;
        auto out = at::empty({texts, size / d, d}, x.options());
        const auto *from = x.const_data_ptr<float>();
        auto *to = out.data_ptr<float>();
        each(texts, 4 * t.longest * d, [&](int64_t i) {
          const auto *rows = from + i * t.longest * d;
          see(rows, rows, d, t.start[i + 1] - t.start[i], d, to + i * size);
        });
        return new at::Tensor(out);
      },
      nullptr);
}

vl_tensor vl_absorbed(vl_tensor q, const vl_look *look, vl_projection k, vl_projection v) {
  return guarded(
      [&]() -> vl_tensor {
        auto x = ref(q).contiguous();
        TORCH_CHECK(floats_on_cpu(x) && x.dim() == 3 && x.size(1) == 1 && x.size(2) % look->heads == 0,
                    "absorbed: queries ", x.sizes());
        int64_t n = x.size(0), inner = x.size(2);
        Sight l(*look, n);
        auto out = at::empty_like(x);
        Absorbed(l, n, inner, k, v).run(x.const_data_ptr<float>(), out.data_ptr<float>());
        return new at::Tensor(out);
      },
      nullptr);
}

int vl_first(vl_tensor x, const vl_look *look, const vl_first_layer *layer, int activation, double eps) {
  return guarded(
      [&] {
        std::vector<int64_t> ones(ref(x).size(0), 1);
        Texts each(ones.data(), ones.size());
        Stream::check(ref(x), each, "first");
        First(ref(x), each, Sight(*look, ones.size()), *layer, activation, eps).run();
        return 0;
      },
      -1);
}

}  // extern "C"
