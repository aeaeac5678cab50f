#include "attend.h"

#include <cmath>

#include "vector.h"

namespace valence {

namespace {

// kParts vectors of keys, or of numbers of a value, are worked on at a time: enough sums for an addition to end before the next.
constexpr int kParts = 2;

// scores_at is part of scores, for some vectors of keys from j on.
template <int kSome>
VECTOR void scores_at(const float *const *q, const float *turned, int64_t width, int64_t keys, int64_t j, float *s) {
  floats sum[kQueries][kSome] = {};
  for (int64_t d = 0; d < width; d++) {
#pragma GCC unroll 2
    for (int p = 0; p < kSome; p++) {
      floats k;
      load(k, turned + d * keys + j + p * kLanes);
#pragma GCC unroll 4
      for (int64_t i = 0; i < kQueries; i++) sum[i][p] += q[i][d] * k;
    }
  }
  for (int64_t i = 0; i < kQueries; i++) {
    for (int p = 0; p < kSome; p++) store(s + i * keys + j + p * kLanes, sum[i][p]);
  }
}

// scores is s [kQueries, keys]: the products of some queries with turned keys [width, keys].
VECTOR void scores(const float *const *q, const float *turned, int64_t width, int64_t keys, float *s) {
  int64_t j = 0;
  for (; j + kParts * kLanes <= keys; j += kParts * kLanes) scores_at<kParts>(q, turned, width, keys, j, s);
  if (j < keys) scores_at<1>(q, turned, width, keys, j, s);
}

// soften makes s [kQueries, keys], scores of a head's queries from query on, of which the head's own keys count, exp(s + bias - largest), and
// by one over their sums, or 0 after the last query. Queries are worked on side by side: each step of one waits for the step before it.
VECTOR void soften(const Head &h, int64_t query, float *s, int64_t keys, float *by) {
  floats most[kQueries], sum[kQueries] = {}, v, b;
  float top[kQueries];
  for (int64_t i = 0; i < kQueries; i++) {
    const float *bias = h.bias && query + i < h.queries ? h.bias + (query + i) * h.bias_stride : nullptr;
    float *row = s + i * keys;
    int64_t j = 0;
    for (; bias && j + kLanes <= h.keys; j += kLanes) {
      load(v, row + j);
      load(b, bias + j);
      store(row + j, v + b);
    }
    for (; bias && j < h.keys; j++) row[j] += bias[j];
    for (j = h.keys; j < keys; j++) row[j] = -INFINITY;
    load(most[i], row);
  }
  for (int64_t j = kLanes; j < keys; j += kLanes) {
#pragma GCC unroll 4
    for (int64_t i = 0; i < kQueries; i++) {
      load(v, s + i * keys + j);
      most[i] = larger(v, most[i]);
    }
  }
#pragma GCC unroll 4
  for (int64_t i = 0; i < kQueries; i++) top[i] = largest(most[i]);
  for (int64_t j = 0; j < keys; j += kLanes) {
#pragma GCC unroll 4
    for (int64_t i = 0; i < kQueries; i++) {
      load(v, s + i * keys + j);
      v -= top[i];
      floats e = v;
      exponential(e);
      e = v < -87.0f ? floats{} : e;
      store(s + i * keys + j, e);
      sum[i] += e;
    }
  }
#pragma GCC unroll 4
  for (int64_t i = 0; i < kQueries; i++) by[i] = query + i < h.queries ? 1 / total(sum[i]) : 0;
}

// copy is to [n] of from.
VECTOR void copy(const float *from, int64_t n, float *to) {
  int64_t j = 0;
  floats v;
  for (; j + kLanes <= n; j += kLanes) {
    load(v, from + j);
    store(to + j, v);
  }
  for (; j < n; j++) to[j] = from[j];
}

// mix_at is part of mix, for some vectors of columns from d on.
template <int kSome>
VECTOR void mix_at(const float *s, int64_t keys, const float *by, const float *values, int64_t n, int64_t columns, int64_t d, float *out) {
  floats sum[kQueries][kSome] = {};
  for (int64_t j = 0; j < n; j++) {
#pragma GCC unroll 2
    for (int p = 0; p < kSome; p++) {
      floats v;
      load(v, values + j * columns + d + p * kLanes);
#pragma GCC unroll 4
      for (int64_t i = 0; i < kQueries; i++) sum[i][p] += s[i * keys + j] * v;
    }
  }
  for (int64_t i = 0; i < kQueries; i++) {
    for (int p = 0; p < kSome; p++) store(out + i * columns + d + p * kLanes, sum[i][p] * by[i]);
  }
}

// mix is out [kQueries, columns]: the sums of values [n, columns] weighted by s [kQueries, keys] and by.
VECTOR void mix(const float *s, int64_t keys, const float *by, const float *values, int64_t n, int64_t columns, float *out) {
  int64_t d = 0;
  for (; d + kParts * kLanes <= columns; d += kParts * kLanes) mix_at<kParts>(s, keys, by, values, n, columns, d, out);
  if (d < columns) mix_at<1>(s, keys, by, values, n, columns, d, out);
}

// turn_rows lays rows [n, width] as columns, [width, whole(n)], and zeros after them.
VECTOR void turn_rows(const float *rows, int64_t stride, int64_t n, int64_t width, float *to) {
  int64_t all = whole(n);
  for (int64_t j = 0; j < all; j += kLanes) {
    int64_t d = 0;
    for (; d + kLanes <= width; d += kLanes) {
      floats square[kLanes];
#pragma GCC unroll 16
      for (int64_t i = 0; i < kLanes; i++) {
        square[i] = floats{};
        if (j + i < n) load(square[i], rows + (j + i) * stride + d);
      }
      turn(square);
#pragma GCC unroll 16
      for (int64_t i = 0; i < kLanes; i++) store(to + (d + i) * all + j, square[i]);
    }
    for (; d < width; d++) {
      for (int64_t i = j; i < j + kLanes; i++) to[d * all + i] = i < n ? rows[i * stride + d] : 0;
    }
  }
}

// fill_up copies rows [n, width] and gives them zeros up to whole(width).
VECTOR void fill_up(const float *rows, int64_t stride, int64_t n, int64_t width, float *to) {
  int64_t all = whole(width);
  for (int64_t j = 0; j < n; j++) {
    copy(rows + j * stride, width, to + j * all);
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
  float along = total(sum);
  for (int64_t j = 0; j < keys; j += kLanes) {
    load(a, s + j);
    load(b, t + j);
    store(t + j, a * (b - along));
  }
}

// drop drops weights, or what comes back to them, in s [kQueries, keys] of a head's queries from query on.
void drop(const Head &h, int64_t query, float *s, int64_t keys) {
  for (int64_t i = 0; h.noise && i < kQueries && query + i < h.queries; i++) row_drop(*h.noise, h.first(query + i), s + i * keys, s + i * keys, h.keys);
}

// fetch asks for some queries and for where their results go, which lie far apart, before they are needed.
VECTOR void fetch(const Head &h, int64_t query) {
  for (int64_t r = query; r < query + kQueries && r < h.queries; r++) {
    for (int64_t d = 0; d < h.width; d += kLanes) {
      __builtin_prefetch(h.q + r * h.q_stride + d);
      __builtin_prefetch(h.out + r * h.out_stride + d, 1);
    }
  }
}

}  // namespace

int64_t look_scratch(int64_t keys, int64_t width) { return kQueries * (whole(keys) + whole(width)); }

int64_t attend_scratch(int64_t keys, int64_t width) { return seen_size(keys, width) + look_scratch(keys, width); }

int64_t seen_size(int64_t keys, int64_t width) { return width * whole(keys) + keys * whole(width); }

CLONES void see(const float *k, const float *v, int64_t stride, int64_t n, int64_t width, float *seen) {
  turn_rows(k, stride, n, width, seen);
  fill_up(v, stride, n, width, seen + width * whole(n));
}

CLONES void look(const Head &h, const float *seen, float *scratch) {
  int64_t n = h.keys, keys = whole(n), columns = whole(h.width);
  const float *values = seen + h.width * keys;
  float *s = scratch, *out = s + kQueries * keys;
  for (int64_t i = 0; i < h.queries; i += kQueries) {
    const float *q[kQueries];
    float by[kQueries];
    int64_t some = h.queries - i < kQueries ? h.queries - i : kQueries;
    for (int64_t r = 0; r < kQueries; r++) q[r] = h.q + (r < some ? i + r : i) * h.q_stride;
    fetch(h, i + kQueries);
    scores(q, seen, h.width, keys, s);
    soften(h, i, s, keys, by);
    drop(h, i, s, keys);
    mix(s, keys, by, values, n, columns, out);
    for (int64_t r = 0; r < some; r++) copy(out + r * columns, h.width, h.out + (i + r) * h.out_stride);
  }
}

void attend(const Head &h, const float *k, const float *v, int64_t stride, float *scratch) {
  fetch(h, 0);
  see(k, v, stride, h.keys, h.width, scratch);
  look(h, scratch, scratch + seen_size(h.keys, h.width));
}

int64_t attend_back_scratch(int64_t keys, int64_t width) {
  return 2 * width * whole(keys) + 3 * keys * whole(width) + kQueries * (2 * whole(keys) + 3 * whole(width));
}

CLONES void attend_back(const HeadBack &b, float *scratch) {
  const Head &h = b.head;
  int64_t n = h.keys, width = h.width, keys = whole(n), columns = whole(width);
  float *turned_k = scratch, *turned_v = turned_k + width * keys, *rows_k = turned_v + width * keys, *dk = rows_k + n * columns,
        *dv = dk + n * columns, *s = dv + n * columns, *t = s + kQueries * keys, *q = t + kQueries * keys, *g = q + kQueries * columns,
        *out = g + kQueries * columns;
  turn_rows(b.k, b.kv_stride, n, width, turned_k);
  turn_rows(b.v, b.kv_stride, n, width, turned_v);
  fill_up(b.k, b.kv_stride, n, width, rows_k);
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
    float by[kQueries];
    soften(h, i, s, keys, by);
    drop(h, i, t, keys);
    for (int64_t r = 0; r < kQueries; r++) slopes(s + r * keys, t + r * keys, by[r], keys);
    drop(h, i, s, keys);
    mix(t, keys, one, rows_k, n, columns, out);
    spread(s, keys, g, n, columns, dv);
    spread(t, keys, q, n, columns, dk);
    for (int64_t r = 0; r < some; r++) copy(out + r * columns, width, b.dq + (i + r) * b.dq_stride);
  }
  for (int64_t j = 0; j < n; j++) {
    for (int64_t d = 0; d < width; d++) {
      b.dk[j * b.dkv_stride + d] += dk[j * columns + d];
      b.dv[j * b.dkv_stride + d] += dv[j * columns + d];
    }
  }
}

}  // namespace valence
