#include "gpugrads.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "gpukernels.h"

namespace valence::gpu {
namespace {

const Kernels &kernels(const at::Tensor &x) { return Kernels::any(index_of(x)); }

// vectors are the rows of l, of which one may be for all.
Vectors vectors(const at::Tensor &l) {
  if (!l.defined()) return {};
  return {l.const_data_ptr<float>(), l.size(0) == 1 ? 0 : l.stride(0)};
}

const int *start(const at::Tensor &places) { return places.const_data_ptr<int>(); }

// Columns of a block that sums tokens, and its threads: kStrip and kWarps of learn.cu.
constexpr int64_t kStrip = 256;
constexpr unsigned kStripThreads = 256;

// sums is room for the sums over each text's tokens, and gives them as l has them afterwards.
at::Tensor sums(const at::Tensor &l, int64_t texts) { return at::empty({texts, 1, l.size(2)}, l.options()); }
at::Tensor like(const at::Tensor &l, const at::Tensor &sums) { return l.size(0) == sums.size(0) ? sums : sums.sum(0, /*keepdim=*/true); }

}  // namespace

bool norms(const at::Tensor &x, const at::Tensor &w) { return has(x) && has(w) && w.is_contiguous() && x.size(-1) % 8 == 0; }

at::Tensor norm(const at::Tensor &x, const at::Tensor &w, double eps) {
  int64_t d = x.size(-1), rows = x.numel() / d;
  auto y = at::empty_like(x);
  kernels(x).run(Kernel::kNorm, {blocks(rows, 4)}, 128, data(x), data(w), data(y), int(rows), int(d), float(eps));
  return y;
}

at::Tensor norm_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &w, double eps) {
  int64_t d = x.size(-1), rows = x.numel() / d;
  auto dx = at::empty_like(x);
  kernels(x).run(Kernel::kNormBack, {blocks(rows, 4)}, 128, data(g), data(x), data(w), data(dx), int(rows), int(d), float(eps));
  return dx;
}

at::Tensor places(const Texts &texts, c10::Device device) {
  int64_t size = texts.texts() + 1 + texts.tokens();
  auto here = at::empty({size}, at::TensorOptions(at::kInt).pinned_memory(device.is_cuda()));
  auto *p = here.data_ptr<int>();
  p = std::copy(texts.start.begin(), texts.start.end(), p);
  std::copy(texts.of.begin(), texts.of.end(), p);
  return here.to(device, /*non_blocking=*/true);
}

bool scales(const at::Tensor &x, const at::Tensor &l) {
  auto aligned = [](int64_t n) { return n % 4 == 0; };  // floats
  return has(x) && x.dim() == 3 && x.size(0) == 1 && x.size(2) % 8 == 0 &&
         (!l.defined() || (l.device() == x.device() && l.scalar_type() == at::kFloat && l.dim() == 3 && l.size(1) == 1 && l.size(2) == x.size(2) && l.stride(2) == 1 &&
                           aligned(l.stride(0)) && aligned(l.storage_offset())));
}

at::Tensor scale(const at::Tensor &x, const at::Tensor &l, const at::Tensor &places, int64_t texts) {
  int64_t d = x.size(2);
  auto y = at::empty_like(x);
  const int *of = start(places) + texts + 1;
  kernels(x).run(Kernel::kScale, {x.size(1)}, threads(d), data(x), d, data(y), d, vectors(l), of, 1, int(d));
  return y;
}

void scale_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &l, const at::Tensor &places, int64_t texts, at::Tensor *dx, at::Tensor *dl) {
  int64_t d = x.size(2);
  *dx = at::empty_like(x);
  auto sum = sums(l, texts);
  kernels(x).run(Kernel::kScaleBack, {blocks(d, kStrip), texts}, kStripThreads, data(g), data(x), vectors(l), start(places), data(*dx), data(sum), int(d));
  *dl = like(l, sum);
}

at::Tensor gate(const at::Tensor &h, const at::Tensor &u, const at::Tensor &l, int activation, const at::Tensor &places, int64_t texts) {
  int64_t d = u.size(2);
  auto y = at::empty_like(u);
  const int *of = start(places) + texts + 1;
  kernels(u).run(Kernel::kGate, {u.size(1)}, threads(d), data(h), data(u), d, activation, vectors(l), of, data(y), int(d));
  return y;
}

void gate_back(const at::Tensor &g, const at::Tensor &h, const at::Tensor &u, const at::Tensor &l, int activation, const at::Tensor &places, int64_t texts,
               at::Tensor *dh, at::Tensor *du, at::Tensor *dl) {
  int64_t d = u.size(2);
  *dh = at::empty_like(h);
  *du = at::empty_like(u);
  auto sum = l.defined() ? sums(l, texts) : at::Tensor();
  kernels(u).run(Kernel::kGateBack, {blocks(d, kStrip), texts}, kStripThreads, data(g), data(h), data(u), activation, vectors(l), start(places), data(*dh), data(*du),
                 l.defined() ? data(sum) : nullptr, int(d));
  if (l.defined()) *dl = like(l, sum);
}

namespace {

Attention attention(const Looks &looks, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &y, const at::Tensor &log) {
  int64_t inner = q.size(-1);
  Attention a{data(q), data(k), data(v), inner, inner, {}};
  a.start = start(looks.queries), a.keys = start(looks.keys);
  a.of = looks.of.defined() ? looks.of.const_data_ptr<int>() : nullptr;
  if (looks.distances.defined()) a.distances = looks.distances.const_data_ptr<float>(), a.reach = int(looks.distances.size(1) / 2);
  a.sequences = int(looks.sequences);
  a.y = data(y), a.inner = inner, a.log = log.data_ptr<float>();
  return a;
}

const Kernels &kernels_for(const Looks &looks, const at::Tensor &q) { return Kernels::of(index_of(q), q.size(-1) / looks.heads); }

}  // namespace

at::Tensor attend(const Looks &looks, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, at::Tensor *log) {
  auto y = at::empty_like(q);
  *log = at::empty({looks.heads, q.numel() / q.size(-1)}, q.options().dtype(at::kFloat));
  kernels_for(looks, q).attend(Kernel::kAttend, looks.longest_sequence, looks.heads, looks.sequences, attention(looks, q, k, v, y, *log));
  return y;
}

void attend_back(const Looks &looks, const at::Tensor &g, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &y,
                 const at::Tensor &log, at::Tensor *dq, at::Tensor *dk, at::Tensor *dv) {
  *dq = at::empty_like(q), *dk = at::empty_like(k), *dv = at::empty_like(v);
  auto along = at::empty_like(log);
  AttentionBack b{attention(looks, q, k, v, y, log), data(g), along.data_ptr<float>(), data(*dq), data(*dk), data(*dv)};
  const auto &kernels = kernels_for(looks, q);
  kernels.attend(Kernel::kAttendQueries, looks.longest_sequence, looks.heads, looks.sequences, b);
  kernels.attend(Kernel::kAttendKeys, looks.longest_text, looks.heads, looks.texts, b);
}

}  // namespace valence::gpu
