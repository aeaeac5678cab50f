// The weights of an attention, for functions that are compiled for several kinds of processors (CLONES of vector.h).
#ifndef VALENCE_TORCH_SOFTEN_H
#define VALENCE_TORCH_SOFTEN_H

#include <cmath>

#include "vector.h"

// soften makes s [keys], of which n count, exp(s + bias - largest) and gives one over their sum.
VECTOR float soften(float *s, const float *bias, int64_t n, int64_t keys) {
  for (int64_t j = 0; bias && j < n; j++) s[j] += bias[j];
  for (int64_t j = n; j < keys; j++) s[j] = -INFINITY;
  floats most, v;
  load(most, s);
  for (int64_t j = kLanes; j < keys; j += kLanes) {
    load(v, s + j);
    most = larger(v, most);
  }
  float top = largest(most);
  floats sum = {};
  for (int64_t j = 0; j < keys; j += kLanes) {
    load(v, s + j);
    v -= top;
    floats e = v;
    exponential(e);
    e = v < -87.0f ? floats{} : e;
    store(s + j, e);
    sum += e;
  }
  return 1 / total(sum);
}

#endif
