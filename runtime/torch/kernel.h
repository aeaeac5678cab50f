// The innermost loops of products with frozen weights, for what the processor can do.
#ifndef VALENCE_TORCH_KERNEL_H
#define VALENCE_TORCH_KERNEL_H

#include <cstdint>

namespace valence {

// Format is how weights are kept, and rows: in float32, but for bfloat16, whose rows are rounded likewise where the processor
// multiplies such, and int8. A wide one has rows that are not rounded, or to 16 bits in place of 8.
enum class Format { float32, bfloat16, float16, int8, wide_bfloat16, wide_int8 };

// kPanel is how many outputs stand side by side in a panel, kBlock how many rows at most meet it at a time.
constexpr int64_t kPanel = 64, kBlock = 48;

// in_panels is how many panels n outputs fill, and in_blocks how many blocks n rows.
inline int64_t in_panels(int64_t n) { return (n + kPanel - 1) / kPanel; }
inline int64_t in_blocks(int64_t n) { return (n + kBlock - 1) / kBlock; }

// Kernel multiplies rows by panels, for one format and one kind of processor. A row holds groups of numbers that one
// instruction multiplies and adds up; what a row gives does not depend on the rows beside it.
struct Kernel {
  int64_t columns;        // outputs that stand side by side in a part of a panel
  int64_t group;          // numbers of a row in a group
  int64_t row, weight;    // bytes of one number of a row, and of a weight
  bool levels;            // rows and weights are integers with a scale each
  int64_t planes;         // a row is the sum of so many rows of levels, each finer than the one before
  Format format;          // of weights
  // prepare turns in numbers at x, times those at l unless it is null, into a row of groups at a, filled up with zeros. With
  // levels it writes the size of a level of each plane to steps; the planes lie stride bytes apart.
  void (*prepare)(const float *x, const float *l, char *a, int64_t stride, int64_t in, int64_t groups, float *steps);
  // block multiplies rows of stride bytes by a panel [kPanel / columns][groups][columns][group]: c [rows, kPanel], floats, or 32-bit integers with levels.
  void (*block)(const char *a, int64_t stride, const char *panel, int64_t groups, int64_t rows, float *c);
  int64_t pad = 0;  // bytes between rows
};

// kernel is the fastest one that this processor has for a format, or null where it has none and oneDNN must do.
const Kernel *kernel(Format format);

// fast_bfloat16 tells whether the processor has products of bfloat16.
bool fast_bfloat16();

}  // namespace valence

#endif
