#include "rows.h"

#include <cmath>

// Without -O3 the loops would not be vectorised; sums are kept in kLanes parts so that they can be.
#define KERNEL __attribute__((optimize("O3"), target_clones("avx512f", "avx2", "default")))

namespace {
constexpr int64_t kLanes = 16;
}

KERNEL float row_norm(const float *__restrict x, const float *__restrict w, float *__restrict y, int64_t d, double eps) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= d; i += kLanes) {
    for (int64_t j = 0; j < kLanes; j++) lanes[j] += x[i + j] * x[i + j];
  }
  for (; i < d; i++) lanes[0] += x[i] * x[i];
  float sum = 0;
  for (float lane : lanes) sum += lane;
  float r = 1 / std::sqrt(sum / d + static_cast<float>(eps));
  for (i = 0; i < d; i++) y[i] = x[i] * r * w[i];
  return r;
}

KERNEL void row_norm_back(const float *__restrict g, const float *__restrict x, const float *__restrict w, float r, float *__restrict dx, int64_t d) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= d; i += kLanes) {
    for (int64_t j = 0; j < kLanes; j++) lanes[j] += g[i + j] * w[i + j] * x[i + j];
  }
  for (; i < d; i++) lanes[0] += g[i] * w[i] * x[i];
  float sum = 0;
  for (float lane : lanes) sum += lane;
  float along = r * r * r * sum / d;
  for (i = 0; i < d; i++) dx[i] = r * g[i] * w[i] - along * x[i];
}

KERNEL void row_product(const float *__restrict h, const float *__restrict u, const float *__restrict l, float *__restrict y, int64_t d) {
  if (h) {
    for (int64_t i = 0; i < d; i++) y[i] = h[i] * (u[i] * l[i]);
  } else {
    for (int64_t i = 0; i < d; i++) y[i] = u[i] * l[i];
  }
}

KERNEL void row_product_back(const float *__restrict g, const float *__restrict h, const float *__restrict u, const float *__restrict l,
                             float *__restrict dh, float *__restrict du, float *__restrict dl, int64_t d) {
  if (!h) {
    for (int64_t i = 0; i < d; i++) {
      du[i] = g[i] * l[i];
      dl[i] += g[i] * u[i];
    }
    return;
  }
  for (int64_t i = 0; i < d; i++) {
    float gh = g[i] * h[i];
    dh[i] = g[i] * u[i] * l[i];
    du[i] = gh * l[i];
    dl[i] += gh * u[i];
  }
}

KERNEL float row_levels(const float *__restrict x, uint8_t *__restrict y, int64_t d, int top) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= d; i += kLanes) {
    for (int64_t j = 0; j < kLanes; j++) {
      float a = std::fabs(x[i + j]);
      lanes[j] = a > lanes[j] ? a : lanes[j];
    }
  }
  float largest = 0;
  for (; i < d; i++) largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
  for (float lane : lanes) largest = lane > largest ? lane : largest;
  float by = largest > 0 ? top / largest : 0;
  float zero = top + 1.5f;  // what is cut off below it is rounded
  for (i = 0; i < d; i++) y[i] = static_cast<uint8_t>(static_cast<int32_t>(x[i] * by + zero));
  return largest / top;
}

KERNEL void row_times(float *__restrict y, float by, int64_t d) {
  for (int64_t i = 0; i < d; i++) y[i] *= by;
}
