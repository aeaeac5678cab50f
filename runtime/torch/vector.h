// Arithmetic on 16 floats at a time, for functions that are compiled for several kinds of processors (CLONES).
#ifndef VALENCE_TORCH_VECTOR_H
#define VALENCE_TORCH_VECTOR_H

#include <cstdint>

// CLONES compiles a function for processors with AVX-512, with AVX2 and for others; the one that fits is chosen when the
// program starts. What it calls must be inlined to be compiled with it.
#if defined(__x86_64__)
#define CLONES __attribute__((optimize("O3"), target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES __attribute__((optimize("O3")))
#endif
#define VECTOR static inline __attribute__((always_inline))

typedef float floats __attribute__((vector_size(64)));
typedef int32_t ints __attribute__((vector_size(64)));
typedef float floats_at __attribute__((vector_size(64), aligned(4), may_alias));

constexpr int64_t kLanes = 16;

// whole is n filled up to whole vectors.
VECTOR int64_t whole(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

VECTOR void load(floats &v, const float *p) { v = *reinterpret_cast<const floats_at *>(p); }
VECTOR void store(float *p, const floats &v) { *reinterpret_cast<floats_at *>(p) = v; }

// exponential is exp(v) to about 1e-7 of itself for v from -87 to 88, and that of the nearer end beyond them: 2^n times
// exp of the rest, which lies within half of log 2, by a polynomial.
//
// Source of the coefficients: Moshier's Cephes library, expf.
VECTOR void exponential(floats &v) {
  const floats low = floats{} - 87.0f, high = floats{} + 88.0f;
  v = v < low ? low : v;
  v = v > high ? high : v;
  const float round = 12582912.0f;  // 1.5 * 2^23: a sum with it has no bits behind the point
  floats n = v * 1.44269504088896341f + round;
  ints power = (ints)n;
  n -= round;
  floats r = v - n * 0.693359375f;
  r -= n * -2.12194440e-4f;
  floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  ints scale = (power - 0x4b400000 + 127) << 23;
  v = p * (floats)scale;
}

// across tells for each lane the one kApart from it, in the other half of a pair.
template <int kApart>
VECTOR ints across() {
  const ints lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return lane ^ kApart;
}

// total is the sum of the lanes.
VECTOR float total(const floats &x) {
  floats v = x;
  v += __builtin_shuffle(v, across<8>());
  v += __builtin_shuffle(v, across<4>());
  v += __builtin_shuffle(v, across<2>());
  v += __builtin_shuffle(v, across<1>());
  return v[0];
}

VECTOR floats larger(const floats &a, const floats &b) { return a > b ? a : b; }

// largest is the largest of the lanes.
VECTOR float largest(const floats &x) {
  floats v = x;
  v = larger(v, __builtin_shuffle(v, across<8>()));
  v = larger(v, __builtin_shuffle(v, across<4>()));
  v = larger(v, __builtin_shuffle(v, across<2>()));
  v = larger(v, __builtin_shuffle(v, across<1>()));
  return v[0];
}

// swap exchanges the quarters off the diagonal of every square of 2 kApart rows and lanes.
template <int kApart>
VECTOR void swap(floats *rows) {
  const ints lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const ints above = (lane & kApart) != 0 ? lane - kApart + 16 : lane, below = (lane & kApart) != 0 ? lane + 16 : lane + kApart;
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) {
    if (i & kApart) continue;
    floats a = rows[i], b = rows[i + kApart];
    rows[i] = __builtin_shuffle(a, b, above);
    rows[i + kApart] = __builtin_shuffle(a, b, below);
  }
}

// turn makes 16 rows of 16 floats columns.
VECTOR void turn(floats *rows) {
  swap<1>(rows);
  swap<2>(rows);
  swap<4>(rows);
  swap<8>(rows);
}

// sigmoid is 1 / (1 + exp(-v)).
VECTOR void sigmoid(floats &v) {
  v = -v;
  exponential(v);
  v = 1.0f / (1.0f + v);
}

#endif
