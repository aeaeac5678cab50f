#include "product.h"

#include "pages.h"
#include "rows.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cstring>

namespace valence {

namespace {

constexpr float kZero = 128;  // of a row with levels
constexpr int64_t kMostPlanes = 2;

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

// Tile is a part of a weight: outputs of one panel by inputs that are outputs of a panel of the turned weight.
using Tile = float[kPanel][kPanel];

// lane is where in a panel output j's numbers begin, and apart how far its groups are from one another.
int64_t lane(const Panels &p, int64_t j) { return (j / p.kernel.columns * p.groups * p.kernel.columns + j % p.kernel.columns) * p.kernel.group; }
int64_t apart(const Panels &p) { return p.kernel.columns * p.kernel.group; }

// read_tile reads inputs from first on, some of them, of a panel.
template <class T>
void read_tile(const Panels &p, int64_t panel, int64_t first, int64_t some, Tile &tile) {
  int64_t group = p.kernel.group;
  const T *from = static_cast<const T *>(p.data.const_data_ptr()) + panel * p.groups * kPanel * group;
  for (int64_t j = 0; j < p.width(panel); j++) {
    float scale = p.scales.empty() ? 1 : p.scales[panel * kPanel + j];
    const T *of = from + lane(p, j) + first / group * apart(p);
    for (int64_t i = 0; i < some; of += apart(p)) {
      for (int64_t end = std::min(i + group, some), r = 0; i < end; i++, r++) tile[j][i] = static_cast<float>(of[r]) * scale;
    }
  }
}

// write_tile writes the tile as inputs from first on, some of them, of a panel of the turned weight.
template <class T>
void write_tile(const Panels &p, int64_t panel, int64_t first, int64_t some, const Tile &tile) {
  int64_t group = p.kernel.group;
  T *to = static_cast<T *>(p.data.data_ptr()) + panel * p.groups * kPanel * group;
  for (int64_t j = 0; j < p.width(panel); j++) {
    T *of = to + lane(p, j) + first / group * apart(p);
    for (int64_t i = 0; i < some; of += apart(p)) {
      for (int64_t end = std::min(i + group, some), r = 0; i < end; i++, r++) of[r] = static_cast<T>(tile[i][j]);
    }
  }
}

at::ScalarType type(Format f) {
  switch (f) {
    case Format::bfloat16:
    case Format::wide_bfloat16: return at::kBFloat16;
    case Format::float16: return at::kHalf;
    case Format::int8:
    case Format::wide_int8: return at::kChar;
    default: return at::kFloat;
  }
}

}  // namespace

Panels::Panels(int64_t out, int64_t in, const Kernel &kernel)
    : Packed(out, in, 0), kernel(kernel), panels(in_panels(out)), groups((in + kernel.group - 1) / kernel.group) {
  if (kernel.levels) {
    scales.resize(out);
    sums.resize(out);
  }
  bytes = length() * kernel.weight;
}

// Where there are levels, a number is a byte.
int64_t Panels::length() const { return numbers() + scales.size() * sizeof(float) + sums.size() * sizeof(int32_t); }

Panels::Panels(int64_t out, int64_t in, const Kernel &kernel, const void *at, size_t size) : Panels(out, in, kernel) {
  TORCH_CHECK(size == static_cast<size_t>(bytes), "pack: ", size, " bytes for a weight of ", bytes);
  data = at::from_blob(const_cast<void *>(at), {length()}, at::TensorOptions(type(kernel.format)));
  if (!kernel.levels) return;
  const auto *tail = static_cast<const int8_t *>(at) + numbers();
  std::memcpy(scales.data(), tail, out * sizeof(float));
  std::memcpy(sums.data(), tail + out * sizeof(float), out * sizeof(int32_t));
}

void Panels::settle() {
  auto moved = large_pages(data.sizes(), data.scalar_type());
  std::memcpy(moved.data_ptr(), data.const_data_ptr(), data.nbytes());
  data = moved;
}

Panels::Panels(const at::Tensor &weight, const Kernel &kernel) : Panels(weight.size(0), weight.size(1), kernel) {
  data = large_pages({length()}, type(kernel.format));
  auto w = weight.contiguous();
  at::parallel_for(0, panels, 1, [&](int64_t from, int64_t to) {  // operators within it know that they are not alone
    for (int64_t i = from; i < to; i++) fill(i, w.narrow(0, i * kPanel, width(i)));
  });
  if (!kernel.levels) return;
  auto *tail = data.data_ptr<int8_t>() + numbers();
  std::memcpy(tail, scales.data(), out * sizeof(float));
  std::memcpy(tail + out * sizeof(float), sums.data(), out * sizeof(int32_t));
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

Panels::Panels(const Panels &of, Turned) : Panels(of.in, of.out, of.kernel.levels ? *valence::kernel(Format::bfloat16) : of.kernel) {
  data = large_pages({length()}, type(kernel.format));
  each(panels, kPanel * in, [&](int64_t panel) {
    Tile tile;
    for (int64_t other = 0; other < of.panels; other++) {
      int64_t first = panel * kPanel, some = width(panel);
      switch (of.data.scalar_type()) {
        case at::kFloat: read_tile<float>(of, other, first, some, tile); break;
        case at::kChar: read_tile<int8_t>(of, other, first, some, tile); break;
        case at::kHalf: read_tile<at::Half>(of, other, first, some, tile); break;
        default: read_tile<at::BFloat16>(of, other, first, some, tile); break;
      }
      switch (data.scalar_type()) {
        case at::kFloat: write_tile<float>(*this, panel, other * kPanel, of.width(other), tile); break;
        case at::kHalf: write_tile<at::Half>(*this, panel, other * kPanel, of.width(other), tile); break;
        default: write_tile<at::BFloat16>(*this, panel, other * kPanel, of.width(other), tile); break;
      }
    }
  });
}

void Panels::block(const char *a, const float *steps, int64_t rows, int64_t panel, float *c) const {
  auto size = kPanel * kernel.group * kernel.weight;
  const auto *weights = static_cast<const char *>(data.const_data_ptr()) + panel * groups * size;
  int64_t first = panel * kPanel, planes = kernel.planes;
  float all[kMostPlanes * kBlock * kPanel], *made = planes == 1 ? c : all;
  kernel.block(a, plane_bytes(), weights, groups, rows * planes, made);
  if (!kernel.levels) return;
  rows_whole(made, rows * planes, kPanel, &sums[first], &scales[first], steps, width(panel));
  if (planes == 1) return;
  for (int64_t i = 0; i < rows; i++) {
    std::copy_n(made + i * planes * kPanel, kPanel, c + i * kPanel);
    for (int64_t j = 1; j < planes; j++) row_add(made + (i * planes + j) * kPanel, nullptr, c + i * kPanel, kPanel);
  }
}

Rows::Rows(const Panels &w, int64_t n)
    : stride(w.row_bytes()), planes(w.kernel.planes), data(at::empty({n * stride}, at::kByte)), steps(at::empty({n * planes}, at::kFloat)) {}

at::Tensor Panels::multiply(const at::Tensor &rows) const {
  int64_t n = rows.size(0), blocks = in_blocks(n);
  auto result = at::empty({n, out}, rows.options());
  const auto *x = rows.const_data_ptr<float>();
  auto *y = result.data_ptr<float>();
  Rows a(*this, n);
  each(n, in, [&](int64_t i) { a.set(*this, i, x + i * in, nullptr); });
  each(panels * blocks, in * kPanel, [&](int64_t task) {
    float c[kBlock * kPanel];
    int64_t panel = task / blocks, first = task % blocks * kBlock, some = std::min(kBlock, n - first);
    float *to = y + first * out + panel * kPanel;
    for (int64_t i = 0; i < some; i++) fetch(to + i * out);
    block(a.at(first), a.step(first), some, panel, c);
    for (int64_t i = 0; i < some; i++) std::memcpy(to + i * out, c + i * kPanel, width(panel) * sizeof(float));
  });
  return result;
}

at::Tensor Panels::across(const at::Tensor &rows) const {
  if (!turned) turned.reset(new Panels(*this, Turned()));
  return turned->multiply(rows);
}

}  // namespace valence
