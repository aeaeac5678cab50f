#ifndef VALENCE_TORCH_ATTEND_H
#define VALENCE_TORCH_ATTEND_H

#include <cstdint>

namespace valence {

// Head is one head's attention of a text to itself: softmax(q k^T + bias) v, unscaled, as T5 has it.
struct Head {
  int64_t tokens, width;
  const float *q, *k, *v;  // of the first token; the next one's are stride further on
  int64_t stride;
  const float *bias;  // by distance: bias[j - i] for query i and key j, so that it points into the middle
  float *out;         // of the first token
  int64_t out_stride;
};

// attend_scratch is the floats that attend needs to work in.
int64_t attend_scratch(int64_t tokens, int64_t width);
void attend(const Head &h, float *scratch);

}  // namespace valence

#endif
