#ifndef VALENCE_TORCH_ATTEND_H
#define VALENCE_TORCH_ATTEND_H

#include <cstdint>

namespace valence {

// Head is one head's attention: softmax(q k^T + bias) v, unscaled, as T5 has it.
struct Head {
  int64_t queries, keys, width;
  const float *q, *k, *v;      // of the first token
  int64_t q_stride, kv_stride;  // from one token to the next
  const float *bias;           // of the first query, for all keys, or null
  int64_t bias_stride;         // from one query to the next
  float *out;
  int64_t out_stride;
};

// attend_scratch is the floats that attend needs to work in.
int64_t attend_scratch(int64_t keys, int64_t width);
// attend gives the same bits where there are more keys with a bias of minus infinity after the others.
void attend(const Head &h, float *scratch);

// HeadBack is the way back through a head whose result has the gradient g.
struct HeadBack {
  Head head;  // its out is not used
  const float *g;
  int64_t g_stride;
  float *dq;  // is written
  int64_t dq_stride;
  float *dk, *dv;  // are added to
  int64_t dkv_stride;
};

int64_t attend_back_scratch(int64_t keys, int64_t width);
void attend_back(const HeadBack &b, float *scratch);

// Absorbed is one head's attention of one query to states [tokens, d] without keys and values: with the head's rows of their
// matrices wk and wv [width, d] it is wv (softmax(s u) s), u = q wk. by_k and by_v scale u and the sum of the states, where
// they are not null.
struct Absorbed {
  int64_t tokens, width, d;
  const float *q, *states;
  const void *wk, *wv;
  bool half;  // wk and wv are bfloat16, and not float32
  const float *by_k, *by_v;
  float *out;  // [width]
};

int64_t absorb_scratch(int64_t tokens, int64_t d);
void absorb(const Absorbed &a, float *scratch);

}  // namespace valence

#endif
