#include "rows.h"

#include <cmath>

#include "noise.h"
#include "vector.h"

// Sums are kept in kLanes parts so that the loops can be vectorised.

CLONES float row_norm(const float *__restrict x, const float *__restrict w, float *__restrict y, int64_t d, double eps) {
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

CLONES void row_norm_back(const float *__restrict g, const float *__restrict x, const float *__restrict w, float r, float *__restrict dx, int64_t d) {
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

CLONES void row_product(const float *__restrict u, const float *__restrict l, float *__restrict y, int64_t d) {
  if (l) {
    for (int64_t i = 0; i < d; i++) y[i] = u[i] * l[i];
  } else {
    for (int64_t i = 0; i < d; i++) y[i] = u[i];
  }
}

CLONES void row_product_back(const float *__restrict g, const float *__restrict u, const float *__restrict l, float *__restrict du,
                             float *__restrict dl, int64_t d) {
  for (int64_t i = 0; i < d; i++) {
    du[i] = g[i] * l[i];
    dl[i] += g[i] * u[i];
  }
}

CLONES float row_levels(const float *__restrict x, uint8_t *__restrict y, int64_t d, int top) {
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

CLONES void row_times(float *__restrict y, float by, int64_t d) {
  for (int64_t i = 0; i < d; i++) y[i] *= by;
}

CLONES void rows_whole(float *c, int64_t n, int64_t stride, const int32_t *zeros, const float *scales, const float *by, int64_t d) {
  int64_t j = 0;
  for (; j + kLanes <= d; j += kLanes) {
    ints zero, sum;
    floats scale;
    __builtin_memcpy(&zero, zeros + j, sizeof zero);
    load(scale, scales + j);
    for (int64_t i = 0; i < n; i++) {
      float *at = c + i * stride + j;
      __builtin_memcpy(&sum, at, sizeof sum);
      store(at, __builtin_convertvector(sum - zero, floats) * (by[i] * scale));
    }
  }
  for (; j < d; j++) {
    for (int64_t i = 0; i < n; i++) {
      int32_t sum;
      __builtin_memcpy(&sum, c + i * stride + j, sizeof sum);
      c[i * stride + j] = static_cast<float>(sum - zeros[j]) * (by[i] * scales[j]);
    }
  }
}

CLONES void row_add(const float *__restrict c, const float *__restrict l, float *__restrict x, int64_t d) {
  if (l) {
    for (int64_t i = 0; i < d; i++) x[i] += c[i] * l[i];
  } else {
    for (int64_t i = 0; i < d; i++) x[i] += c[i];
  }
}

// activate is an activation of 16 numbers. GELU in its tanh form is x sigmoid(2 t) of tanh's argument t.
VECTOR void activate(int kind, floats &v) {
  if (kind == 0) {
    v = v > 0.0f ? v : floats{};
    return;
  }
  floats by = kind == 2 ? v : 1.5957691216057308f * (v + 0.044715f * v * v * v);
  sigmoid(by);
  v *= by;
}

// gate16 is 16 numbers of row_activate.
VECTOR void gate16(int kind, const float *h, const float *hl, const float *u, const float *ul, float *y) {
  floats a, b;
  load(a, h);
  if (hl) {
    load(b, hl);
    a *= b;
  }
  activate(kind, a);
  if (u) {
    load(b, u);
    if (ul) {
      floats l;
      load(l, ul);
      b *= l;
    }
    a *= b;
  }
  store(y, a);
}

CLONES void row_activate(int kind, const float *h, const float *hl, const float *u, const float *ul, float *y, int64_t d) {
  int64_t i = 0;
  for (; i + kLanes <= d; i += kLanes) gate16(kind, h + i, hl ? hl + i : nullptr, u ? u + i : nullptr, ul ? ul + i : nullptr, y + i);
  if (i == d) return;
  float rest[5][kLanes] = {};
  for (int64_t j = i; j < d; j++) {
    rest[0][j - i] = h[j];
    rest[1][j - i] = hl ? hl[j] : 1;
    rest[2][j - i] = u ? u[j] : 1;
    rest[3][j - i] = ul ? ul[j] : 1;
  }
  gate16(kind, rest[0], rest[1], rest[2], rest[3], rest[4]);
  for (int64_t j = i; j < d; j++) y[j] = rest[4][j - i];
}

// activate_back is an activation of 16 numbers and its slope there.
VECTOR void activate_back(int kind, floats &v, floats &slope) {
  if (kind == 0) {
    slope = v > 0.0f ? floats{} + 1.0f : floats{};
    v *= slope;
    return;
  }
  floats x = v, by = kind == 2 ? x : 1.5957691216057308f * (x + 0.044715f * x * x * x);
  floats steep = kind == 2 ? floats{} + 1.0f : 1.5957691216057308f * (1.0f + 0.134145f * x * x);
  sigmoid(by);
  v = x * by;
  slope = by + v * (1.0f - by) * steep;
}

// gate16_back is 16 numbers of row_activate_back.
VECTOR void gate16_back(int kind, const float *g, const float *h, const float *u, const float *l, float *dh, float *du, float *dl) {
  floats a, slope, by, over, all;
  load(a, h);
  load(by, g);
  load(over, u);
  activate_back(kind, a, slope);
  a *= by;  // the gradient of u l
  if (l) {
    load(all, l);
    floats sum;
    load(sum, dl);
    store(dl, sum + a * over);
    a *= all;
    over *= all;
  }
  store(du, a);
  store(dh, by * over * slope);
}

CLONES void row_activate_back(int kind, const float *g, const float *h, const float *u, const float *l, float *dh, float *du, float *dl, int64_t d) {
  int64_t i = 0;
  for (; i + kLanes <= d; i += kLanes) gate16_back(kind, g + i, h + i, u + i, l ? l + i : nullptr, dh + i, du + i, l ? dl + i : nullptr);
  if (i == d) return;
  float rest[7][kLanes] = {};
  for (int64_t j = i; j < d; j++) {
    rest[0][j - i] = g[j];
    rest[1][j - i] = h[j];
    rest[2][j - i] = u[j];
    rest[3][j - i] = l ? l[j] : 1;
  }
  gate16_back(kind, rest[0], rest[1], rest[2], rest[3], rest[4], rest[5], rest[6]);
  for (int64_t j = i; j < d; j++) {
    dh[j] = rest[4][j - i];
    du[j] = rest[5][j - i];
    if (l) dl[j] += rest[6][j - i];
  }
}

CLONES void row_drop(const valence::Noise &noise, uint64_t first, const float *x, float *y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = int64_t(valence::hashed(first + i + noise.seed)) < noise.least ? 0 : x[i] * noise.by;
}
