// Products of rows with frozen weights on the CPU. Nothing here depends on C's or Go's view of them (packed.h).
#ifndef VALENCE_TORCH_PRODUCT_H
#define VALENCE_TORCH_PRODUCT_H

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "kernel.h"
#include "share.h"

namespace valence {

// fetch asks for a panel's numbers of a row that a product will go to, while it is worked out: rows lie far apart.
inline void fetch(const float *to) {
  for (int64_t i = 0; i < kPanel; i += 64 / int64_t(sizeof(float))) __builtin_prefetch(to + i, 0, 2);
}

// Packed is a weight [out, in] laid out for one way of multiplying.
struct Packed {
  int64_t out, in, bytes;
  Packed(int64_t out, int64_t in, int64_t bytes) : out(out), in(in), bytes(bytes) {}
  virtual ~Packed() = default;
  // multiply is rows W^T: rows [n, in] float32 and contiguous, the result [n, out] float32.
  virtual at::Tensor multiply(const at::Tensor &rows) const = 0;
  // across is rows W: rows [n, out], the result [n, in], both float32 and contiguous.
  virtual at::Tensor across(const at::Tensor &rows) const = 0;
};

// Panels is a weight in panels of kPanel outputs, laid out as its kernel wants them.
struct Panels final : Packed {
  const Kernel &kernel;
  int64_t panels, groups;
  at::Tensor data;            // all of it: the panels, and after them scales and sums
  std::vector<float> scales;  // of each output, where the kernel has levels
  std::vector<int32_t> sums;  // of each output's weights times the zero of a row, where it has levels

  Panels(const at::Tensor &weight, const Kernel &kernel);
  // Panels is the weight whose data of so many bytes is at at, and stays there.
  Panels(int64_t out, int64_t in, const Kernel &kernel, const void *at, size_t size);
  at::Tensor multiply(const at::Tensor &rows) const override;
  at::Tensor across(const at::Tensor &rows) const override;

  // settle moves the data into large pages.
  void settle();
  int64_t plane_bytes() const { return groups * kernel.group * kernel.row + kernel.pad; }
  int64_t row_bytes() const { return kernel.planes * plane_bytes(); }
  int64_t width(int64_t panel) const { return std::min(kPanel, out - panel * kPanel); }
  // block is the product of up to kBlock prepared rows and one panel, c [rows, kPanel]; steps are what prepare wrote for them.
  void block(const char *a, const float *steps, int64_t rows, int64_t panel, float *c) const;

 private:
  struct Turned {};
  Panels(int64_t out, int64_t in, const Kernel &kernel);  // without data
  int64_t numbers() const { return panels * groups * kPanel * kernel.group; }  // of the panels
  int64_t length() const;  // of data, in numbers
  // Panels is the weight [in, out] of what of holds, as its products see it; in bfloat16 where it has levels, as gradients lose
  // too much to 8 bits.
  Panels(const Panels &of, Turned);
  void fill(int64_t panel, at::Tensor w);  // with w [width, in], rounded to what the panels hold
  mutable std::unique_ptr<Panels> turned;  // W^T, made for the first way back
};

// Rows are rows prepared for one kernel.
struct Rows {
  int64_t stride, planes;  // bytes from one to the next, and what each is a sum of
  at::Tensor data, steps;
  Rows(const Panels &w, int64_t n);
  char *at(int64_t i) const { return static_cast<char *>(data.data_ptr()) + i * stride; }
  float *step(int64_t i) const { return steps.data_ptr<float>() + i * planes; }
  // set prepares row i: x times l, where l is not null.
  void set(const Panels &w, int64_t i, const float *x, const float *l) const {
    w.kernel.prepare(x, l, at(i), w.plane_bytes(), w.in, w.groups, step(i));
  }
};

}  // namespace valence

#endif
