// Memory of a GPU for one piece of work after the other, each of which is done with it before the next begins.
#ifndef VALENCE_TORCH_GPUPOOL_H
#define VALENCE_TORCH_GPUPOOL_H

#include <cstdint>
#include <map>
#include <vector>

#include <ATen/core/Tensor.h>

namespace valence::gpu {

// Pool gives tensors out of pieces of memory that it keeps: work that asks for the same in the same order gets it at the same places, as
// what is recorded must. What a tensor leaves is given again to the next of its size. The pool must outlive its tensors.
class Pool {
 public:
  explicit Pool(const at::TensorOptions &options) : options(options) {}
  Pool(const Pool &) = delete;
  Pool &operator=(const Pool &) = delete;
  at::Tensor take(at::IntArrayRef sizes, at::ScalarType type);
  // idle tells whether all that was taken has come back.
  bool idle() const { return live == 0; }
  // begin is before each piece of work. Where the pool is fixed it gets no more memory, and take throws where there is too little.
  void begin(bool fixed);

 private:
  at::TensorOptions options;
  std::vector<at::Tensor> pieces;
  std::size_t piece = 0;  // that is being given away, from at on
  int64_t at = 0, live = 0;
  bool fixed = false;
  std::map<int64_t, std::vector<void *>> free;  // by size
  void *find(int64_t size);
};

}  // namespace valence::gpu

#endif
