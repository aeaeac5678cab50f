// CUDA's driver, and the kernels of kernels.cu and learn.cu compiled for the GPU at hand: those of learn.cu when one is asked for first.
#ifndef VALENCE_TORCH_GPUKERNELS_H
#define VALENCE_TORCH_GPUKERNELS_H

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include <ATen/core/Tensor.h>

namespace valence::gpu {

enum class Kernel {
  kEmbed, kNorm, kScale, kGate, kAttend, kScores, kSum, kLogits,             // of kernels.cu
  kNormBack, kScaleBack, kDrop, kGateBack, kAttendQueries, kAttendKeys, kCount,  // of learn.cu
  kLearn = kNormBack
};

// Vectors, Noise and Attention are what the kernels take by these names. A bfloat16 is as good as any 16 bits here.
struct Vectors {
  const float *x = nullptr;
  int64_t step = 0;
  explicit operator bool() const { return x; }
};

struct Noise {
  const uint64_t *keys = nullptr;
  uint64_t salt = 0;
  int64_t least = 0;
  float by = 1;
  explicit operator bool() const { return keys; }
};

struct Attention {
  const void *q, *k, *v;
  int64_t q_step, kv_step;
  Vectors l[3];
  const int *slots, *start, *keys, *of;
  const float *distances;
  int reach, sequences;
  void *y;
  int64_t inner;
  float *log;
  Noise noise;
};

struct AttentionBack {
  Attention there;
  const void *g;
  float *along;
  void *dq, *dk, *dv;
  int64_t dq_step, dkv_step;
};

inline void *data(const at::Tensor &t) { return t.data_ptr(); }
inline int64_t blocks(int64_t all, int64_t each) { return (all + each - 1) / each; }

// Grid is a number of blocks in each direction.
struct Grid {
  int64_t x, y = 1, z = 1;
};

class Kernels {
 public:
  // of gives the kernels of a device for heads of a width, and compiles them the first time.
  static const Kernels &of(int device, int64_t width);
  // any gives those of a device for heads of whatever width, for what has none.
  static const Kernels &any(int device);

  // run queues a kernel on the calling thread's stream. There may be nothing to do.
  template <class... Args>
  void run(Kernel kernel, Grid grid, unsigned threads, Args... args) const {
    void *at[] = {&args...};
    if (grid.x * grid.y * grid.z > 0) launch(kernel, grid, threads, at);
  }

  // attend queues a kernel of an attention, whose blocks have up to 64 rows of the longest of n sequences or texts, by heads, and two
  // threads for each row.
  template <class Args>
  void attend(Kernel kernel, int64_t longest, int64_t heads, int64_t n, Args args) const {
    int64_t rows = 16 * std::min<int64_t>(4, blocks(longest, 16));
    run(kernel, {blocks(longest, rows), heads, n}, unsigned(2 * rows), args);
  }

  Kernels(int device, int64_t width);

 private:
  int device;
  int64_t width;
  mutable std::array<void *, std::size_t(Kernel::kCount)> functions{};
  mutable std::once_flag learns;
  void load(const std::string &source, Kernel first, Kernel end) const;
  void launch(Kernel kernel, Grid grid, unsigned threads, void **args) const;
};

// Record is what was queued once, to be queued again by one call. Where a GPU is emulated it is queue itself, which is called each time.
class Record {
 public:
  // Record records what queue queues on the calling thread's stream, and runs none of it.
  Record(int device, std::function<void()> queue);
  ~Record();
  Record(const Record &) = delete;
  Record &operator=(const Record &) = delete;
  void replay() const;

 private:
  int device;
  std::function<void()> again;
  void *graph = nullptr;
};

// allocations is how often libtorch has been asked for memory of a device.
int64_t allocations(int device);

// tokens_like is the least number that is at least n among those with at most three leading bits, or the multiples of 16 below 128:
// few enough that batches meet records of batches before them.
inline int64_t tokens_like(int64_t n) {
  int64_t step = 16;
  while (step * 8 < n) step *= 2;
  return blocks(n, step) * step;
}
inline int64_t power_like(int64_t n) {
  int64_t p = 1;
  while (p < n) p *= 2;
  return p;
}

// threads are as many as a block needs for a row of d numbers, by 8.
inline unsigned threads(int64_t d) { return unsigned(std::min<int64_t>(256, blocks(d, 256) * 32)); }

// sizes_fit tells whether the kernels can have states of d numbers, heads of a width and feed-forwards of ff.
inline bool sizes_fit(int64_t d, int64_t width, int64_t ff) { return d % 32 == 0 && width % 16 == 0 && width <= 128 && ff % 8 == 0; }
// capable tells whether a device can have the kernels: one of compute capability 8.0 or newer, whose matrix units have bfloat16, or the
// CPU where it emulates one.
bool capable(int device);
// use_stream has the calling thread queue on one of two streams of its own, among libtorch's: urgent work goes before other work, and
// neither waits for the other.
void use_stream(int device, bool urgent);
// stream is the calling thread's, or null where a GPU is emulated.
void *stream(int device);
// synchronize waits until a device has done all that was queued, on every stream.
void synchronize(int device);
// emulate has device -1, which is the CPU, run kernels as a shared library does that is for this, where there is no GPU to test
// on; without a path no more.
void emulate(const char *path);
// index_of is the number of a tensor's device.
inline int index_of(const at::Tensor &x) { return x.is_cuda() ? x.device().index() : -1; }
inline c10::Device device_of(int index) { return index < 0 ? c10::Device(at::kCPU) : c10::Device(at::kCUDA, index); }
// has tells whether the kernels can read a tensor.
inline bool has(const at::Tensor &x) { return x.scalar_type() == at::kBFloat16 && (x.is_cuda() || x.is_cpu()) && capable(index_of(x)); }
// keep_sources keeps the kernels' sources: what they share, and those of kernels.cu and of learn.cu.
void keep_sources(const std::string &common, const std::string &kernels, const std::string &learn);

}  // namespace valence::gpu

#endif
