#include "native.h"

#include "attend.h"
#include "encoder.h"
#include "gpunorm.h"
#include "gpukernels.h"
#include "guard.h"
#include "noise.h"
#include "rows.h"
#include "share.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <cstring>
#include <dlfcn.h>
#include <malloc.h>
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/cuda.h>
#include <torch/version.h>

using valence::each;

namespace {

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

// gpu_linear is in weight^T, without what libtorch's own operator records on the way.
at::Tensor gpu_linear(const at::Tensor &in, const at::Tensor &weight) {
  auto shape = in.sizes().vec();
  shape.back() = weight.size(0);
  return at::mm(in.reshape({-1, in.size(-1)}), weight.t()).view(shape);
}

at::Tensor plain_linear(const at::Tensor &in, const at::Tensor &weight) { return valence::gpu::has(in) ? gpu_linear(in, weight) : onednn_linear(in, weight); }

// FrozenLinear is x W^T of a weight that is never learnt: nothing but the weight is kept for the way back, which multiplies
// by the same kernels as the way there.
struct FrozenLinear : torch::autograd::Function<FrozenLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &in, const at::Tensor &weight) {
    ctx->save_for_backward({weight});
    return plain_linear(in, weight);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx, const torch::autograd::variable_list &out) {
    return {plain_linear(out[0], ctx->get_saved_variables()[0].t()), at::Tensor()};
  }
};

struct RMSNorm : torch::autograd::Function<RMSNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &x, const at::Tensor &w, double eps) {
    auto in = x.contiguous();
    if (valence::gpu::has(in)) {
      ctx->save_for_backward({in, w});
      ctx->saved_data["eps"] = eps;
      auto y = at::empty_like(in);
      valence::gpu::norm(in, w, eps, y);
      return y;
    }
    auto out = at::empty_like(in);
    int64_t d = in.size(-1), n = in.numel() / d;
    auto roots = at::empty({n}, in.options());
    auto *root = roots.data_ptr<float>(), *y = out.data_ptr<float>();
    const auto *a = in.const_data_ptr<float>(), *g = w.const_data_ptr<float>();
    each(n, d, [&](int64_t i) { root[i] = row_norm(a + i * d, g, y + i * d, d, eps); });
    ctx->save_for_backward({in, w, roots});
    return out;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx, const torch::autograd::variable_list &outs) {
    auto saved = ctx->get_saved_variables();
    auto out = outs[0].contiguous();
    auto in = at::empty_like(out);
    if (saved.size() == 2) {
      valence::gpu::norm_back(out, saved[0], saved[1], ctx->saved_data["eps"].toDouble(), at::Tensor(), in);
      return {in, at::Tensor(), at::Tensor()};
    }
    int64_t d = out.size(-1), n = out.numel() / d;
    auto *dx = in.data_ptr<float>();
    const auto *g = out.const_data_ptr<float>(), *x = saved[0].const_data_ptr<float>(), *w = saved[1].const_data_ptr<float>(),
               *root = saved[2].const_data_ptr<float>();
    each(n, d, [&](int64_t i) { row_norm_back(g + i * d, x + i * d, w, root[i], dx + i * d, d); });
    return {in, at::Tensor(), at::Tensor()};
  }
};

at::Tensor rms_norm(const at::Tensor &x, const at::Tensor &w, double eps) {
  if (floats_on_cpu(x) && floats_on_cpu(w) && w.is_contiguous()) return RMSNorm::apply(x, w, eps);
  if (valence::gpu::norms(x, w)) return RMSNorm::apply(x, w, eps);
  if (!x.is_cpu() && x.scalar_type() == w.scalar_type()) return at::rms_norm(x, w.sizes(), w, eps);  // one kernel there
  auto wide = x.to(at::kFloat);
  auto scaled = wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps);
  return scaled.to(w.scalar_type()) * w;
}

// attention_on_cpu does not depend on the other rows, nor on masked keys after the others: libtorch's kernel sums in another order
// when a batch is longer.
at::Tensor attention_on_cpu(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const std::optional<at::Tensor> &bias) {
  int64_t rows = q.size(0), heads = q.size(1), n = q.size(2), width = q.size(3), keys = k.size(2);
  auto mask = bias ? bias->expand({rows, heads, n, keys}) : at::Tensor();
  if (mask.defined() && keys > 1 && mask.stride(3) != 1) mask = mask.contiguous();
  auto out = at::empty({rows, n, heads, width}, q.options());
  auto *y = out.data_ptr<float>();
  auto at = [](const at::Tensor &t, int64_t row, int64_t head) {
    return t.defined() ? t.const_data_ptr<float>() + row * t.stride(0) + head * t.stride(1) : nullptr;
  };
  valence::each_with(valence::attend_scratch(keys, width), rows * heads, n * keys * width / 2, [&](int64_t i, float *room) {
    int64_t row = i / heads, head = i % heads;
    valence::attend({n, keys, width, at(q, row, head), q.stride(2), at(mask, row, head), mask.defined() ? mask.stride(2) : 0,
                     y + (row * n * heads + head) * width, heads * width},
                    at(k, row, head), at(v, row, head), k.stride(2), room);
  });
  return out.transpose(1, 2);
}

at::Tensor attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const std::optional<at::Tensor> &bias) {
  bool learning = at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad());
  bool plain = floats_on_cpu(q) && floats_on_cpu(k) && floats_on_cpu(v) && q.stride(3) == 1 && k.stride(3) == 1 && v.stride(3) == 1 &&
               k.stride(2) == v.stride(2) && (!bias || floats_on_cpu(*bias));
  if (plain && !learning) return attention_on_cpu(q, k, v, bias);
  return at::scaled_dot_product_attention(q, k, v, bias, /*dropout_p=*/0.0, /*is_causal=*/false, /*scale=*/1.0);
}

// gelu_tanh in float32 on a CPU gives an element the same bits wherever it stands.
at::Tensor gelu_tanh(const at::Tensor &x) {
  if (!floats_on_cpu(x) || (at::GradMode::is_enabled() && x.requires_grad())) return at::gelu(x, "tanh");
  auto in = x.contiguous(), out = at::empty_like(in);
  int64_t d = in.size(-1), n = in.numel() / d;
  each(n, 4 * d, [&](int64_t i) {
    row_activate(vl_gelu_new, in.const_data_ptr<float>() + i * d, nullptr, nullptr, nullptr, out.data_ptr<float>() + i * d, d);
  });
  return out;
}

// hash is valence::hashed of each of some numbers, in place.
void hash(at::Tensor &x) {
  for (int64_t odd : {int64_t(0xbf58476d1ce4e5b9), int64_t(0x94d049bb133111eb)}) {
    // A signed shift repeats the sign, which is masked away: it would cancel the sign itself.
    x.bitwise_xor_(x.bitwise_right_shift(at::Scalar(int64_t(31))).bitwise_and_(at::Scalar((int64_t(1) << 33) - 1)));
    x.mul_(at::Scalar(odd));
  }
}

// places is [1, a, b, ...]: numbers for the elements of a row [a, b, ...] by where they stand, whatever its sizes.
constexpr int64_t kPlaces = valence::kPlaces;

at::Tensor places(at::IntArrayRef row, const at::TensorOptions &options) {
  auto at = at::zeros({1}, options);
  for (int64_t size : row) {
    TORCH_CHECK(size <= kPlaces, "dropout: a dimension of ", size, " elements; at most ", kPlaces, " are supported");
    at = at.unsqueeze(-1) * kPlaces + at::arange(size, options);
  }
  return at;
}

at::Tensor alias(const void *data, size_t size, at::IntArrayRef sizes, at::ScalarType kind) {
  TORCH_CHECK(c10::multiply_integers(sizes) * c10::elementSize(kind) == size, "upload: data of ", size, " bytes for shape ", sizes);
  return at::from_blob(const_cast<void *>(data), sizes, at::TensorOptions(kind));
}

// The largest copy to a device that goes by way of page-locked memory, which libtorch keeps for the next one.
constexpr size_t kStaged = 16 << 20;

// staged is data on its way to a device. From page-locked memory a copy is queued and not waited for, so that the host can
// go on to queue what reads it; libtorch uses the memory again when the copy is done.
at::Tensor staged(const void *data, size_t size, at::IntArrayRef sizes, at::ScalarType kind) {
  auto here = alias(data, size, sizes, kind);
  if (size > kStaged) return here;
  auto locked = at::empty(sizes, at::TensorOptions(kind).pinned_memory(true));
  std::memcpy(locked.mutable_data_ptr(), data, size);
  return locked;
}

// What one pass frees the next one asks for: given back to the system in between, pages are zeroed and mapped again, 2 to 4 % of the time
// of large batches and of lessons. So the process keeps up to 128 MB that are free, in one heap, as others give back what is theirs in large
// parts. Pieces above 64 MB are the system's at once.
const bool kept = [] {
#if defined(__GLIBC__)
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 128 << 20);
#endif
  return true;
}();

}  // namespace

extern "C" {

void vl_set_threads(int n) { at::set_num_threads(n); }
int vl_threads(void) { return at::get_num_threads(); }
void vl_seed(uint64_t seed) { at::manual_seed(seed); }
void vl_grad_mode(int enabled) { at::GradMode::set_enabled(enabled != 0); }
const char *vl_version(void) { return TORCH_VERSION; }

const char *vl_load_cuda(void) {
  if (!dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL)) return dlerror();
  // cuDNN compiles an attention for each shape that it meets, and texts come in all shapes.
  at::globalContext().setSDPUseCuDNN(false);
  at::globalContext().setAllowBF16ReductionCuBLAS(/*allow_reduced_precision=*/false);  // parts of a product add up in float32
  return nullptr;
}

int vl_cuda_count(void) {
  return guarded([] { return static_cast<int>(torch::cuda::device_count()); }, -1);
}

vl_tensor vl_upload(const void *data, size_t size, const int64_t *shape, int dims, int kind, int to, int device) {
  return guarded(
      [&]() -> vl_tensor {
        at::IntArrayRef sizes(shape, size_t(dims));
        if (device < 0) return new at::Tensor(alias(data, size, sizes, at::ScalarType(kind)).to(at::ScalarType(to), /*non_blocking=*/false, /*copy=*/true));
        auto there = at::TensorOptions(at::ScalarType(kind)).device(at::kCUDA, device);
        return new at::Tensor(staged(data, size, sizes, at::ScalarType(kind)).to(there, /*non_blocking=*/size <= kStaged).to(at::ScalarType(to)));
      },
      nullptr);
}

vl_tensor vl_alias(const void *data, size_t size, const int64_t *shape, int dims, int kind) {
  return guarded([&]() -> vl_tensor { return new at::Tensor(alias(data, size, {shape, size_t(dims)}, at::ScalarType(kind))); }, nullptr);
}

int vl_write(vl_tensor dst, const void *data, size_t size) {
  return guarded(
      [&] {
        auto &to = ref(dst);
        if (to.is_cpu()) {
          to.copy_(alias(data, size, to.sizes(), to.scalar_type()));
        } else {
          to.copy_(staged(data, size, to.sizes(), to.scalar_type()), /*non_blocking=*/size <= kStaged);
        }
        return 0;
      },
      -1);
}

vl_tensor vl_rms_norm(vl_tensor x, vl_tensor w, double eps) {
  return guarded([&]() -> vl_tensor { return new at::Tensor(rms_norm(ref(x), ref(w), eps)); }, nullptr);
}

vl_tensor vl_gelu_tanh(vl_tensor x) {
  return guarded([&]() -> vl_tensor { return new at::Tensor(gelu_tanh(ref(x))); }, nullptr);
}

vl_tensor vl_linear(vl_tensor x, vl_tensor w) {
  return guarded(
      [&]() -> vl_tensor {
        const at::Tensor &in = ref(x), &weight = ref(w);
        bool gradients = at::GradMode::is_enabled() && in.requires_grad();
        if (gradients && !weight.requires_grad() && valence::gpu::has(in)) return new at::Tensor(FrozenLinear::apply(in, weight));
        if (weight.requires_grad() || !in.is_cpu() || in.scalar_type() != at::kFloat || in.numel() < kBlock * in.size(-1)) {
          return new at::Tensor(at::linear(in, weight));
        }
        return new at::Tensor(gradients ? FrozenLinear::apply(in, weight) : onednn_linear(in, weight));
      },
      nullptr);
}

vl_tensor vl_attention(vl_tensor q, vl_tensor k, vl_tensor v, vl_tensor bias) {
  return guarded(
      [&]() -> vl_tensor {
        auto mask = bias ? std::make_optional(ref(bias)) : std::nullopt;
        return new at::Tensor(attention(ref(q), ref(k), ref(v), mask));
      },
      nullptr);
}

vl_tensor vl_leaf(vl_tensor x) {
  return guarded([&]() -> vl_tensor { return new at::Tensor(ref(x).detach().requires_grad_(true)); }, nullptr);
}

int vl_grad(const vl_tensor *of, const vl_tensor *along, int n, const vl_tensor *to, int m, vl_tensor *out) {
  return guarded(
      [&] {
        torch::autograd::variable_list roots, directions, leaves;
        for (int i = 0; i < n; i++) {
          roots.push_back(ref(of[i]));
          directions.push_back(ref(along[i]));
        }
        for (int i = 0; i < m; i++) leaves.push_back(ref(to[i]));
        auto grads = torch::autograd::grad(roots, leaves, directions, /*retain_graph=*/false, /*create_graph=*/false);
        for (int i = 0; i < m; i++) out[i] = new at::Tensor(grads[i]);
        return 0;
      },
      -1);
}

vl_tensor vl_dropout(vl_tensor x, vl_tensor keys, int64_t salt, double rate) {
  return guarded(
      [&]() -> vl_tensor {
        const at::Tensor &in = ref(x);
        TORCH_CHECK(in.dim() > 1 && rate > 0 && rate < 1, "dropout: rate ", rate, " of a tensor of ", in.dim(), " dimensions");
        std::vector<int64_t> rows(in.dim(), 1);
        rows[0] = in.size(0);
        auto seeds = ref(keys) + salt;
        hash(seeds);
        auto random = places(in.sizes().slice(1), seeds.options()) + seeds.view(rows);
        hash(random);
        return new at::Tensor(in * random.ge(at::Scalar(valence::least_kept(rate))).to(in.scalar_type()).mul_(1 / (1 - rate)));
      },
      nullptr);
}

}  // extern "C"
