#include "gpujoined.h"

#include <algorithm>

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

namespace valence::gpu {
namespace {

bool any(const std::vector<Scales> &by, int64_t Scales::*which) {
  return std::any_of(by.begin(), by.end(), [=](const Scales &s) { return s.*which >= 0; });
}

}  // namespace

at::Tensor Products::room(at::IntArrayRef sizes, at::ScalarType type) const {
  return pool ? pool->take(sizes, type) : at::empty(sizes, vectors.options().dtype(type));
}

Vectors Products::by(int64_t column) const {
  if (column < 0) return {};
  return {vectors.const_data_ptr<float>() + column, vectors.stride(0)};
}

void Products::scale(const Tokens &t, const Columns &from, const Columns &to, int64_t column, int64_t size) const {
  kernels.run(Kernel::kScale, {t.all}, threads(size), from.x, from.step, to.x, to.step, by(column), t.rows, 1, int(size));
}

void Products::scale_back(const Tokens &t, const Columns &d, const Columns &x, int64_t column, int64_t size) const {
  kernels.run(Kernel::kScaleBack, {blocks(size, kStrip), t.texts}, kStripThreads, d.x, d.step, x.x, x.step, by(column), t.start, d.x, slopes(column), taught.stride(0), int(size));
}

Joined Products::joined(const Tokens &t, const at::Tensor &h, const at::Tensor &weight, std::vector<Scales> by) const {
  Joined j{weight, std::move(by), {}, room({t.all, weight.size(0)}), {}};
  int64_t size = j.size(), in = weight.size(1);
  if (!any(j.by, &Scales::in)) {
    at::mm_out(j.made, h, weight.t());
  } else {
    j.from = h;
    for (size_t i = 0; i < j.by.size(); i++) {
      auto from = h, to = j.made.narrow(1, i * size, size);
      if (j.by[i].in >= 0) scale(t, part(h, 0, in), part(from = room(h.sizes()), 0, in), j.by[i].in, in);
      at::mm_out(to, from, weight.narrow(0, i * size, size).t());
    }
  }
  if (!any(j.by, &Scales::out)) return j;
  j.scaled = room(j.made.sizes());
  for (size_t i = 0; i < j.by.size(); i++) {
    if (j.by[i].out >= 0) scale(t, part(j.made, i, size), j.part(i), j.by[i].out, size);
  }
  return j;
}

at::Tensor Products::joined_back(const Tokens &t, const Joined &j, const at::Tensor &d, at::Tensor to) const {
  int64_t size = j.size(), in = j.weight.size(1);
  for (size_t i = 0; i < j.by.size(); i++) {
    if (j.by[i].out >= 0) scale_back(t, part(d, i, size), part(j.made, i, size), j.by[i].out, size);
  }
  auto add = [&](const at::Tensor &d, const at::Tensor &weight) {
    if (to.defined()) {
      to.addmm_(d, weight);
    } else {
      at::mm_out(to = room({t.all, in}), d, weight);
    }
  };
  if (!j.from.defined()) {
    add(d, j.weight);
    return to;
  }
  for (size_t i = 0; i < j.by.size(); i++) {
    auto mine = d.narrow(1, i * size, size), weight = j.weight.narrow(0, i * size, size);
    if (j.by[i].in < 0) {
      add(mine, weight);
      continue;
    }
    auto one = room({t.all, in});
    at::mm_out(one, mine, weight);
    scale_back(t, part(one, 0, in), part(j.from, 0, in), j.by[i].in, in);
    to = to.defined() ? to.add_(one) : one;
  }
  return to;
}

}  // namespace valence::gpu
