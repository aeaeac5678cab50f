#include "packed.h"

#include "guard.h"
#include "product.h"
#include "rows.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

using namespace valence;

namespace {

using Scalars = c10::List<std::optional<at::Scalar>>;

// oneDNN compiles and keeps code for every number of rows that it meets. kStep rounds small ones up and kLargest cuts large
// ones, so that few numbers are met however batches come.
constexpr int64_t kStep = 8, kSmall = 64, kLargest = 4096;

// next_block is the rows that the next product takes of n that are left, and those that it is filled up to.
std::pair<int64_t, int64_t> next_block(int64_t n) {
  if (n == 1) return {1, 1};
  if (n < kSmall) return {n, (n + kStep - 1) / kStep * kStep};
  int64_t size = kLargest;
  while (size > n) size /= 2;
  return {size, size};
}

// by_blocks is f(rows), which multiplies rows [n, in], by blocks of few sizes: [n, out] float32.
template <class F>
at::Tensor by_blocks(const at::Tensor &rows, int64_t out, F f) {
  int64_t n = rows.size(0);
  if (next_block(n) == std::pair{n, n}) return f(rows).to(at::kFloat);
  auto result = at::empty({n, out}, rows.options().dtype(at::kFloat));
  for (int64_t at = 0; at < n;) {
    auto [take, size] = next_block(n - at);
    auto part = rows.narrow(0, at, take);
    if (size > take) {
      auto filled = at::zeros({size, rows.size(1)}, rows.options());
      filled.narrow(0, 0, take).copy_(part);
      part = filled;
    }
    result.narrow(0, at, take).copy_(f(part).narrow(0, 0, take));
    at += take;
  }
  return result;
}

// Dense is a weight for oneDNN, with the weight itself for the way back.
struct Dense : Packed {
  at::Tensor dense;
  Dense(const at::Tensor &weight, int64_t size)
      : Packed(weight.size(0), weight.size(1), weight.numel() * (size + 2)), dense(weight.to(at::kBFloat16)) {}
  at::Tensor across(const at::Tensor &rows) const override { return at::matmul(rows.to(at::kBFloat16), dense).to(at::kFloat); }
};

struct BFloat16 final : Dense {
  at::Tensor w;
  explicit BFloat16(const at::Tensor &weight) : Dense(weight, 2) {
    static const auto reorder = c10::Dispatcher::singleton()
                                    .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
                                    .typed<at::Tensor(const at::Tensor &, std::optional<int64_t>)>();
    w = reorder.call(weight.to(at::kBFloat16).contiguous(), kSmall);
  }
  at::Tensor multiply(const at::Tensor &rows) const override {
    static const auto linear = c10::Dispatcher::singleton()
                                   .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
                                   .typed<at::Tensor(const at::Tensor &, const at::Tensor &, const std::optional<at::Tensor> &,
                                                     std::string_view, Scalars, std::optional<std::string_view>)>();
    return by_blocks(rows.to(at::kBFloat16), out,
                     [&](const at::Tensor &part) { return linear.call(part, w, std::nullopt, "none", Scalars(), std::nullopt); });
  }
};

// levels is the largest level on either side of zero. Without VNNI oneDNN adds pairs of products in 16 bits, which two full
// ones overflow: rows then have 7 bits (the "reduce_range" of PyTorch's quantisers).
int levels() {
  static const int n = __builtin_cpu_supports("avx512vnni") || __builtin_cpu_supports("avxvnni") ? 127 : 63;
  return n;
}

struct Int8 final : Dense {
  at::Tensor w, scales, zero;
  int planes;  // a row is the sum of so many rows of levels
  Int8(const at::Tensor &weight, int planes) : Dense(weight, 1), zero(at::zeros({1}, at::kLong)), planes(planes) {
    static const auto pack = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow("onednn::qlinear_prepack", "")
                                 .typed<at::Tensor(at::Tensor, std::optional<torch::List<int64_t>>)>();
    auto wide = weight.to(at::kFloat);
    auto largest = wide.abs().amax(1, /*keepdim=*/true).clamp_min(1e-30);
    scales = (largest / 127).flatten();
    w = pack.call((wide * (127 / largest)).round().to(at::kChar), std::nullopt);
  }
  at::Tensor multiply(const at::Tensor &rows) const override {
    auto left = planes > 1 ? rows.clone() : rows;
    auto result = plane(left, planes > 1);
    for (int i = 1; i < planes; i++) result += plane(left, i + 1 < planes);
    return result;
  }

 private:
  // plane is the product of rows of levels next to rows, and leaves there what they do not have, if it is wanted.
  at::Tensor plane(const at::Tensor &rows, bool rest) const {
    static const auto linear =
        c10::Dispatcher::singleton()
            .findSchemaOrThrow("onednn::qlinear_pointwise", "")
            .typed<at::Tensor(at::Tensor, double, int64_t, at::Tensor, at::Tensor, at::Tensor, std::optional<at::Tensor>, double,
                              int64_t, std::optional<at::ScalarType>, std::string_view, Scalars, std::string_view)>();
    int64_t n = rows.size(0);
    auto q = at::empty(rows.sizes(), rows.options().dtype(at::kByte));
    auto steps = at::empty({n, 1}, rows.options());
    const auto *x = rows.const_data_ptr<float>();
    auto *y = q.data_ptr<uint8_t>();
    auto *step = steps.data_ptr<float>();
    int top = levels();
    each(n, in, [&](int64_t i) { step[i] = row_levels(x + i * in, y + i * in, in, top); });
    if (rest) rows.sub_((q.to(at::kFloat) - (top + 1)) * steps);
    auto result = by_blocks(q, out, [&](const at::Tensor &part) {
      return linear.call(part, 1.0, top + 1, w, scales, zero, std::nullopt, 1.0, 0, at::kFloat, "none", Scalars(), "");
    });
    auto *z = result.data_ptr<float>();
    each(n, out, [&](int64_t i) { row_times(z + i * out, step[i], out); });
    return result;
  }
};

at::Tensor multiply(const at::Tensor &x, const Packed &p) {
  TORCH_CHECK(x.is_cpu() && x.scalar_type() == at::kFloat && x.size(-1) == p.in, "packed linear: rows of ", x.size(-1), " ",
              x.scalar_type(), " for a weight of ", p.in, " inputs");
  auto shape = x.sizes().vec();
  shape.back() = p.out;
  return p.multiply(x.reshape({-1, p.in}).contiguous()).view(shape);
}

// PackedLinear keeps nothing of its input: the weight is never learnt.
struct PackedLinear : torch::autograd::Function<PackedLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &x, int64_t packed) {
    ctx->saved_data["packed"] = packed;
    return multiply(x, *reinterpret_cast<const Packed *>(packed));
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx, const torch::autograd::variable_list &out) {
    const auto &p = *reinterpret_cast<const Packed *>(ctx->saved_data["packed"].toInt());
    auto shape = out[0].sizes().vec();
    shape.back() = p.in;
    return {p.across(out[0].reshape({-1, p.out}).contiguous()).view(shape), at::Tensor()};
  }
};

const Kernel *kernel_of(int format) {
  switch (format) {
    case vl_float32: return kernel(Format::float32);
    case vl_bfloat16: return kernel(Format::bfloat16);
    case vl_float16: return kernel(Format::float16);
    case vl_int8: return kernel(Format::int8);
    case vl_wide_bfloat16: return kernel(Format::wide_bfloat16);
    case vl_wide_int8: return kernel(Format::wide_int8);
  }
  TORCH_CHECK(false, "pack: no format ", format);
}

Packed *pack(const at::Tensor &w, int format) {
  TORCH_CHECK(w.is_cpu() && w.dim() == 2, "pack: a matrix on the CPU is needed");
  if (auto *k = kernel_of(format)) return new Panels(w, *k);
  if (format == vl_bfloat16) return new BFloat16(w);
  if (format == vl_int8) return new Int8(w, 1);
  if (format == vl_wide_int8) return new Int8(w, 2);
  TORCH_CHECK(false, "pack: format ", format, " needs a processor with AVX2");
}

}  // namespace

extern "C" {

vl_packed vl_pack(vl_tensor w, int format) {
  return guarded([&]() -> vl_packed { return pack(ref(w), format); }, nullptr);
}

vl_packed vl_pack_data(const void *data, int kind, int64_t out, int64_t in, int format) {
  return guarded(
      [&]() -> vl_packed {
        return pack(at::from_blob(const_cast<void *>(data), {out, in}, at::TensorOptions(at::ScalarType(kind))), format);
      },
      nullptr);
}

void vl_layout(int format, char *name, int size) {
  *name = 0;
  const Kernel *k = guarded([&] { return kernel_of(format); }, nullptr);
  // The first number goes up when the same kernels read another layout, or other weights beside these.
  if (k) snprintf(name, size, "2-%d-%dx%dx%d-%d%s", format, int(kPanel), int(k->columns), int(k->group), int(k->weight), k->levels ? "-levels" : "");
}

const void *vl_packed_data(vl_packed p) {
  auto *w = dynamic_cast<Panels *>(static_cast<Packed *>(p));
  return w ? w->data.const_data_ptr() : nullptr;
}

vl_packed vl_packed_at(const void *data, size_t size, int64_t out, int64_t in, int format) {
  return guarded(
      [&]() -> vl_packed {
        auto *k = kernel_of(format);
        TORCH_CHECK(k, "pack: this processor has no panels of format ", format);
        return static_cast<Packed *>(new Panels(out, in, *k, static_cast<const char *>(data), size));
      },
      nullptr);
}

int vl_settle(vl_packed p) {
  return guarded(
      [&] {
        if (auto *w = dynamic_cast<Panels *>(static_cast<Packed *>(p))) w->settle();
        return 0;
      },
      -1);
}

void vl_packed_free(vl_packed p) { delete static_cast<Packed *>(p); }

int64_t vl_packed_bytes(vl_packed p) { return static_cast<Packed *>(p)->bytes; }

int vl_can_pack(int format) {
  return guarded([&] { return format == vl_bfloat16 || format == vl_int8 || format == vl_wide_int8 || kernel_of(format) != nullptr ? 1 : 0; }, 0);
}

int vl_fast_bfloat16(void) { return fast_bfloat16(); }

vl_tensor vl_packed_linear(vl_tensor x, vl_packed p) {
  return guarded(
      [&]() -> vl_tensor {
        const at::Tensor &in = ref(x);
        if (!at::GradMode::is_enabled() || !in.requires_grad()) return new at::Tensor(multiply(in, *static_cast<Packed *>(p)));
        return new at::Tensor(PackedLinear::apply(in, reinterpret_cast<int64_t>(p)));
      },
      nullptr);
}

}  // extern "C"
