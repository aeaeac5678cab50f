#include "native.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <dlfcn.h>
#include <torch/torch.h>
#include <torch/version.h>

// Defined by gotch's torch_api.h; strings in it are malloc'ed.
extern thread_local char *torch_last_err;

namespace {

template <class F>
auto guarded(F f, decltype(f()) failed) -> decltype(f()) {
  try {
    return f();
  } catch (const std::exception &e) {
    free(torch_last_err);
    torch_last_err = strdup(e.what());
    return failed;
  }
}

// Rows of the smallest block that goes to oneDNN, and of the largest.
constexpr int64_t kBlock = 64, kLargest = 4096;

// onednn_linear is in weight^T, in blocks whose numbers of rows are powers of two, and what remains by MKL. oneDNN compiles
// and keeps code for every shape that it meets: with the sizes of batches as they come memory would grow for a long time.
at::Tensor onednn_linear(const at::Tensor &in, const at::Tensor &weight) {
  static const auto multiply = c10::Dispatcher::singleton()
                                   .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
                                   .typed<at::Tensor(const at::Tensor &, const at::Tensor &, const std::optional<at::Tensor> &,
                                                     std::string_view, c10::List<std::optional<at::Scalar>>,
                                                     std::optional<std::string_view>)>();
  auto shape = in.sizes().vec();
  shape.back() = weight.size(0);
  auto rows = in.reshape({-1, in.size(-1)}).contiguous();
  auto out = at::empty({rows.size(0), weight.size(0)}, in.options());
  int64_t at = 0;
  for (int64_t size = kLargest; size >= kBlock; size /= 2) {
    for (; out.size(0) - at >= size; at += size) {
      out.narrow(0, at, size).copy_(
          multiply.call(rows.narrow(0, at, size), weight, std::nullopt, "none", c10::List<std::optional<at::Scalar>>(), std::nullopt));
    }
  }
  if (at < out.size(0)) {
    auto rest = out.narrow(0, at, out.size(0) - at);
    at::mm_out(rest, rows.narrow(0, at, out.size(0) - at), weight.t());
  }
  return out.view(shape);
}

at::Tensor &ref(vl_tensor t) { return *static_cast<at::Tensor *>(t); }

}  // namespace

extern "C" {

void vl_set_threads(int n) { at::set_num_threads(n); }
int vl_threads(void) { return at::get_num_threads(); }
void vl_seed(uint64_t seed) { torch::manual_seed(seed); }
void vl_grad_mode(int enabled) { at::GradMode::set_enabled(enabled != 0); }
const char *vl_version(void) { return TORCH_VERSION; }

const char *vl_load_cuda(void) {
  return dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) ? nullptr : dlerror();
}

int vl_cuda_count(void) {
  return guarded([] { return static_cast<int>(torch::cuda::device_count()); }, -1);
}

vl_tensor vl_upload(const void *data, size_t size, const int64_t *shape, int dims, int kind, int to, int device) {
  return guarded(
      [&]() -> vl_tensor {
        auto from = at::ScalarType(kind);
        at::IntArrayRef sizes(shape, dims);
        TORCH_CHECK(c10::multiply_integers(sizes) * c10::elementSize(from) == size, "upload: data of ", size,
                    " bytes for shape ", sizes);
        auto there = at::TensorOptions(at::ScalarType(to)).device(device < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, device));
        auto blob = at::from_blob(const_cast<void *>(data), sizes, at::TensorOptions(from));
        return new at::Tensor(blob.to(there, /*non_blocking=*/false, /*copy=*/true));
      },
      nullptr);
}

vl_tensor vl_rms_norm(vl_tensor x, vl_tensor w, double eps) {
  return guarded(
      [&]() -> vl_tensor {
        const at::Tensor &in = ref(x), &weight = ref(w);
        auto wide = in.to(at::kFloat);
        auto scaled = wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps);
        return new at::Tensor(scaled.to(weight.scalar_type()) * weight);
      },
      nullptr);
}

vl_tensor vl_gelu_tanh(vl_tensor x) {
  return guarded([&]() -> vl_tensor { return new at::Tensor(at::gelu(ref(x), "tanh")); }, nullptr);
}

vl_tensor vl_linear(vl_tensor x, vl_tensor w) {
  return guarded(
      [&]() -> vl_tensor {
        const at::Tensor &in = ref(x), &weight = ref(w);
        bool gradients = at::GradMode::is_enabled() && (in.requires_grad() || weight.requires_grad());
        if (gradients || !in.is_cpu() || in.scalar_type() != at::kFloat || in.numel() < kBlock * in.size(-1)) {
          return new at::Tensor(at::linear(in, weight));
        }
        return new at::Tensor(onednn_linear(in, weight));
      },
      nullptr);
}

vl_tensor vl_attention(vl_tensor q, vl_tensor k, vl_tensor v, vl_tensor bias) {
  return guarded(
      [&]() -> vl_tensor {
        auto mask = bias ? std::make_optional(ref(bias)) : std::nullopt;
        return new at::Tensor(at::scaled_dot_product_attention(ref(q), ref(k), ref(v), mask, /*dropout_p=*/0.0,
                                                               /*is_causal=*/false, /*scale=*/1.0));
      },
      nullptr);
}

}  // extern "C"
