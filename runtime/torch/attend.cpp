#include "attend.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "vector.h"

namespace valence {

namespace {

constexpr int64_t kQueries = 4;  // that share what is read of keys and values

int64_t whole(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// scores is s [kQueries, keys]: the products of some queries with turned keys [width, keys].
VECTOR void scores(const float *const *q, const float *turned, int64_t width, int64_t keys, float *s) {
  for (int64_t j = 0; j < keys; j += kLanes) {
    floats sum[kQueries] = {};
    for (int64_t d = 0; d < width; d++) {
      floats k;
      load(k, turned + d * keys + j);
      for (int64_t i = 0; i < kQueries; i++) sum[i] += q[i][d] * k;
    }
    for (int64_t i = 0; i < kQueries; i++) store(s + i * keys + j, sum[i]);
  }
}

// soften makes s [keys], of which n count, exp(s + bias - largest) and gives one over their sum.
VECTOR float soften(float *s, const float *bias, int64_t n, int64_t keys) {
  for (int64_t j = 0; bias && j < n; j++) s[j] += bias[j];
  for (int64_t j = n; j < keys; j++) s[j] = -INFINITY;
  floats most, v;
  load(most, s);
  for (int64_t j = kLanes; j < keys; j += kLanes) {
    load(v, s + j);
    most = v > most ? v : most;
  }
  float largest = most[0];
  for (int64_t j = 1; j < kLanes; j++) largest = most[j] > largest ? most[j] : largest;
  floats sum = {};
  for (int64_t j = 0; j < keys; j += kLanes) {
    load(v, s + j);
    v -= largest;
    floats e = v;
    exponential(e);
    e = v < -87.0f ? floats{} : e;
    store(s + j, e);
    sum += e;
  }
  float total = 0;
  for (int64_t j = 0; j < kLanes; j++) total += sum[j];
  return 1 / total;
}

// mix is out [kQueries, columns]: the sums of values [n, columns] weighted by s [kQueries, keys] and by.
VECTOR void mix(const float *s, int64_t keys, const float *by, const float *values, int64_t n, int64_t columns, float *out) {
  for (int64_t d = 0; d < columns; d += kLanes) {
    floats sum[kQueries] = {};
    for (int64_t j = 0; j < n; j++) {
      floats v;
      load(v, values + j * columns + d);
      for (int64_t i = 0; i < kQueries; i++) sum[i] += s[i * keys + j] * v;
    }
    for (int64_t i = 0; i < kQueries; i++) store(out + i * columns + d, sum[i] * by[i]);
  }
}

// weights16 is 16 weights from number i on.
VECTOR void weights16(floats &v, const void *w, bool half, int64_t i) {
  if (!half) {
    load(v, static_cast<const float *>(w) + i);
    return;
  }
  typedef uint16_t halves __attribute__((vector_size(32), aligned(2), may_alias));
  ints wide = __builtin_convertvector(*reinterpret_cast<const halves *>(static_cast<const uint16_t *>(w) + i), ints);
  v = (floats)(wide << 16);
}

VECTOR float weight(const void *w, bool half, int64_t i) {
  if (!half) return static_cast<const float *>(w)[i];
  uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t *>(w)[i]) << 16;
  float v;
  __builtin_memcpy(&v, &bits, sizeof v);
  return v;
}

// add_weights is y += by * w, of row i of w [.., d].
VECTOR void add_weights(float *y, float by, const void *w, bool half, int64_t i, int64_t d) {
  int64_t j = 0;
  for (; j + kLanes <= d; j += kLanes) {
    floats a, b;
    load(a, y + j);
    weights16(b, w, half, i * d + j);
    store(y + j, a + by * b);
  }
  for (; j < d; j++) y[j] += by * weight(w, half, i * d + j);
}

// dot is the product of x and row i of w [.., d].
VECTOR float dot(const float *x, const void *w, bool half, int64_t i, int64_t d) {
  floats sum = {};
  int64_t j = 0;
  for (; j + kLanes <= d; j += kLanes) {
    floats a, b;
    load(a, x + j);
    weights16(b, w, half, i * d + j);
    sum += a * b;
  }
  float total = 0;
  for (; j < d; j++) total += x[j] * weight(w, half, i * d + j);
  for (int64_t l = 0; l < kLanes; l++) total += sum[l];
  return total;
}

}  // namespace

int64_t attend_scratch(int64_t keys, int64_t width) {
  return width * whole(keys) + keys * whole(width) + kQueries * (whole(keys) + whole(width));
}

CLONES void attend(const Head &h, float *scratch) {
  int64_t n = h.keys, keys = (n + kLanes - 1) / kLanes * kLanes, columns = (h.width + kLanes - 1) / kLanes * kLanes;
  float *turned = scratch, *values = turned + h.width * keys, *s = values + n * columns, *out = s + kQueries * keys;
  for (int64_t d = 0; d < h.width; d++) {
    for (int64_t j = 0; j < n; j++) turned[d * keys + j] = h.k[j * h.kv_stride + d];
    for (int64_t j = n; j < keys; j++) turned[d * keys + j] = 0;
  }
  for (int64_t j = 0; j < n; j++) {
    for (int64_t d = 0; d < h.width; d++) values[j * columns + d] = h.v[j * h.kv_stride + d];
    for (int64_t d = h.width; d < columns; d++) values[j * columns + d] = 0;
  }
  for (int64_t i = 0; i < h.queries; i += kQueries) {
    const float *q[kQueries];
    float by[kQueries];
    int64_t some = h.queries - i < kQueries ? h.queries - i : kQueries;
    for (int64_t r = 0; r < kQueries; r++) q[r] = h.q + (r < some ? i + r : i) * h.q_stride;
    scores(q, turned, h.width, keys, s);
    for (int64_t r = 0; r < kQueries; r++) {
      by[r] = r < some ? soften(s + r * keys, h.bias ? h.bias + (i + r) * h.bias_stride : nullptr, n, keys) : 0;
    }
    mix(s, keys, by, values, n, columns, out);
    for (int64_t r = 0; r < some; r++) {
      for (int64_t d = 0; d < h.width; d++) h.out[(i + r) * h.out_stride + d] = out[r * columns + d];
    }
  }
}

int64_t absorb_scratch(int64_t tokens, int64_t d) { return 2 * d + whole(tokens); }

CLONES void absorb(const Absorbed &a, float *scratch) {
  float *u = scratch, *sum = u + a.d, *s = sum + a.d;
  for (int64_t j = 0; j < 2 * a.d; j++) scratch[j] = 0;
  for (int64_t i = 0; i < a.width; i++) add_weights(u, a.q[i], a.wk, a.half, i, a.d);
  for (int64_t j = 0; a.by_k && j < a.d; j++) u[j] *= a.by_k[j];
  for (int64_t i = 0; i < a.tokens; i++) s[i] = dot(u, a.states, false, i, a.d);
  float by = soften(s, nullptr, a.tokens, (a.tokens + kLanes - 1) / kLanes * kLanes);
  for (int64_t i = 0; i < a.tokens; i++) add_weights(sum, s[i] * by, a.states, false, i, a.d);
  for (int64_t j = 0; a.by_v && j < a.d; j++) sum[j] *= a.by_v[j];
  for (int64_t i = 0; i < a.width; i++) a.out[i] = dot(sum, a.wv, a.half, i, a.d);
}

}  // namespace valence
