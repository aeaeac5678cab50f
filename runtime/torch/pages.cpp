#include "pages.h"

#include <ATen/ops/from_blob.h>
#include <c10/util/accumulate.h>
#include <sys/mman.h>

#include <memory>
#include <mutex>

namespace valence {
namespace {

constexpr size_t kPage = 2 << 20, kChunk = 64 << 20, kLine = 64;

// Chunk is memory that tensors are cut from, one after the other. It is given back when the last of them is gone.
struct Chunk {
  char *mapped, *next, *end;
  size_t size;

  explicit Chunk(size_t need) : size(std::max(kChunk, (need + kPage - 1) / kPage * kPage) + kPage) {
    auto *p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TORCH_CHECK(p != MAP_FAILED, "out of memory: ", size, " bytes for weights");
    mapped = static_cast<char *>(p);
    end = mapped + size;
    next = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(mapped) + kPage - 1) / kPage * kPage);
    madvise(next, end - next, MADV_HUGEPAGE);  // a wish: without it everything works, slower
  }
  ~Chunk() { munmap(mapped, size); }
  Chunk(const Chunk &) = delete;

  char *take(size_t bytes) {
    bytes = (bytes + kLine - 1) / kLine * kLine;
    if (static_cast<size_t>(end - next) < bytes) return nullptr;
    auto *p = next;
    next += bytes;
    return p;
  }
};

}  // namespace

at::Tensor large_pages(at::IntArrayRef sizes, at::ScalarType type) {
  static std::mutex one;
  static std::weak_ptr<Chunk> last;
  auto bytes = static_cast<size_t>(c10::multiply_integers(sizes)) * c10::elementSize(type);
  std::lock_guard<std::mutex> guard(one);
  auto chunk = last.lock();
  auto *p = chunk ? chunk->take(bytes) : nullptr;
  if (!p) {
    last = chunk = std::make_shared<Chunk>(bytes);
    p = chunk->take(bytes);
  }
  return at::from_blob(p, sizes, [chunk](void *) {}, at::TensorOptions(type));
}

}  // namespace valence
