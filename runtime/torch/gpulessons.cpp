#include "gpulessons.h"

#include <algorithm>
#include <tuple>

#include <ATen/ops/from_blob.h>

#include "noise.h"

namespace valence::gpu {
namespace {

constexpr std::size_t kMostKnown = 64;

auto all_of(const Form &f) { return std::tie(f.tokens, f.texts, f.longest, f.sequences, f.length, f.width, f.dropout, f.learns, f.looks, f.columns); }

}  // namespace

bool Form::operator==(const Form &other) const { return all_of(*this) == all_of(other); }

Given given(const Form &form, const int *p) {
  auto next = [&](int64_t n) { return (p += n) - n; };
  Given in;
  if (form.dropout > 0) {
    in.noise.keys = reinterpret_cast<const uint64_t *>(next(2 * form.texts));
    in.noise.least = least_kept(form.dropout), in.noise.by = kept_by(form.dropout);
  }
  in.texts = {form.tokens, form.texts, form.longest};
  in.texts.ids = next(form.tokens), in.texts.start = next(form.texts + 1), in.texts.rows = next(form.tokens);
  int64_t all = form.sequences * form.length;
  in.sequences = {all, form.sequences, form.length};
  in.sequences.ids = next(all), in.sequences.start = next(form.sequences + 1), in.sequences.rows = next(all);
  if (form.looks) in.seen = p;
  in.learns = form.learns;
  return in;
}

int64_t numbers_of(const Form &f) { return (f.dropout > 0 ? 2 * f.texts : 0) + 2 * f.tokens + f.texts + 1 + 2 * f.sequences * f.length + f.sequences + 1 + (f.looks ? f.sequences : 0); }

Lessons::Lessons(const Weights &w) : w(w), pool(at::TensorOptions(device_of(w.device))) {}

Pool *Lessons::lend() {
  if (lent || !pool.idle()) return nullptr;
  lent = true;
  return &pool;
}

Known &Lessons::find(const Form &form) {
  auto at = std::find_if(known.begin(), known.end(), [&](const Known &k) { return k.form == form; });
  if (at != known.end()) {
    known.splice(known.begin(), known, at);
    return known.front();
  }
  if (known.size() >= kMostKnown) known.pop_back();
  known.emplace_front();
  known.front().form = form;
  return known.front();
}

int64_t Lessons::count() const {
  return std::count_if(known.begin(), known.end(), [](const Known &k) { return bool(k.there); });
}

namespace {

// place is a tensor's, which it does not own.
at::Tensor place(const at::Tensor &t) {
  if (!t.defined()) return t;
  return at::for_blob(data(t), t.sizes()).options(t.options()).target_device(t.device()).make_tensor();
}

}  // namespace

Held Lessons::hold(const Form &form, bool fixed) {
  pool.begin(fixed);
  auto floats = [&] { return pool.take({form.texts, form.width}, at::kFloat); };
  Held held{pool.take({numbers_of(form)}, at::kInt), floats(), {}, {}};
  if (form.learns) held.slope = pool.take({form.sequences * form.length, w.d}, at::kBFloat16), held.taught = floats();
  return held;
}

void Lessons::record(Known &k, const Weights &placed, const at::Tensor &encoder_distances, const at::Tensor &decoder_distances) {
  if (!why.empty()) return;
  try {
    {
      auto held = hold(k.form, /*fixed=*/true);
      k.at = {place(held.numbers), place(held.vectors), place(held.slope), place(held.taught)};
    }
    k.at.numbers.zero_();  // where recording is emulated it runs, on texts without tokens
    auto in = given(k.form, k.at.numbers.const_data_ptr<int>());
    in.vectors = k.at.vectors, in.encoder_distances = encoder_distances, in.decoder_distances = decoder_distances;
    k.layers = std::make_unique<Layers>(placed, in, &pool);
    queue(k);
  } catch (const std::exception &e) {  // lessons do not need records
    k.layers.reset();
    why = e.what();
  }
}

void Lessons::queue(Known &k) {
  auto &layers = *k.layers;
  auto held = std::make_shared<Held>();  // from the way there to the way back
  auto end = [held, &layers] {
    layers.end();
    *held = Held();
  };
  auto before = allocations(w.device);
  auto there = std::make_unique<Record>(w.device, [this, held, end, &k, &layers] {
    *held = hold(k.form, /*fixed=*/true);
    TORCH_CHECK(data(held->numbers) == data(k.at.numbers), "gpu: a lesson has another place than the one before");
    layers.begin();
    while (layers.there() > 0) {
    }
    k.stream = place(layers.stream());
    if (!k.form.learns) end();
  });
  std::unique_ptr<Record> back;
  if (k.form.learns) {
    back = std::make_unique<Record>(w.device, [end, &k, &layers] {
      layers.along(k.at.slope, k.at.taught);
      while (layers.back() > 0) {
      }
      end();
    });
  }
  // What libtorch allocates is given to others afterwards, while a replay still writes there.
  TORCH_CHECK(allocations(w.device) == before, "gpu: an operator allocated memory while a lesson was recorded");
  k.there = std::move(there), k.back = std::move(back), k.end = end;
}

}  // namespace valence::gpu
