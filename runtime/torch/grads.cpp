#include "grads.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "attend.h"
#include "encoder.h"
#include "guard.h"
#include "rows.h"
#include "share.h"
#include "texts.h"

using namespace valence;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

using Lengths = std::vector<int64_t>;

const float *floats(const at::Tensor &x, int64_t at = 0) { return x.defined() ? x.const_data_ptr<float>() + at : nullptr; }
float *floats_of(at::Tensor &x, int64_t at = 0) { return x.defined() ? x.data_ptr<float>() + at : nullptr; }

// lengths_of are those of the texts that have vectors l, which may be one for all.
Lengths lengths_of(const at::Tensor &x, const at::Tensor &l, const int64_t *lengths, int texts) {
  TORCH_CHECK(!lengths || (floats_on_cpu(x) && x.dim() == 3 && x.size(0) == 1), "texts end to end: tokens ", x.sizes(), " of ", x.device());
  if (l.defined() && l.size(0) == 1) return {x.size(0) * x.size(1)};
  if (lengths) return {lengths, lengths + texts};
  return Lengths(x.size(0), x.size(1));
}

// fits tells whether the loops below can do it.
bool fits(const at::Tensor &x, const at::Tensor &l) {
  return floats_on_cpu(x) && x.dim() == 3 && x.size(1) > 0 &&
         (!l.defined() || (floats_on_cpu(l) && l.dim() == 3 && l.size(1) == 1 && l.size(2) == x.size(2)));
}

void check(const Texts &texts, const at::Tensor &x, const at::Tensor &l) {
  TORCH_CHECK(texts.tokens() * x.size(-1) == x.numel() && (!l.defined() || l.size(0) == texts.texts()), "texts: ", texts.texts(),
              " of ", texts.tokens(), " tokens for tokens ", x.sizes(), " and vectors ", l.defined() ? l.sizes() : at::IntArrayRef());
}

struct Scale : torch::autograd::Function<Scale> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &x, const at::Tensor &l, const Lengths &lengths) {
    auto rows = x.contiguous(), vectors = l.contiguous(), out = at::empty_like(rows);
    Texts texts(lengths.data(), lengths.size());
    check(texts, rows, vectors);
    int64_t d = rows.size(2);
    auto *y = out.data_ptr<float>();
    each(texts.tokens(), d, [&](int64_t i) { row_product(floats(rows, i * d), floats(vectors, texts.of[i] * d), y + i * d, d); });
    ctx->save_for_backward({rows, vectors});
    ctx->saved_data["lengths"] = lengths;
    return out;
  }
  static variable_list backward(AutogradContext *ctx, const variable_list &outs) {
    auto saved = ctx->get_saved_variables();
    auto lengths = ctx->saved_data["lengths"].toIntVector();
    Texts texts(lengths.data(), lengths.size());
    auto g = outs[0].contiguous(), dx = at::empty_like(saved[0]), dl = at::zeros_like(saved[1]);
    int64_t d = g.size(2);
    auto *to_x = dx.data_ptr<float>(), *to_l = dl.data_ptr<float>();
    each(texts.texts(), texts.longest * d, [&](int64_t text) {
      for (int64_t i = texts.start[text]; i < texts.start[text + 1]; i++) {
        row_product_back(floats(g, i * d), floats(saved[0], i * d), floats(saved[1], text * d), to_x + i * d, to_l + text * d, d);
      }
    });
    return {dx, dl, at::Tensor()};
  }
};

struct Gate : torch::autograd::Function<Gate> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &h, const at::Tensor &u, const std::optional<at::Tensor> &l,
                            int64_t activation, const Lengths &lengths) {
    auto gates = h.contiguous(), rows = u.contiguous(), vectors = l ? l->contiguous() : at::Tensor(), out = at::empty_like(rows);
    Texts texts(lengths.data(), lengths.size());
    check(texts, rows, vectors);
    int64_t d = rows.size(2);
    auto *y = out.data_ptr<float>();
    each(texts.tokens(), 4 * d, [&](int64_t i) {
      row_activate(activation, floats(gates, i * d), nullptr, floats(rows, i * d), floats(vectors, texts.of[i] * d), y + i * d, d);
    });
    ctx->save_for_backward({gates, rows, vectors});
    ctx->saved_data["lengths"] = lengths;
    ctx->saved_data["activation"] = activation;
    return out;
  }
  static variable_list backward(AutogradContext *ctx, const variable_list &outs) {
    auto saved = ctx->get_saved_variables();
    auto lengths = ctx->saved_data["lengths"].toIntVector();
    auto activation = ctx->saved_data["activation"].toInt();
    Texts texts(lengths.data(), lengths.size());
    auto g = outs[0].contiguous(), dh = at::empty_like(saved[0]), du = at::empty_like(saved[1]);
    auto dl = saved[2].defined() ? at::zeros_like(saved[2]) : at::Tensor();
    int64_t d = g.size(2);
    auto *to_h = dh.data_ptr<float>(), *to_u = du.data_ptr<float>();
    each(texts.texts(), 4 * texts.longest * d, [&](int64_t text) {
      for (int64_t i = texts.start[text]; i < texts.start[text + 1]; i++) {
        row_activate_back(activation, floats(g, i * d), floats(saved[0], i * d), floats(saved[1], i * d), floats(saved[2], text * d),
                          to_h + i * d, to_u + i * d, floats_of(dl, text * d), d);
      }
    });
    return {dh, du, dl, at::Tensor(), at::Tensor()};
  }
};

// Sequences are the queries of an attention, and the texts that they look at.
struct Sequences {
  Texts queries, keys;
  Lengths of;
  int64_t heads, inner, width;
  at::Tensor distances;

  Sequences(const Lengths &queries, const Lengths &keys, const Lengths &of, int64_t heads, const at::Tensor &q, const at::Tensor &distances)
      : queries(queries.data(), queries.size()),
        keys(keys.data(), keys.size()),
        of(of),
        heads(heads),
        inner(q.size(-1)),
        width(inner / heads),
        distances(distances) {}

  // head is one head of one sequence's attention, and key where that of its text has its first key and value.
  int64_t key(int64_t i, int64_t h) const { return keys.start[of[i]] * inner + h * width; }
  Head head(int64_t i, int64_t h, const at::Tensor &q) const {
    int64_t text = of[i], at = queries.start[i] * inner + h * width;
    // One query further, a key at the same place is one step nearer.
    const float *bias = distances.defined() ? floats(distances, h * distances.size(1) + distances.size(1) / 2) : nullptr;
    return {queries.start[i + 1] - queries.start[i], keys.start[text + 1] - keys.start[text], width, floats(q, at), inner, bias, -1,
            nullptr, inner};
  }

  int64_t work() const { return queries.longest * keys.longest * width / 2; }
};

struct Attend : torch::autograd::Function<Attend> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                            const std::optional<at::Tensor> &distances, int64_t heads, const Lengths &queries, const Lengths &keys, const Lengths &of) {
    auto rows = q.contiguous(), key = k.contiguous(), value = v.contiguous(), out = at::empty_like(rows);
    auto by = distances.value_or(at::Tensor());
    Sequences s(queries, keys, of, heads, rows, by);
    auto *y = out.data_ptr<float>();
    each_with(attend_scratch(s.keys.longest, s.width), s.queries.texts() * heads, s.work(), [&](int64_t task, float *room) {
      int64_t i = task / heads, h = task % heads;
      auto one = s.head(i, h, rows);
      one.out = y + s.queries.start[i] * s.inner + h * s.width;
      int64_t first = s.key(i, h);
      attend(one, floats(key, first), floats(value, first), s.inner, room);
    });
    ctx->save_for_backward({rows, key, value, by});
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["queries"] = queries;
    ctx->saved_data["keys"] = keys;
    ctx->saved_data["of"] = of;
    return out;
  }
  static variable_list backward(AutogradContext *ctx, const variable_list &outs) {
    auto saved = ctx->get_saved_variables();
    const auto &q = saved[0], &k = saved[1], &v = saved[2];
    int64_t heads = ctx->saved_data["heads"].toInt();
    Sequences s(ctx->saved_data["queries"].toIntVector(), ctx->saved_data["keys"].toIntVector(), ctx->saved_data["of"].toIntVector(), heads,
                q, saved[3]);
    auto g = outs[0].contiguous(), dq = at::empty_like(q), dk = at::zeros_like(k), dv = at::zeros_like(v);
    auto *to_q = dq.data_ptr<float>(), *to_k = dk.data_ptr<float>(), *to_v = dv.data_ptr<float>();
    // A task is a text and a head: sequences that look at the same text add up there, in their order.
    each_with(attend_back_scratch(s.keys.longest, s.width), s.keys.texts() * heads, 3 * s.work(), [&](int64_t task, float *room) {
      int64_t text = task / heads, h = task % heads, first = s.keys.start[text] * s.inner + h * s.width;
      for (int64_t i = 0; i < s.queries.texts(); i++) {
        if (s.of[i] != text) continue;
        int64_t at = s.queries.start[i] * s.inner + h * s.width;
        attend_back({s.head(i, h, q), floats(k, first), floats(v, first), s.inner, floats(g, at), s.inner, to_q + at, s.inner, to_k + first,
                     to_v + first, s.inner},
                    room);
      }
    });
    return {dq, dk, dv, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor activated(const at::Tensor &h, int activation) {
  switch (activation) {
    case vl_gelu_new: return at::gelu(h, "tanh");
    case vl_silu: return at::silu(h);
    default: return at::relu(h);
  }
}

std::optional<at::Tensor> maybe(vl_tensor x) { return x ? std::make_optional(ref(x)) : std::nullopt; }

}  // namespace

extern "C" {

vl_tensor vl_scale(vl_tensor x, vl_tensor l, const int64_t *lengths, int texts) {
  return guarded(
      [&]() -> vl_tensor {
        const auto &rows = ref(x), &vectors = ref(l);
        auto of = lengths_of(rows, vectors, lengths, texts);
        return new at::Tensor(fits(rows, vectors) ? Scale::apply(rows, vectors, of) : rows * vectors);
      },
      nullptr);
}

vl_tensor vl_gate(vl_tensor h, vl_tensor u, vl_tensor l, int activation, const int64_t *lengths, int texts) {
  return guarded(
      [&]() -> vl_tensor {
        const auto &gates = ref(h), &rows = ref(u);
        auto vectors = maybe(l);
        auto of = lengths_of(rows, vectors.value_or(at::Tensor()), lengths, texts);
        if (floats_on_cpu(gates) && gates.sizes() == rows.sizes() && fits(rows, vectors.value_or(at::Tensor()))) {
          return new at::Tensor(Gate::apply(gates, rows, vectors, activation, of));
        }
        return new at::Tensor(activated(gates, activation) * (vectors ? rows * *vectors : rows));
      },
      nullptr);
}

vl_tensor vl_attend(vl_tensor q, vl_tensor k, vl_tensor v, int heads, const int64_t *queries, int n, const int64_t *keys, int texts,
                    const int64_t *of, vl_tensor distances) {
  return guarded(
      [&]() -> vl_tensor {
        const auto &rows = ref(q), &key = ref(k), &value = ref(v);
        auto by = maybe(distances);
        Lengths each(queries, queries + n), all(keys, keys + texts), looks;
        for (int i = 0; i < n; i++) looks.push_back(of ? of[i] : i);
        Texts sequences(queries, n), seen(keys, texts);
        int64_t inner = rows.size(-1);
        TORCH_CHECK(floats_on_cpu(rows) && floats_on_cpu(key) && floats_on_cpu(value) && inner % heads == 0 && rows.numel() == sequences.tokens() * inner &&
                        key.numel() == seen.tokens() * inner && value.numel() == key.numel() && (of || n == texts),
                    "attend: queries ", rows.sizes(), " and keys ", key.sizes(), " of ", n, " sequences and ", texts, " texts");
        for (auto text : looks) TORCH_CHECK(text >= 0 && text < texts, "attend: a sequence looks at text ", text, " of ", texts);
        TORCH_CHECK(!by || (floats_on_cpu(*by) && by->is_contiguous() && by->dim() == 2 && by->size(0) == heads && !by->requires_grad() &&
                            by->size(1) >= 2 * std::max(sequences.longest, seen.longest) - 1),
                    "attend: distances for texts of up to ", seen.longest);
        return new at::Tensor(Attend::apply(rows, key, value, by, heads, each, all, looks));
      },
      nullptr);
}

}  // extern "C"
