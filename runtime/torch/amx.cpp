#include "amx.h"

#if defined(__x86_64__)

#include <algorithm>
#include <cstring>

#include "kernel.h"

#ifndef VALENCE_EMULATE_AMX
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define AMX __attribute__((target("amx-tile,amx-bf16,amx-int8")))
#else
#define AMX
#endif
#define INLINE inline __attribute__((always_inline))

namespace valence {
namespace {

// A tile has up to 16 rows of 64 bytes: 16 groups of a row of a, or of 16 columns of a panel, or 16 sums.
constexpr int64_t kRows = 16, kBytes = 64, kGroup = 4;
// So many groups of a panel's columns are walked for all of them before the next, so that the rows' part stays in the L1 cache.
constexpr int64_t kGroups = 128;

// Config is how the tiles are cut, as LDTILECFG reads it. Tiles 0 to 3 have sums, 4 and 5 rows, 6 and 7 weights.
// Source: Intel's Software Developer's Manual, "LDTILECFG".
struct Config {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
  void cut(int tile, int64_t rows, int64_t bytes) {
    this->rows[tile] = uint8_t(rows);
    this->bytes[tile] = uint16_t(bytes);
  }
};
static_assert(sizeof(Config) == 64);

// The products of tiles of rows and of weights, sums added to. The intrinsics want tiles' numbers as they are.
#define PRODUCTS(NAME, PRODUCT)                            \
  struct NAME {                                            \
    AMX static INLINE void multiply00() { PRODUCT(0, 4, 6); } \
    AMX static INLINE void multiply01() { PRODUCT(1, 4, 7); } \
    AMX static INLINE void multiply02() { PRODUCT(2, 4, 6); } \
    AMX static INLINE void multiply03() { PRODUCT(3, 4, 7); } \
    AMX static INLINE void multiply10() { PRODUCT(2, 5, 6); } \
    AMX static INLINE void multiply11() { PRODUCT(3, 5, 7); } \
  };
PRODUCTS(BFloat16, _tile_dpbf16ps)
PRODUCTS(Int8, _tile_dpbusd)

constexpr int64_t kLine = kPanel * kGroup;                    // bytes of a group of all columns
constexpr int64_t kSums = kPanel * int64_t(sizeof(float));    // bytes of a row of sums

// begin has sums go on from four tiles in memory, or from zero.
AMX INLINE void begin(bool more, const float *c0, const float *c1, const float *c2, const float *c3) {
  if (more) {
    _tile_loadd(0, c0, kSums);
    _tile_loadd(1, c1, kSums);
    _tile_loadd(2, c2, kSums);
    _tile_loadd(3, c3, kSums);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
}

AMX INLINE void end(float *c0, float *c1, float *c2, float *c3) {
  _tile_stored(0, c0, kSums);
  _tile_stored(1, c1, kSums);
  _tile_stored(2, c2, kSums);
  _tile_stored(3, c3, kSums);
}

// tall adds the products of 17 to 32 rows and 32 columns, over groups that the tiles are cut for, step at a time.
template <class A>
AMX void tall(const char *a, int64_t stride, const char *b, int64_t groups, int64_t step, bool more, float *c) {
  float *below = c + kRows * kPanel;
  begin(more, c, c + kRows, below, below + kRows);
  for (int64_t k = 0; k < groups; k += step) {
    _tile_loadd(4, a + k * kGroup, stride);
    _tile_loadd(6, b + k * kLine, kLine);
    A::multiply00();
    _tile_loadd(7, b + k * kLine + kBytes, kLine);
    A::multiply01();
    _tile_loadd(5, a + kRows * stride + k * kGroup, stride);
    A::multiply10();
    A::multiply11();
  }
  end(c, c + kRows, below, below + kRows);
}

// flat is tall for up to 16 rows and all 64 columns.
template <class A>
AMX void flat(const char *a, int64_t stride, const char *b, int64_t groups, int64_t step, bool more, float *c) {
  begin(more, c, c + kRows, c + 2 * kRows, c + 3 * kRows);
  for (int64_t k = 0; k < groups; k += step) {
    const char *w = b + k * kLine;
    _tile_loadd(4, a + k * kGroup, stride);
    _tile_loadd(6, w, kLine);
    A::multiply00();
    _tile_loadd(7, w + kBytes, kLine);
    A::multiply01();
    _tile_loadd(6, w + 2 * kBytes, kLine);
    A::multiply02();
    _tile_loadd(7, w + 3 * kBytes, kLine);
    A::multiply03();
  }
  end(c, c + kRows, c + 2 * kRows, c + 3 * kRows);
}

// cut has the tiles cut for rows, up to 32, and steps of so many groups.
AMX void cut(int64_t rows, int64_t step) {
  Config config;
  int64_t first = std::min(rows, kRows), second = rows > kRows ? rows - kRows : first;
  for (int tile : {0, 1}) config.cut(tile, first, kBytes);
  for (int tile : {2, 3}) config.cut(tile, second, kBytes);
  config.cut(4, first, step * kGroup);
  config.cut(5, second, step * kGroup);
  for (int tile : {6, 7}) config.cut(tile, step, kBytes);
  __asm__ volatile("" : : "r"(&config) : "memory");  // the intrinsic says that it reads less than it does
  _tile_loadconfig(&config);
}

template <class A>
AMX void walk(const char *a, int64_t stride, const char *panel, int64_t groups, int64_t step, int64_t rows, bool more, float *c) {
  if (rows <= kRows) {
    flat<A>(a, stride, panel, groups, step, more, c);
    return;
  }
  for (int64_t half = 0; half < 2; half++) tall<A>(a, stride, panel + half * 2 * kBytes, groups, step, more, c + half * 2 * kRows);
}

// block takes up to 32 rows at a time, and of these all full steps of 16 groups first.
template <class A>
AMX void block(const char *a, int64_t stride, const char *panel, int64_t groups, int64_t rows, float *c) {
  int64_t full = groups / kRows * kRows, rest = groups - full;
  for (int64_t row = 0; row < rows; row += 2 * kRows) {
    int64_t some = std::min(2 * kRows, rows - row);
    const char *from = a + row * stride;
    float *to = c + row * kPanel;
    if (full > 0) cut(some, kRows);
    for (int64_t k = 0; k < full; k += kGroups) {
      walk<A>(from + k * kGroup, stride, panel + k * kLine, std::min(kGroups, full - k), kRows, some, k > 0, to);
    }
    if (rest > 0) {
      cut(some, rest);
      walk<A>(from + full * kGroup, stride, panel + full * kLine, rest, rest, some, full > 0, to);
    }
  }
  _tile_release();
}

}  // namespace

void block_amx_bfloat16(const char *a, int64_t stride, const char *panel, int64_t groups, int64_t rows, float *c) {
  block<BFloat16>(a, stride, panel, groups, rows, c);
}

void block_amx_int8(const char *a, int64_t stride, const char *panel, int64_t groups, int64_t rows, float *c) {
  block<Int8>(a, stride, panel, groups, rows, c);
}

#ifndef VALENCE_EMULATE_AMX
bool amx_allowed() {
  // Source: Linux, Documentation/arch/x86/xstate.rst. The numbers are ARCH_REQ_XCOMP_PERM and XFEATURE_XTILEDATA.
  static const bool allowed = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  return allowed;
}
#endif

}  // namespace valence

#else

namespace valence {
bool amx_allowed() { return false; }
void block_amx_bfloat16(const char *, int64_t, const char *, int64_t, int64_t, float *) {}
void block_amx_int8(const char *, int64_t, const char *, int64_t, int64_t, float *) {}
}  // namespace valence

#endif
