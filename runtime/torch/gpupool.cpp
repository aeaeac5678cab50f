#include "gpupool.h"

#include <algorithm>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "gpukernels.h"

namespace valence::gpu {
namespace {

constexpr int64_t kAligned = 256, kPiece = 64 << 20;

}  // namespace

void Pool::begin(bool fixed) {
  TORCH_CHECK(idle(), "gpu: ", live, " tensors of the last work are left");
  this->fixed = fixed;
  free.clear();
  piece = at = 0;
}

void *Pool::find(int64_t size) {
  auto &left = free[size];
  if (!left.empty()) {
    auto *last = left.back();
    left.pop_back();
    return last;
  }
  while (piece < pieces.size() && at + size > pieces[piece].numel()) piece++, at = 0;
  if (piece == pieces.size()) {
    TORCH_CHECK(!fixed, "gpu: work that is recorded needs more memory than it did");
    pieces.push_back(at::empty({std::max(size, kPiece)}, options.dtype(at::kByte)));
  }
  at += size;
  return static_cast<char *>(data(pieces[piece])) + at - size;
}

at::Tensor Pool::take(at::IntArrayRef sizes, at::ScalarType type) {
  int64_t size = blocks(c10::multiply_integers(sizes) * int64_t(c10::elementSize(type)), kAligned) * kAligned;
  auto *mine = find(size);
  live++;
  return at::for_blob(mine, sizes)
      .options(options.dtype(type))
      .target_device(options.device())
      .deleter([this, size](void *left) {
        free[size].push_back(left);
        live--;
      })
      .make_tensor();
}

}  // namespace valence::gpu
