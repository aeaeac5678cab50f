// CUDA's driver, and the kernels of kernels.cu compiled for the GPU at hand.
#ifndef VALENCE_TORCH_GPUKERNELS_H
#define VALENCE_TORCH_GPUKERNELS_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace valence::gpu {

enum class Kernel { kEmbed, kNorm, kScale, kGate, kAttend, kScores, kSum, kLogits, kCount };

// Grid is a number of blocks in each direction.
struct Grid {
  int64_t x, y = 1, z = 1;
};

class Kernels {
 public:
  // of gives the kernels of a device for heads of a width, and compiles them the first time.
  static const Kernels &of(int device, int64_t width);

  // run queues a kernel on the calling thread's stream. There may be nothing to do.
  template <class... Args>
  void run(Kernel kernel, Grid grid, unsigned threads, Args... args) const {
    void *at[] = {&args...};
    if (grid.x * grid.y * grid.z > 0) launch(kernel, grid, threads, at);
  }

  Kernels(int device, int64_t width);

 private:
  int device;
  std::array<void *, std::size_t(Kernel::kCount)> functions{};
  void launch(Kernel kernel, Grid grid, unsigned threads, void **args) const;
};

// Record is what was queued once, to be queued again by one call.
class Record {
 public:
  // Record records what queue queues on the calling thread's stream, and runs none of it.
  Record(int device, const std::function<void()> &queue);
  ~Record();
  Record(const Record &) = delete;
  Record &operator=(const Record &) = delete;
  void replay() const;

 private:
  int device;
  void *graph = nullptr;
};

// sizes_fit tells whether the kernels can have states of d numbers, heads of a width and feed-forwards of ff.
inline bool sizes_fit(int64_t d, int64_t width, int64_t ff) { return d % 32 == 0 && width % 16 == 0 && width <= 128 && ff % 8 == 0; }
// capability is a device's compute capability, such as 90.
int capability(int device);
// own_stream gives the calling thread a stream of its own among libtorch's, unless it has one.
void own_stream(int device);
// keep_source keeps the kernels' source.
void keep_source(std::string source);

}  // namespace valence::gpu

#endif
