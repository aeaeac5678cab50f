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

// turn lays rows [n, width] as columns, [width, whole(n)], and zeros after them.
VECTOR void turn(const float *rows, int64_t stride, int64_t n, int64_t width, float *to) {
  int64_t all = (n + kLanes - 1) / kLanes * kLanes;
  for (int64_t d = 0; d < width; d++) {
    for (int64_t j = 0; j < n; j++) to[d * all + j] = rows[j * stride + d];
    for (int64_t j = n; j < all; j++) to[d * all + j] = 0;
  }
}

// fill_up copies rows [n, width] and gives them zeros up to whole(width).
VECTOR void fill_up(const float *rows, int64_t stride, int64_t n, int64_t width, float *to) {
  int64_t all = (width + kLanes - 1) / kLanes * kLanes;
  for (int64_t j = 0; j < n; j++) {
    for (int64_t d = 0; d < width; d++) to[j * all + d] = rows[j * stride + d];
    for (int64_t d = width; d < all; d++) to[j * all + d] = 0;
  }
}

// spread adds rows [kQueries, columns], weighted by s [kQueries, keys], to sums [n, columns].
VECTOR void spread(const float *s, int64_t keys, const float *rows, int64_t n, int64_t columns, float *sums) {
  for (int64_t d = 0; d < columns; d += kLanes) {
    floats r[kQueries];
    for (int64_t i = 0; i < kQueries; i++) load(r[i], rows + i * columns + d);
    for (int64_t j = 0; j < n; j++) {
      floats sum;
      load(sum, sums + j * columns + d);
      for (int64_t i = 0; i < kQueries; i++) sum += s[i * keys + j] * r[i];
      store(sums + j * columns + d, sum);
    }
  }
}

// slopes makes s [keys], as soften leaves it with by, the weights, and t, the gradients of the weights, those of the scores.
VECTOR void slopes(float *s, float *t, float by, int64_t keys) {
  floats sum = {}, a, b;
  for (int64_t j = 0; j < keys; j += kLanes) {
    load(a, s + j);
    load(b, t + j);
    a *= by;
    store(s + j, a);
    sum += a * b;
  }
  float along = 0;
  for (int64_t j = 0; j < kLanes; j++) along += sum[j];
  for (int64_t j = 0; j < keys; j += kLanes) {
    load(a, s + j);
    load(b, t + j);
    store(t + j, a * (b - along));
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
  turn(h.k, h.kv_stride, n, h.width, turned);
  fill_up(h.v, h.kv_stride, n, h.width, values);
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

int64_t attend_back_scratch(int64_t keys, int64_t width) {
  return 2 * width * whole(keys) + 3 * keys * whole(width) + kQueries * (2 * whole(keys) + 3 * whole(width));
}

CLONES void attend_back(const HeadBack &b, float *scratch) {
  const Head &h = b.head;
  int64_t n = h.keys, width = h.width, keys = (n + kLanes - 1) / kLanes * kLanes, columns = (width + kLanes - 1) / kLanes * kLanes;
  float *turned_k = scratch, *turned_v = turned_k + width * keys, *rows_k = turned_v + width * keys, *dk = rows_k + n * columns,
        *dv = dk + n * columns, *s = dv + n * columns, *t = s + kQueries * keys, *q = t + kQueries * keys, *g = q + kQueries * columns,
        *out = g + kQueries * columns;
  turn(h.k, h.kv_stride, n, width, turned_k);
  turn(h.v, h.kv_stride, n, width, turned_v);
  fill_up(h.k, h.kv_stride, n, width, rows_k);
  for (int64_t j = 0; j < 2 * n * columns; j++) dk[j] = 0;  // and dv
  const float *each_q[kQueries], *each_g[kQueries];
  const float one[kQueries] = {1, 1, 1, 1};
  for (int64_t i = 0; i < kQueries; i++) each_q[i] = q + i * columns, each_g[i] = g + i * columns;
  for (int64_t i = 0; i < h.queries; i += kQueries) {
    int64_t some = h.queries - i < kQueries ? h.queries - i : kQueries;
    for (int64_t j = some * columns; j < kQueries * columns; j++) q[j] = g[j] = 0;
    fill_up(h.q + i * h.q_stride, h.q_stride, some, width, q);
    fill_up(b.g + i * b.g_stride, b.g_stride, some, width, g);
    scores(each_q, turned_k, width, keys, s);
    scores(each_g, turned_v, width, keys, t);
    for (int64_t r = 0; r < kQueries; r++) {
      float by = r < some ? soften(s + r * keys, h.bias ? h.bias + (i + r) * h.bias_stride : nullptr, n, keys) : 0;
      slopes(s + r * keys, t + r * keys, by, keys);
    }
    mix(t, keys, one, rows_k, n, columns, out);
    spread(s, keys, g, n, columns, dv);
    spread(t, keys, q, n, columns, dk);
    for (int64_t r = 0; r < some; r++) {
      for (int64_t d = 0; d < width; d++) b.dq[(i + r) * b.dq_stride + d] = out[r * columns + d];
    }
  }
  for (int64_t j = 0; j < n; j++) {
    for (int64_t d = 0; d < width; d++) {
      b.dk[j * b.dkv_stride + d] += dk[j * columns + d];
      b.dv[j * b.dkv_stride + d] += dv[j * columns + d];
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
