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

// sigmoid is 1 / (1 + exp(-v)).
VECTOR void sigmoid(floats &v) {
  v = -v;
  exponential(v);
  v = 1.0f / (1.0f + v);
}

#endif
