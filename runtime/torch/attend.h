#ifndef VALENCE_TORCH_ATTEND_H
#define VALENCE_TORCH_ATTEND_H

#include <cstdint>

#include "noise.h"

namespace valence {

// kQueries share what is read of keys and values.
constexpr int64_t kQueries = 4;

// Head is one head's queries, softmax(q k^T + bias) v of some keys and values, unscaled, as T5 has it.
struct Head {
  int64_t queries, keys, width;
  const float *q;  // of the first query
  int64_t q_stride;   // from one query to the next
  const float *bias;  // of the first query, for all keys, or null
  int64_t bias_stride;
  float *out;
  int64_t out_stride;
  const Noise *noise = nullptr;  // of the weights, if any
  uint64_t head = 0;             // its number, which is the first of their places
  uint64_t first(int64_t query) const { return (head * kPlaces + query) * kPlaces; }
};

// attend looks at keys k and values v, whose rows are stride floats apart, in attend_scratch floats of room. It gives the same
// bits where there are more keys with a bias of minus infinity after the others.
int64_t attend_scratch(int64_t keys, int64_t width);
void attend(const Head &h, const float *k, const float *v, int64_t stride, float *scratch);

// The same in two steps, for keys and values that are looked at more than once: see lays them out in seen_size floats, and look
// needs look_scratch besides.
int64_t seen_size(int64_t keys, int64_t width);
void see(const float *k, const float *v, int64_t stride, int64_t keys, int64_t width, float *seen);
int64_t look_scratch(int64_t keys, int64_t width);
void look(const Head &h, const float *seen, float *scratch);

// HeadBack is the way back through a head whose result has the gradient g.
struct HeadBack {
  Head head;  // its out is not used
  const float *k, *v;
  int64_t kv_stride;
  const float *g;
  int64_t g_stride;
  float *dq;  // is written
  int64_t dq_stride;
  float *dk, *dv;  // are added to
  int64_t dkv_stride;
};

int64_t attend_back_scratch(int64_t keys, int64_t width);
void attend_back(const HeadBack &b, float *scratch);

}  // namespace valence

#endif
