#include "product.h"

#include "pages.h"

#include <ATen/ATen.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cmath>
#include <cstring>

namespace valence {

namespace {

constexpr float kZero = 128;  // of a row with levels

// walk calls f for each group of every output of a panel: the output's number in the panel, the group's number, and where its
// numbers begin in the panel.
template <class F>
void walk(const Panels &p, int64_t panel, F f) {
  int64_t columns = p.kernel.columns, group = p.kernel.group;
  for (int64_t j = 0; j < p.width(panel); j++) {
    int64_t at = (j / columns * p.groups * columns + j % columns) * group;
    for (int64_t k = 0; k < p.groups; k++, at += columns * group) f(j, k, at);
  }
}

// put lays the weights at w [out, in] into panels that hold zeros.
template <class T>
void put(const Panels &p, const T *w, T *to) {
  int64_t group = p.kernel.group;
  each(p.panels, p.in * kPanel, [&](int64_t panel) {
    T *into = to + panel * p.groups * kPanel * group;
    walk(p, panel, [&](int64_t j, int64_t k, int64_t at) {
      const T *row = w + (panel * kPanel + j) * p.in + k * group;
      for (int64_t i = 0; i < std::min(group, p.in - k * group); i++) into[at + i] = row[i];
    });
  });
}

// take is the inverse of put, in numbers as products see them.
template <class T>
void take(const Panels &p, const T *from, float *w) {
  int64_t group = p.kernel.group;
  each(p.panels, p.in * kPanel, [&](int64_t panel) {
    const T *of = from + panel * p.groups * kPanel * group;
    walk(p, panel, [&](int64_t j, int64_t k, int64_t at) {
      int64_t o = panel * kPanel + j;
      float scale = p.scales.empty() ? 1 : p.scales[o];
      for (int64_t i = 0; i < std::min(group, p.in - k * group); i++) w[o * p.in + k * group + i] = static_cast<float>(of[at + i]) * scale;
    });
  });
}

at::ScalarType type(Format f) {
  switch (f) {
    case Format::bfloat16: return at::kBFloat16;
    case Format::float16: return at::kHalf;
    case Format::int8: return at::kChar;
    default: return at::kFloat;
  }
}

}  // namespace

Panels::Panels(const at::Tensor &weight, const Kernel &kernel)
    : Packed(weight.size(0), weight.size(1), 0),
      kernel(kernel),
      panels((out + kPanel - 1) / kPanel),
      groups((in + kernel.group - 1) / kernel.group) {
  auto w = weight;
  if (kernel.levels) {
    auto wide = weight.to(at::kFloat);
    auto largest = wide.abs().amax(1, /*keepdim=*/true).clamp_min(1e-30);
    auto steps = (largest / 127).flatten().contiguous();
    w = (wide * (127 / largest)).round();
    auto zeros = (w.sum(1) * kZero).to(at::kInt).contiguous();
    scales.assign(steps.const_data_ptr<float>(), steps.const_data_ptr<float>() + out);
    sums.assign(zeros.const_data_ptr<int32_t>(), zeros.const_data_ptr<int32_t>() + out);
  }
  w = w.to(type(kernel.format)).contiguous();
  data = large_pages({panels * groups * kPanel * kernel.group}, w.scalar_type());
  switch (w.scalar_type()) {
    case at::kFloat: put(*this, w.const_data_ptr<float>(), data.data_ptr<float>()); break;
    case at::kChar: put(*this, w.const_data_ptr<int8_t>(), data.data_ptr<int8_t>()); break;
    default: put(*this, static_cast<const uint16_t *>(w.const_data_ptr()), static_cast<uint16_t *>(data.data_ptr())); break;
  }
  bytes = data.nbytes() + out * (kernel.levels ? 8 : 0);
}

at::Tensor Panels::dense() const {
  auto w = at::empty({out, in}, data.options().dtype(at::kFloat));
  auto *to = w.data_ptr<float>();
  switch (data.scalar_type()) {
    case at::kFloat: take(*this, data.const_data_ptr<float>(), to); break;
    case at::kChar: take(*this, data.const_data_ptr<int8_t>(), to); break;
    case at::kHalf: take(*this, data.const_data_ptr<at::Half>(), to); break;
    default: take(*this, data.const_data_ptr<at::BFloat16>(), to); break;
  }
  return w;
}

void Panels::block(const char *a, const float *steps, int64_t rows, int64_t panel, float *c) const {
  auto size = kPanel * kernel.group * kernel.weight;
  kernel.block(a, row_bytes(), static_cast<const char *>(data.const_data_ptr()) + panel * groups * size, groups, rows, c);
  if (!kernel.levels) return;
  int64_t n = width(panel), first = panel * kPanel;
  for (int64_t i = 0; i < rows; i++) {
    float *y = c + i * kPanel;
    for (int64_t j = 0; j < n; j++) {
      int32_t sum;
      std::memcpy(&sum, y + j, sizeof sum);
      y[j] = static_cast<float>(sum - sums[first + j]) * (steps[i] * scales[first + j]);
    }
  }
}

Rows::Rows(const Panels &w, int64_t n)
    : stride(w.row_bytes()), data(at::empty({n * stride}, at::kByte)), steps(at::empty({n}, at::kFloat)) {}

at::Tensor Panels::multiply(const at::Tensor &rows) const {
  int64_t n = rows.size(0), blocks = (n + kBlock - 1) / kBlock;
  auto result = at::empty({n, out}, rows.options());
  const auto *x = rows.const_data_ptr<float>();
  auto *y = result.data_ptr<float>();
  Rows a(*this, n);
  each(n, in, [&](int64_t i) { a.set(*this, i, x + i * in, nullptr); });
  each(panels * blocks, in * kPanel, [&](int64_t task) {
    float c[kBlock * kPanel];
    int64_t panel = task / blocks, first = task % blocks * kBlock, some = std::min(kBlock, n - first);
    block(a.at(first), a.step(first), some, panel, c);
    for (int64_t i = 0; i < some; i++) std::memcpy(y + (first + i) * out + panel * kPanel, c + i * kPanel, width(panel) * sizeof(float));
  });
  return result;
}

at::Tensor Panels::across(const at::Tensor &rows) const {
  if (!turned) {
    auto *back = &kernel;
    if (kernel.levels) back = valence::kernel(Format::bfloat16);  // gradients lose too much to 8 bits
    turned = std::make_unique<Panels>(dense().t(), *back);
  }
  return turned->multiply(rows);
}

}  // namespace valence
