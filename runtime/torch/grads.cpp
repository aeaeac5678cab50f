#include "grads.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "encoder.h"
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
Lengths lengths_of(const at::Tensor &x, const at::Tensor &l, const int64_t *lengths, int texts) {
  if (l.defined() && l.size(0) == 1) return {x.size(0) * x.size(1)};
  if (lengths) return {lengths, lengths + texts};
  return Lengths(x.size(0), x.size(1));
}

// looped tells whether our loops can do it. Texts end to end are for them alone.
bool looped(const at::Tensor &x, const at::Tensor &l, const int64_t *lengths) {
  bool ours = floats_on_cpu(x) && x.dim() == 3 && x.size(1) > 0 &&
              (!l.defined() || (floats_on_cpu(l) && l.dim() == 3 && l.size(1) == 1 && l.size(2) == x.size(2)));
  TORCH_CHECK(!lengths || (ours && x.size(0) == 1), "texts end to end: tokens ", x.sizes(), " of ", x.scalar_type(), " on ", x.device());
  return ours;
}

void check(const Texts &texts, const at::Tensor &x, const at::Tensor &l) {
  TORCH_CHECK(texts.tokens() * x.size(-1) == x.numel() && (!l.defined() || l.size(0) == texts.texts()), "texts: ", texts.texts(), " of ", texts.tokens(),
              " tokens for tokens ", x.sizes(), " and vectors ", l.defined() ? l.sizes() : at::IntArrayRef());
}

// Dropout is a vl_noise as autograd has it.
struct Dropout {
  Maybe keys;
  int64_t salt = 0;
  double rate = 0;
  explicit Dropout(const vl_noise &from) : keys(from.keys ? Maybe(ref(from.keys)) : std::nullopt), salt(from.salt), rate(from.rate) {}
  explicit Dropout(AutogradContext *ctx) : salt(ctx->saved_data["dropout_salt"].toInt()), rate(ctx->saved_data["dropout_rate"].toDouble()) {
    auto kept = ctx->saved_data["dropout_keys"];
    if (kept.isTensor()) keys = kept.toTensor();
  }
  void save(AutogradContext *ctx) const {
    ctx->saved_data["dropout_keys"] = keys ? c10::IValue(*keys) : c10::IValue();
    ctx->saved_data["dropout_salt"] = salt;
    ctx->saved_data["dropout_rate"] = rate;
  }
  void check(int64_t rows, int64_t longest) const {
    if (!keys) return;
    TORCH_CHECK(keys->is_cpu() && keys->scalar_type() == at::kLong && keys->is_contiguous() && keys->numel() == rows && rate > 0 && rate < 1 && longest <= int64_t(kPlaces),
                "dropout: rate ", rate, " with keys ", keys->sizes(), " for ", rows, " rows of up to ", longest);
  }
  std::vector<Noise> noise() const {
    std::vector<Noise> all;
    for (int64_t i = 0; keys && i < keys->numel(); i++) all.emplace_back(uint64_t(keys->const_data_ptr<int64_t>()[i]), uint64_t(salt), rate);
    return all;
  }
};

at::Tensor or_none(const Maybe &x) { return x.value_or(at::Tensor()); }

struct Scale : torch::autograd::Function<Scale> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &x, const at::Tensor &l, const Lengths &lengths) {
    auto texts = texts_of(lengths);
    auto rows = x.contiguous(), vectors = l.contiguous();
    check(texts, rows, vectors);
    ctx->save_for_backward({rows, vectors});
    ctx->saved_data["lengths"] = lengths;
    return loops::scale(rows, vectors, texts);
  }
  static variable_list backward(AutogradContext *ctx, const variable_list &outs) {
    auto saved = ctx->get_saved_variables();
    at::Tensor dx, dl;
    loops::scale_back(outs[0].contiguous(), saved[0], saved[1], saved_texts(ctx), &dx, &dl);
    return {dx, dl, at::Tensor()};
  }
};

struct Gate : torch::autograd::Function<Gate> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &h, const at::Tensor &u, const Maybe &l, int64_t activation, const Lengths &lengths) {
    auto texts = texts_of(lengths);
    auto gates = h.contiguous(), rows = u.contiguous(), vectors = l ? l->contiguous() : at::Tensor();
    check(texts, rows, vectors);
    ctx->save_for_backward({gates, rows, vectors});
    ctx->saved_data["lengths"] = lengths;
    ctx->saved_data["activation"] = activation;
    return loops::gate(gates, rows, vectors, activation, texts);
  }
  static variable_list backward(AutogradContext *ctx, const variable_list &outs) {
    auto saved = ctx->get_saved_variables();
    auto activation = int(ctx->saved_data["activation"].toInt());
    at::Tensor dh, du, dl;
    loops::gate_back(outs[0].contiguous(), saved[0], saved[1], saved[2], activation, saved_texts(ctx), &dh, &du, &dl);
    return {dh, du, dl, at::Tensor(), at::Tensor()};
  }
};

struct Drop : torch::autograd::Function<Drop> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &x, const Dropout &dropout, const Lengths &lengths) {
    dropout.save(ctx);
    ctx->saved_data["lengths"] = lengths;
    return loops::drop(x.contiguous(), dropout.noise(), texts_of(lengths));
  }
  static variable_list backward(AutogradContext *ctx, const variable_list &outs) {
    return {loops::drop(outs[0].contiguous(), Dropout(ctx).noise(), saved_texts(ctx)), at::Tensor(), at::Tensor()};
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
  loops::Looks looks(const at::Tensor &distances, const Dropout &dropout) const {
    Lengths each = of;
    for (size_t i = each.size(); i < queries.size(); i++) each.push_back(int64_t(i));
    return {texts_of(queries), texts_of(keys), each, heads, distances, dropout.noise()};
  }
};

struct Attend : torch::autograd::Function<Attend> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const Maybe &distances, const Sequences &s,
                            const Dropout &dropout) {
    auto rows = q.contiguous(), key = k.contiguous(), value = v.contiguous(), by = or_none(distances);
    s.save(ctx);
    dropout.save(ctx);
    ctx->save_for_backward({rows, key, value, by});
    return loops::attend(s.looks(by, dropout), rows, key, value);
  }
  static variable_list backward(AutogradContext *ctx, const variable_list &outs) {
    auto saved = ctx->get_saved_variables();
    at::Tensor dq, dk, dv;
    loops::attend_back(Sequences::saved(ctx).looks(saved[3], Dropout(ctx)), outs[0].contiguous(), saved[0], saved[1], saved[2], &dq, &dk, &dv);
    return {dq, dk, dv, at::Tensor(), at::Tensor(), at::Tensor()};
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

// check_attend looks at everything that the loops rely on.
void check_attend(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const Sequences &s, const Maybe &distances) {
  auto sequences = texts_of(s.queries), texts = texts_of(s.keys);
  int64_t inner = q.size(-1), n = sequences.texts();
  TORCH_CHECK(floats_on_cpu(q) && floats_on_cpu(k) && floats_on_cpu(v) && inner % s.heads == 0 && q.numel() == sequences.tokens() * inner &&
                  k.numel() == texts.tokens() * inner && v.numel() == k.numel() && (!s.of.empty() || n == texts.texts()),
              "attend: queries ", q.sizes(), " and keys ", k.sizes(), " of ", n, " sequences and ", texts.texts(), " texts");
  for (auto text : s.of) TORCH_CHECK(text >= 0 && text < texts.texts(), "attend: a sequence looks at text ", text, " of ", texts.texts());
  TORCH_CHECK(!distances || (floats_on_cpu(*distances) && distances->is_contiguous() && distances->dim() == 2 && distances->size(0) == s.heads && !distances->requires_grad() &&
                             distances->size(1) >= 2 * std::max(sequences.longest, texts.longest) - 1),
              "attend: distances for texts of up to ", texts.longest);
}

}  // namespace

extern "C" {

vl_tensor vl_scale(vl_tensor x, vl_tensor l, const int64_t *lengths, int texts) {
  return guarded(
      [&]() -> vl_tensor {
        const auto &rows = ref(x), &vectors = ref(l);
        return new at::Tensor(looped(rows, vectors, lengths) ? Scale::apply(rows, vectors, lengths_of(rows, vectors, lengths, texts)) : rows * vectors);
      },
      nullptr);
}

vl_tensor vl_gate(vl_tensor h, vl_tensor u, vl_tensor l, int activation, const int64_t *lengths, int texts) {
  return guarded(
      [&]() -> vl_tensor {
        const auto &gates = ref(h), &rows = ref(u);
        auto vectors = maybe(l);
        if (looped(rows, or_none(vectors), lengths) && floats_on_cpu(gates) && gates.sizes() == rows.sizes()) {
          return new at::Tensor(Gate::apply(gates, rows, vectors, activation, lengths_of(rows, or_none(vectors), lengths, texts)));
        }
        return new at::Tensor(activated(gates, activation) * (vectors ? rows * *vectors : rows));
      },
      nullptr);
}

vl_tensor vl_drop(vl_tensor x, vl_noise noise, const int64_t *lengths, int texts) {
  return guarded(
      [&]() -> vl_tensor {
        const auto &rows = ref(x);
        Lengths of(lengths, lengths + texts);
        Dropout dropout(noise);
        TORCH_CHECK(looped(rows, at::Tensor(), lengths) && dropout.keys, "dropout: no texts or no keys");
        check(texts_of(of), rows, at::Tensor());
        dropout.check(texts, std::max(texts_of(of).longest, rows.size(2)));
        return new at::Tensor(Drop::apply(rows, dropout, of));
      },
      nullptr);
}

vl_tensor vl_attend(vl_tensor q, vl_tensor k, vl_tensor v, int heads, const int64_t *queries, int n, const int64_t *keys, int texts,
                    const int64_t *of, vl_tensor distances, vl_noise noise) {
  return guarded(
      [&]() -> vl_tensor {
        Sequences s{heads, {queries, queries + n}, {keys, keys + texts}, of ? Lengths(of, of + n) : Lengths()};
        auto by = maybe(distances);
        Dropout dropout(noise);
        check_attend(ref(q), ref(k), ref(v), s, by);
        dropout.check(n, std::max(texts_of(s.queries).longest, texts_of(s.keys).longest));
        return new at::Tensor(Attend::apply(ref(q), ref(k), ref(v), by, s, dropout));
      },
      nullptr);
}

}  // extern "C"
