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
  for (int64_t j = 0; j < n; j++) s[j] += bias[j];
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

}  // namespace

int64_t attend_scratch(int64_t tokens, int64_t width) {
  return width * whole(tokens) + tokens * whole(width) + kQueries * (whole(tokens) + whole(width));
}

CLONES void attend(const Head &h, float *scratch) {
  int64_t n = h.tokens, keys = (n + kLanes - 1) / kLanes * kLanes, columns = (h.width + kLanes - 1) / kLanes * kLanes;
  float *turned = scratch, *values = turned + h.width * keys, *s = values + n * columns, *out = s + kQueries * keys;
  for (int64_t d = 0; d < h.width; d++) {
    for (int64_t j = 0; j < n; j++) turned[d * keys + j] = h.k[j * h.stride + d];
    for (int64_t j = n; j < keys; j++) turned[d * keys + j] = 0;
  }
  for (int64_t j = 0; j < n; j++) {
    for (int64_t d = 0; d < h.width; d++) values[j * columns + d] = h.v[j * h.stride + d];
    for (int64_t d = h.width; d < columns; d++) values[j * columns + d] = 0;
  }
  for (int64_t i = 0; i < n; i += kQueries) {
    const float *q[kQueries];
    float by[kQueries];
    int64_t some = n - i < kQueries ? n - i : kQueries;
    for (int64_t r = 0; r < kQueries; r++) q[r] = h.q + (r < some ? i + r : i) * h.stride;
    scores(q, turned, h.width, keys, s);
    for (int64_t r = 0; r < kQueries; r++) by[r] = r < some ? soften(s + r * keys, h.bias - (i + r), n, keys) : 0;
    mix(s, keys, by, values, n, columns, out);
    for (int64_t r = 0; r < some; r++) {
      for (int64_t d = 0; d < h.width; d++) h.out[(i + r) * h.out_stride + d] = out[r * columns + d];
    }
  }
}

}  // namespace valence
