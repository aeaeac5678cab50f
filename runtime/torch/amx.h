// Products by AMX's tiles of 16 rows by 64 bytes, over the panels of the AVX-512 kernels, whose layout is that of its tiles, too.
#ifndef VALENCE_TORCH_AMX_H
#define VALENCE_TORCH_AMX_H

#include <cstdint>

namespace valence {

// amx_allowed asks the system for the tiles, once, and tells whether they can be used.
bool amx_allowed();

// As Kernel::block, of panels of 64 columns by groups of two bfloat16 or four bytes.
void block_amx_bfloat16(const char *a, int64_t stride, const char *panel, int64_t groups, int64_t rows, float *c);
void block_amx_int8(const char *a, int64_t stride, const char *panel, int64_t groups, int64_t rows, float *c);

}  // namespace valence

#endif
