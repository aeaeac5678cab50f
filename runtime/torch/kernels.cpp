#include "kernel.h"

#include "amx.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

// The kernels keep a tile of a few rows by some outputs in registers and walk along the inputs, one group a step: the rows'
// group is broadcast, that of the outputs lies side by side in the panel. AVX-512 holds 6 rows by 64 outputs, AVX2 6 by 16.
// On a Zen 4 core bfloat16 reached 225 to 230 GFLOP/s of the 236 that the instruction gives, from 30 rows on.

#define INLINE inline __attribute__((always_inline))
#define V4 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c")))
#define V3 __attribute__((target("avx2,fma,f16c")))

namespace valence {
namespace {

constexpr int64_t kTile = 6, kLine = 64;
// A stretch of so many bytes of a panel is walked for all rows of a block before the next, so that it stays in the L2 cache.
constexpr int64_t kStretch = 128 << 10;
// While a stretch is walked for so many tiles or more, which takes longer than to read it from memory, what lies behind it is
// fetched: the next stretch, or the next panel. With 16 to 48 rows that gave 4 % on a Zen 4; with fewer tiles it took as much.
constexpr int64_t kAhead = 3;

template <class To>
INLINE To load_as(const void *p) {
  To x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

// Each arithmetic has sums of kLanes outputs, and products of a broadcast group of a row with the groups of those outputs.

struct Float32V4 {
  using Sums = __m512;
  static constexpr int64_t kLanes = 16, kRow = 4, kWeight = 4;
  V4 static INLINE __m512 row(const char *a) { return _mm512_set1_ps(load_as<float>(a)); }
  V4 static INLINE __m512 weights(const char *b) { return _mm512_loadu_ps(b); }
  V4 static INLINE Sums add(Sums c, __m512 a, __m512 b) { return _mm512_fmadd_ps(a, b, c); }
  V4 static INLINE Sums load(const float *c) { return _mm512_loadu_ps(c); }
  V4 static INLINE Sums plus(Sums a, Sums b) { return _mm512_add_ps(a, b); }
  V4 static INLINE void store(float *c, Sums x) { _mm512_storeu_ps(c, x); }
  V4 static INLINE Sums zero() { return _mm512_setzero_ps(); }
};

struct Float16V4 : Float32V4 {
  static constexpr int64_t kWeight = 2;
  V4 static INLINE __m512 weights(const char *b) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(b))); }
};

// Weights in bfloat16, rows in float32: for processors without products of bfloat16.
struct WideBFloat16V4 : Float32V4 {
  static constexpr int64_t kWeight = 2;
  V4 static INLINE __m512 weights(const char *b) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(b))), 16));
  }
};

struct BFloat16V4 : Float32V4 {
  static constexpr int64_t kRow = 4, kWeight = 4;  // of a group of two
  V4 static INLINE __m512bh row(const char *a) { return (__m512bh)_mm512_set1_epi32(load_as<int32_t>(a)); }
  V4 static INLINE __m512bh weights(const char *b) { return (__m512bh)_mm512_loadu_si512(b); }
  V4 static INLINE Sums add(Sums c, __m512bh a, __m512bh b) { return _mm512_dpbf16_ps(c, a, b); }
};

struct Int8V4 {
  using Sums = __m512i;
  static constexpr int64_t kLanes = 16, kRow = 4, kWeight = 4;  // of a group of four
  V4 static INLINE __m512i row(const char *a) { return _mm512_set1_epi32(load_as<int32_t>(a)); }
  V4 static INLINE __m512i weights(const char *b) { return _mm512_loadu_si512(b); }
  V4 static INLINE Sums add(Sums c, __m512i a, __m512i b) { return _mm512_dpbusd_epi32(c, a, b); }
  V4 static INLINE Sums load(const float *c) { return _mm512_loadu_si512(c); }
  V4 static INLINE Sums plus(Sums a, Sums b) { return _mm512_add_epi32(a, b); }
  V4 static INLINE void store(float *c, Sums x) { _mm512_storeu_si512(c, x); }
  V4 static INLINE Sums zero() { return _mm512_setzero_si512(); }
};

struct Float32V3 {
  using Sums = __m256;
  static constexpr int64_t kLanes = 8, kRow = 4, kWeight = 4;
  V3 static INLINE __m256 row(const char *a) { return _mm256_set1_ps(load_as<float>(a)); }
  V3 static INLINE __m256 weights(const char *b) { return _mm256_loadu_ps(reinterpret_cast<const float *>(b)); }
  V3 static INLINE Sums add(Sums c, __m256 a, __m256 b) { return _mm256_fmadd_ps(a, b, c); }
  V3 static INLINE Sums load(const float *c) { return _mm256_loadu_ps(c); }
  V3 static INLINE Sums plus(Sums a, Sums b) { return _mm256_add_ps(a, b); }
  V3 static INLINE void store(float *c, Sums x) { _mm256_storeu_ps(c, x); }
  V3 static INLINE Sums zero() { return _mm256_setzero_ps(); }
};

struct Float16V3 : Float32V3 {
  static constexpr int64_t kWeight = 2;
  V3 static INLINE __m256 weights(const char *b) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(b))); }
};

struct WideBFloat16V3 : Float32V3 {
  static constexpr int64_t kWeight = 2;
  V3 static INLINE __m256 weights(const char *b) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(b))), 16));
  }
};

// The loops over a tile are unrolled: its sums would not stay in registers otherwise, and products took four times as long.
// A tile of kRows rows by kParts * kLanes outputs, over groups of a panel: added to c or written there. The sums begin at zero
// in both cases: what a long row adds up to is then a sum of sums, whose rounding grows with their number and not the row's. At each
// group by bytes more from ahead on are fetched.
#define UNROLL _Pragma("GCC unroll 8")
#define TILE(TARGET)                                                                                                            \
  template <class A, int kRows, int kParts>                                                                                     \
  TARGET void tile(const char *a, int64_t stride, const char *b, int64_t groups, bool more, float *c, const char *ahead,        \
                   int64_t by) {                                                                                                \
    typename A::Sums sums[kRows][kParts];                                                                                       \
    UNROLL for (int i = 0; i < kRows; i++) {                                                                                    \
      UNROLL for (int j = 0; j < kParts; j++) sums[i][j] = A::zero();                                                           \
    }                                                                                                                           \
    for (int64_t k = 0; k < groups; k++, b += kParts * A::kLanes * A::kWeight) {                                                \
      decltype(A::weights(b)) w[kParts];                                                                                        \
      UNROLL for (int j = 0; j < kParts; j++) w[j] = A::weights(b + j * A::kLanes * A::kWeight);                                \
      for (int64_t j = 0; j < by; j += kLine) __builtin_prefetch(ahead + j, 0, 2);                                              \
      ahead += by;                                                                                                              \
      UNROLL for (int i = 0; i < kRows; i++) {                                                                                  \
        auto row = A::row(a + i * stride + k * A::kRow);                                                                        \
        UNROLL for (int j = 0; j < kParts; j++) sums[i][j] = A::add(sums[i][j], row, w[j]);                                     \
      }                                                                                                                         \
    }                                                                                                                           \
    UNROLL for (int i = 0; i < kRows; i++) {                                                                                    \
      UNROLL for (int j = 0; j < kParts; j++) {                                                                                 \
        float *to = c + i * kPanel + j * A::kLanes;                                                                             \
        A::store(to, more ? A::plus(A::load(to), sums[i][j]) : sums[i][j]);                                                     \
      }                                                                                                                         \
    }                                                                                                                           \
  }

namespace v4 {
TILE(V4)
}
namespace v3 {
TILE(V3)
}

using Tile = void (*)(const char *, int64_t, const char *, int64_t, bool, float *, const char *, int64_t);

// next_tile is how many of n rows go into the next tile: full ones, and the last two of like size.
int64_t next_tile(int64_t n) { return n > kTile && n < 2 * kTile ? (n + 1) / 2 : std::min(n, kTile); }

// blocks is the product of a block of rows and a panel by tiles[rows - 1], each of outputs columns.
void blocks(const Tile *tiles, int64_t columns, int64_t row, int64_t weight, const char *a, int64_t stride, const char *panel,
            int64_t groups, int64_t rows, float *c) {
  int64_t most = kStretch / (kPanel * weight), all = 0;
  for (int64_t i = 0; i < rows; i += next_tile(rows - i)) all++;
  for (int64_t k = 0; k < groups; k += most) {
    int64_t some = std::min(most, groups - k);
    for (int64_t column = 0; column < kPanel; column += columns) {
      const char *b = panel + (column * groups + k * columns) * weight, *ahead = b + some * columns * weight;
      int64_t by = all < kAhead ? 0 : columns * weight / all;
      for (int64_t i = 0, n; i < rows; i += n, ahead += some * by) {
        n = next_tile(rows - i);
        tiles[n - 1](a + i * stride + k * row, stride, b, some, k > 0, c + i * kPanel + column, ahead, by);
      }
    }
  }
}

template <class A>
void block_v4(const char *a, int64_t stride, const char *panel, int64_t groups, int64_t rows, float *c) {
  static constexpr Tile tiles[kTile] = {v4::tile<A, 1, 4>, v4::tile<A, 2, 4>, v4::tile<A, 3, 4>,
                                        v4::tile<A, 4, 4>, v4::tile<A, 5, 4>, v4::tile<A, 6, 4>};
  blocks(tiles, 64, A::kRow, A::kWeight, a, stride, panel, groups, rows, c);
}

template <class A>
void block_v3(const char *a, int64_t stride, const char *panel, int64_t groups, int64_t rows, float *c) {
  static constexpr Tile tiles[kTile] = {v3::tile<A, 1, 2>, v3::tile<A, 2, 2>, v3::tile<A, 3, 2>,
                                        v3::tile<A, 4, 2>, v3::tile<A, 5, 2>, v3::tile<A, 6, 2>};
  blocks(tiles, 16, A::kRow, A::kWeight, a, stride, panel, groups, rows, c);
}

void prepare_float32(const float *x, const float *l, char *a, int64_t, int64_t in, int64_t, float *) {
  if (!l) {
    std::memcpy(a, x, in * sizeof(float));
    return;
  }
  auto *y = reinterpret_cast<float *>(a);
  for (int64_t i = 0; i < in; i++) y[i] = x[i] * l[i];
}

// some is a mask of the first n of 16 lanes.
V4 INLINE __mmask16 some(int64_t n) { return static_cast<__mmask16>(n >= 16 ? 0xffff : n <= 0 ? 0 : (1 << n) - 1); }

// scaled is the 16 numbers of a row from i on, times those at l unless it is null, with zeros after the row's end.
V4 INLINE __m512 scaled(const float *x, const float *l, int64_t i, int64_t in) {
  auto v = _mm512_maskz_loadu_ps(some(in - i), x + i);
  return l ? _mm512_mul_ps(v, _mm512_maskz_loadu_ps(some(in - i), l + i)) : v;
}

V4 void prepare_bfloat16(const float *x, const float *l, char *a, int64_t, int64_t in, int64_t groups, float *) {
  for (int64_t i = 0; i < 2 * groups; i += 16) {
    _mm256_mask_storeu_epi16(a + 2 * i, some(2 * groups - i), (__m256i)_mm512_cvtneps_pbh(scaled(x, l, i, in)));
  }
}

// largest is that of a row's numbers, which does not depend on their order.
V4 float largest(const float *x, const float *l, int64_t in) {
  auto most = _mm512_setzero_ps();
  for (int64_t i = 0; i < in; i += 16) most = _mm512_max_ps(most, _mm512_abs_ps(scaled(x, l, i, in)));
  return _mm512_reduce_max_ps(most);
}

// put writes 16 levels, some of them past the end of a row of n, about 128.
V4 INLINE void put(char *a, int64_t i, int64_t n, __m512i levels) {
  _mm_mask_storeu_epi8(a + i, some(n - i), _mm512_cvtusepi32_epi8(_mm512_add_epi32(levels, _mm512_set1_epi32(128))));
}

constexpr float kTop = 127;  // levels on either side of zero

V4 void prepare_int8(const float *x, const float *l, char *a, int64_t, int64_t in, int64_t groups, float *steps) {
  float most = largest(x, l, in);
  auto by = _mm512_set1_ps(most > 0 ? kTop / most : 0);
  for (int64_t i = 0; i < 4 * groups; i += 16) put(a, i, 4 * groups, _mm512_cvtps_epi32(_mm512_mul_ps(scaled(x, l, i, in), by)));
  *steps = most / kTop;
}

// prepare_wide_int8 has a second plane for what the levels of the first leave, half a level at most.
V4 void prepare_wide_int8(const float *x, const float *l, char *a, int64_t stride, int64_t in, int64_t groups, float *steps) {
  float most = largest(x, l, in);
  auto by = _mm512_set1_ps(most > 0 ? kTop / most : 0), finer = _mm512_set1_ps(2 * kTop);
  for (int64_t i = 0; i < 4 * groups; i += 16) {
    auto v = _mm512_mul_ps(scaled(x, l, i, in), by);
    auto levels = _mm512_cvtps_epi32(v);
    put(a, i, 4 * groups, levels);
    put(a + stride, i, 4 * groups, _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_sub_ps(v, _mm512_cvtepi32_ps(levels)), finer)));
  }
  steps[0] = most / kTop;
  steps[1] = steps[0] / (2 * kTop);
}

const Kernel float32_v4{64, 1, 4, 4, false, 1, Format::float32, prepare_float32, block_v4<Float32V4>};
const Kernel float16_v4{64, 1, 4, 2, false, 1, Format::float16, prepare_float32, block_v4<Float16V4>};
const Kernel bfloat16_v4{64, 2, 2, 2, false, 1, Format::bfloat16, prepare_bfloat16, block_v4<BFloat16V4>};
const Kernel wide_bfloat16_v4{64, 1, 4, 2, false, 1, Format::wide_bfloat16, prepare_float32, block_v4<WideBFloat16V4>};
const Kernel int8_v4{64, 4, 1, 1, true, 1, Format::int8, prepare_int8, block_v4<Int8V4>};
const Kernel wide_int8_v4{64, 4, 1, 1, true, 2, Format::wide_int8, prepare_wide_int8, block_v4<Int8V4>};
// A tile reads 16 rows at once: as far apart as a power of two, these would meet in a few sets of the L1 cache.
const Kernel bfloat16_amx{64, 2, 2, 2, false, 1, Format::bfloat16, prepare_bfloat16, block_amx_bfloat16, kLine};
const Kernel int8_amx{64, 4, 1, 1, true, 1, Format::int8, prepare_int8, block_amx_int8, kLine};
const Kernel wide_int8_amx{64, 4, 1, 1, true, 2, Format::wide_int8, prepare_wide_int8, block_amx_int8, kLine};
const Kernel float32_v3{16, 1, 4, 4, false, 1, Format::float32, prepare_float32, block_v3<Float32V3>};
const Kernel float16_v3{16, 1, 4, 2, false, 1, Format::float16, prepare_float32, block_v3<Float16V3>};
const Kernel wide_bfloat16_v3{16, 1, 4, 2, false, 1, Format::wide_bfloat16, prepare_float32, block_v3<WideBFloat16V3>};

// Has is what the processor can do, or is let do: VALENCE_MAX_CPU_ISA of "avx2", "avx512" (without products of bfloat16 and of
// bytes), "avx512vnni" (without those of bfloat16) or "avx512bf16" (without AMX) makes less of it, for tests and comparisons.
struct Has {
  bool v3, v4, bfloat16, vnni, amx;
  Has() {
    v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
    bfloat16 = v4 && __builtin_cpu_supports("avx512bf16");
    vnni = v4 && __builtin_cpu_supports("avx512vnni");
    unsigned a = 0, b = 0, c = 0, d = 0;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
    amx = bfloat16 && vnni && (d >> 22 & 1) && (d >> 24 & 1) && (d >> 25 & 1) && amx_allowed();
    const char *most = std::getenv("VALENCE_MAX_CPU_ISA");
    bool avx2 = most && !std::strcmp(most, "avx2");
    if (avx2 || (most && !std::strcmp(most, "avx512"))) bfloat16 = vnni = false;
    if (most && !std::strcmp(most, "avx512vnni")) bfloat16 = false;
    if (most && *most) amx = false;
    if (avx2) v4 = false;
  }
};

}  // namespace

const Kernel *kernel(Format format) {
  Has has;
  switch (format) {
    case Format::float32: return has.v4 ? &float32_v4 : has.v3 ? &float32_v3 : nullptr;
    case Format::float16: return has.v4 ? &float16_v4 : has.v3 ? &float16_v3 : nullptr;
    case Format::bfloat16:
      return has.amx ? &bfloat16_amx : has.bfloat16 ? &bfloat16_v4 : kernel(Format::wide_bfloat16);
    case Format::wide_bfloat16: return has.v4 ? &wide_bfloat16_v4 : has.v3 ? &wide_bfloat16_v3 : nullptr;
    case Format::int8: return has.amx ? &int8_amx : has.vnni ? &int8_v4 : nullptr;
    case Format::wide_int8: return has.amx ? &wide_int8_amx : has.vnni ? &wide_int8_v4 : nullptr;
  }
  return nullptr;
}

bool fast_bfloat16() {
  Has has;
  return has.bfloat16;
}

}  // namespace valence

#else

namespace valence {
const Kernel *kernel(Format) { return nullptr; }
bool fast_bfloat16() { return false; }
}  // namespace valence

#endif
