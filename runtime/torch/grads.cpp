#include "grads.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "encoder.h"
#include "gpugrads.h"
#include "gpukernels.h"
#include "gradloops.h"
#include "guard.h"

using namespace valence;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

using Lengths = std::vector<int64_t>;
using Maybe = std::optional<at::Tensor>;  // as autograd has them

Texts texts_of(const Lengths &lengths) { return {lengths.data(), int(lengths.size())}; }
Texts saved_texts(AutogradContext *ctx) { return texts_of(ctx->saved_data["lengths"].toIntVector()); }

// lengths_of are those of the texts that have vectors l, which may be one for all.
Lengths lengths_of(const at::Tensor &x, const at::Tensor &l, const int64_t *lengths, int texts, const Maybe &places) {
  if (l.defined() && l.size(0) == 1 && !places) return {x.size(0) * x.size(1)};
  if (lengths) return {lengths, lengths + texts};
  return Lengths(x.size(0), x.size(1));
}

// looped tells whether our loops can do it.
bool looped(const at::Tensor &x, const at::Tensor &l) {
  return floats_on_cpu(x) && x.dim() == 3 && x.size(1) > 0 &&
         (!l.defined() || (floats_on_cpu(l) && l.dim() == 3 && l.size(1) == 1 && l.size(2) == x.size(2)));
}

// fits tells whether a GPU's kernels can, where there are places, or our loops. Texts end to end are for them alone.
bool fits(const at::Tensor &x, const at::Tensor &l, const int64_t *lengths, const Maybe &places) {
  bool ours = places ? gpu::scales(x, l) : looped(x, l);
  TORCH_CHECK(!lengths || (ours && x.size(0) == 1), "texts end to end: tokens ", x.sizes(), " of ", x.scalar_type(), " on ", x.device());
  return ours;
}

void check(const Texts &texts, const at::Tensor &x, const at::Tensor &l, const Maybe &places) {
  TORCH_CHECK(texts.tokens() * x.size(-1) == x.numel() && (!l.defined() || l.size(0) == texts.texts() || (places && l.size(0) == 1)), "texts: ", texts.texts(),
              " of ", texts.tokens(), " tokens for tokens ", x.sizes(), " and vectors ", l.defined() ? l.sizes() : at::IntArrayRef());
  TORCH_CHECK(!places || places->numel() == texts.texts() + 1 + texts.tokens(), "texts: ", texts.texts(), " with places ", places->sizes());
}

at::Tensor or_none(const Maybe &x) { return x.value_or(at::Tensor()); }

struct Scale : torch::autograd::Function<Scale> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &x, const at::Tensor &l, const Lengths &lengths, const Maybe &places) {
    auto texts = texts_of(lengths);
    auto rows = x.contiguous(), vectors = places ? l : l.contiguous();
    check(texts, rows, vectors, places);
    ctx->save_for_backward({rows, vectors, or_none(places)});
    ctx->saved_data["lengths"] = lengths;
    return places ? gpu::scale(rows, vectors, *places, texts.texts()) : loops::scale(rows, vectors, texts);
  }
  static variable_list backward(AutogradContext *ctx, const variable_list &outs) {
    auto saved = ctx->get_saved_variables();
    auto texts = saved_texts(ctx);
    auto g = outs[0].contiguous();
    at::Tensor dx, dl;
    if (saved[2].defined()) {
      gpu::scale_back(g, saved[0], saved[1], saved[2], texts.texts(), &dx, &dl);
    } else {
      loops::scale_back(g, saved[0], saved[1], texts, &dx, &dl);
    }
    return {dx, dl, at::Tensor(), at::Tensor()};
  }
};

struct Gate : torch::autograd::Function<Gate> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &h, const at::Tensor &u, const Maybe &l, int64_t activation, const Lengths &lengths,
                            const Maybe &places) {
    auto texts = texts_of(lengths);
    auto gates = h.contiguous(), rows = u.contiguous(), vectors = l && !places ? l->contiguous() : or_none(l);
    check(texts, rows, vectors, places);
    ctx->save_for_backward({gates, rows, vectors, or_none(places)});
    ctx->saved_data["lengths"] = lengths;
    ctx->saved_data["activation"] = activation;
    return places ? gpu::gate(gates, rows, vectors, activation, *places, texts.texts()) : loops::gate(gates, rows, vectors, activation, texts);
  }
  static variable_list backward(AutogradContext *ctx, const variable_list &outs) {
    auto saved = ctx->get_saved_variables();
    auto texts = saved_texts(ctx);
    auto activation = int(ctx->saved_data["activation"].toInt());
    auto g = outs[0].contiguous();
    at::Tensor dh, du, dl;
    if (saved[3].defined()) {
      gpu::gate_back(g, saved[0], saved[1], saved[2], activation, saved[3], texts.texts(), &dh, &du, &dl);
    } else {
      loops::gate_back(g, saved[0], saved[1], saved[2], activation, texts, &dh, &du, &dl);
    }
    return {dh, du, dl, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

// Sequences are the queries of an attention, and the texts that they look at.
struct Sequences {
  int64_t heads;
  Lengths queries, keys;
  Lengths of;  // none where sequence i looks at text i

  void save(AutogradContext *ctx) const {
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["queries"] = queries;
    ctx->saved_data["keys"] = keys;
    ctx->saved_data["of"] = of;
  }
  static Sequences saved(AutogradContext *ctx) {
    return {ctx->saved_data["heads"].toInt(), ctx->saved_data["queries"].toIntVector(), ctx->saved_data["keys"].toIntVector(), ctx->saved_data["of"].toIntVector()};
  }
  loops::Looks looped(const at::Tensor &distances) const {
    Lengths each = of;
    for (size_t i = each.size(); i < queries.size(); i++) each.push_back(int64_t(i));
    return {texts_of(queries), texts_of(keys), each, heads, distances};
  }
  gpu::Looks placed(const at::Tensor &query_places, const at::Tensor &key_places, const at::Tensor &distances) const {
    auto longest = [](const Lengths &n) { return *std::max_element(n.begin(), n.end()); };
    auto looks = of.empty() ? at::Tensor() : at::tensor(of, at::kInt).to(query_places.device());
    return {heads, int64_t(queries.size()), int64_t(keys.size()), longest(queries), longest(keys), query_places, key_places, looks, distances};
  }
};

struct Attend : torch::autograd::Function<Attend> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const Maybe &distances, const Sequences &s,
                            const Maybe &query_places, const Maybe &key_places) {
    auto rows = q.contiguous(), key = k.contiguous(), value = v.contiguous(), by = or_none(distances);
    s.save(ctx);
    if (!query_places) {
      ctx->save_for_backward({rows, key, value, by});
      return loops::attend(s.looped(by), rows, key, value);
    }
    at::Tensor log;
    auto y = gpu::attend(s.placed(*query_places, *key_places, by), rows, key, value, &log);
    ctx->save_for_backward({rows, key, value, by, *query_places, *key_places, y, log});
    return y;
  }
  static variable_list backward(AutogradContext *ctx, const variable_list &outs) {
    auto saved = ctx->get_saved_variables();
    auto s = Sequences::saved(ctx);
    auto g = outs[0].contiguous();
    at::Tensor dq, dk, dv;
    if (saved.size() > 4) {
      gpu::attend_back(s.placed(saved[4], saved[5], saved[3]), g, saved[0], saved[1], saved[2], saved[6], saved[7], &dq, &dk, &dv);
    } else {
      loops::attend_back(s.looped(saved[3]), g, saved[0], saved[1], saved[2], &dq, &dk, &dv);
    }
    return {dq, dk, dv, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor activated(const at::Tensor &h, int activation) {
  switch (activation) {
    case vl_gelu_new: return at::gelu(h, "tanh");
    case vl_silu: return at::silu(h);
    default: return at::relu(h);
  }
}

Maybe maybe(vl_tensor x) { return x ? std::make_optional(ref(x)) : std::nullopt; }

// check_attend looks at everything that the loops and kernels rely on.
void check_attend(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const Sequences &s, const Maybe &distances, const Maybe &query_places,
                  const Maybe &key_places) {
  auto sequences = texts_of(s.queries), texts = texts_of(s.keys);
  int64_t inner = q.size(-1), n = sequences.texts();
  auto known = [&](const at::Tensor &x) { return query_places ? gpu::has(x) : floats_on_cpu(x); };
  auto placed = [](const Maybe &places, const Texts &of) { return !places || places->numel() == of.texts() + 1 + of.tokens(); };
  TORCH_CHECK(known(q) && known(k) && known(v) && inner % s.heads == 0 && q.numel() == sequences.tokens() * inner && k.numel() == texts.tokens() * inner &&
                  v.numel() == k.numel() && (!s.of.empty() || n == texts.texts()),
              "attend: queries ", q.sizes(), " and keys ", k.sizes(), " of ", n, " sequences and ", texts.texts(), " texts");
  TORCH_CHECK(bool(query_places) == bool(key_places) && placed(query_places, sequences) && placed(key_places, texts), "attend: places do not fit their texts");
  for (auto text : s.of) TORCH_CHECK(text >= 0 && text < texts.texts(), "attend: a sequence looks at text ", text, " of ", texts.texts());
  TORCH_CHECK(!distances || (distances->device() == q.device() && distances->scalar_type() == at::kFloat && distances->is_contiguous() && distances->dim() == 2 &&
                             distances->size(0) == s.heads && !distances->requires_grad() &&
                             distances->size(1) >= 2 * std::max(sequences.longest, texts.longest) - 1),
              "attend: distances for texts of up to ", texts.longest);
}

}  // namespace

extern "C" {

vl_tensor vl_places(const int64_t *lengths, int texts, int device) {
  return guarded(
      [&]() -> vl_tensor {
        auto there = device < 0 ? c10::Device(at::kCPU) : c10::Device(at::kCUDA, device);
        return new at::Tensor(gpu::places({lengths, texts}, there));
      },
      nullptr);
}

vl_tensor vl_scale(vl_tensor x, vl_tensor l, const int64_t *lengths, int texts, vl_tensor places) {
  return guarded(
      [&]() -> vl_tensor {
        const auto &rows = ref(x), &vectors = ref(l);
        auto where = maybe(places);
        auto of = lengths_of(rows, vectors, lengths, texts, where);
        return new at::Tensor(fits(rows, vectors, lengths, where) ? Scale::apply(rows, vectors, of, where) : rows * vectors);
      },
      nullptr);
}

vl_tensor vl_gate(vl_tensor h, vl_tensor u, vl_tensor l, int activation, const int64_t *lengths, int texts, vl_tensor places) {
  return guarded(
      [&]() -> vl_tensor {
        const auto &gates = ref(h), &rows = ref(u);
        auto vectors = maybe(l), where = maybe(places);
        auto of = lengths_of(rows, or_none(vectors), lengths, texts, where);
        if (fits(rows, or_none(vectors), lengths, where) && gates.scalar_type() == rows.scalar_type() && gates.sizes() == rows.sizes()) {
          return new at::Tensor(Gate::apply(gates, rows, vectors, activation, of, where));
        }
        return new at::Tensor(activated(gates, activation) * (vectors ? rows * *vectors : rows));
      },
      nullptr);
}

vl_tensor vl_attend(vl_tensor q, vl_tensor k, vl_tensor v, int heads, const int64_t *queries, int n, const int64_t *keys, int texts,
                    const int64_t *of, vl_tensor distances, vl_tensor query_places, vl_tensor key_places) {
  return guarded(
      [&]() -> vl_tensor {
        Sequences s{heads, {queries, queries + n}, {keys, keys + texts}, of ? Lengths(of, of + n) : Lengths()};
        auto by = maybe(distances), sequences = maybe(query_places), seen = maybe(key_places);
        check_attend(ref(q), ref(k), ref(v), s, by, sequences, seen);
        return new at::Tensor(Attend::apply(ref(q), ref(k), ref(v), by, s, sequences, seen));
      },
      nullptr);
}

}  // extern "C"
