#include "product.h"

#include "pages.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
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

// put lays rows [width, groups], a group of numbers each, into a panel that holds zeros: a part of so many columns after the
// other, and of a part one group of each row after the other. It turns a line of the cache of each row at a time.
template <class Group>
void put(const Group *rows, int64_t width, int64_t groups, int64_t columns, Group *to) {
  constexpr int64_t kLine = 64 / sizeof(Group);
  for (; width > 0; width -= columns, rows += columns * groups, to += columns * groups) {
    for (int64_t k = 0; k < groups; k += kLine) {
      int64_t end = std::min(k + kLine, groups);
      for (int64_t j = 0; j < std::min(columns, width); j++) {
        for (int64_t i = k; i < end; i++) to[i * columns + j] = rows[j * groups + i];
      }
    }
  }
}

template <class Group>
void put(const Panels &p, int64_t panel, const void *rows) {
  auto *from = static_cast<const Group *>(rows);
  auto *to = static_cast<Group *>(p.data.data_ptr()) + panel * p.groups * kPanel;
  put(from, p.width(panel), p.groups, p.kernel.columns, to);
}

// take gives the weight [out, in] in numbers as products see them.
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
  if (kernel.levels) {
    scales.resize(out);
    sums.resize(out);
  }
  data = large_pages({panels * groups * kPanel * kernel.group}, type(kernel.format));
  auto w = weight.contiguous();
  at::parallel_for(0, panels, 1, [&](int64_t from, int64_t to) {  // operators within it know that they are not alone
    for (int64_t i = from; i < to; i++) fill(i, w.narrow(0, i * kPanel, width(i)));
  });
  bytes = data.nbytes() + out * (kernel.levels ? 8 : 0);
}

void Panels::fill(int64_t panel, at::Tensor w) {
  if (kernel.levels) {
    w = w.to(at::kFloat);
    auto largest = w.abs().amax(1, /*keepdim=*/true).clamp_min(1e-30);
    auto steps = (largest / 127).flatten().contiguous();
    w = (w * (127 / largest)).round();
    auto zeros = (w.sum(1) * kZero).to(at::kInt).contiguous();
    std::copy_n(steps.const_data_ptr<float>(), w.size(0), &scales[panel * kPanel]);
    std::copy_n(zeros.const_data_ptr<int32_t>(), w.size(0), &sums[panel * kPanel]);
  }
  w = w.to(data.scalar_type());
  if (int64_t rest = groups * kernel.group - in) w = at::constant_pad_nd(w, {0, rest});
  switch (kernel.group * kernel.weight) {
    case 2: return put<uint16_t>(*this, panel, w.const_data_ptr());
    case 4: return put<uint32_t>(*this, panel, w.const_data_ptr());
    default: TORCH_CHECK(false, "pack: no panels of ", kernel.group * kernel.weight, " bytes a group");
  }
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
