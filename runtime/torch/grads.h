// Operators over texts, there and back. In float32 on a CPU they are loops of our own; elsewhere they are libtorch's operators, which
// take padded texts alone. Errors as in native.h.
#ifndef VALENCE_TORCH_GRADS_H
#define VALENCE_TORCH_GRADS_H

#include <stdint.h>

#include "native.h"

#ifdef __cplusplus
extern "C" {
#endif

// Noise is dropout, or none where keys is NULL: see vl_dropout. keys are [texts or sequences] int64.
typedef struct {
  vl_tensor keys;
  int64_t salt;
  double rate;
} vl_noise;

// Tokens x are [texts, t, d], with lengths NULL, or [1, tokens, d] of texts of the given lengths, end to end.

// vl_scale is x * l: l [texts or 1, 1, d].
vl_tensor vl_scale(vl_tensor x, vl_tensor l, const int64_t *lengths, int texts);
// vl_gate is f(h) * u * l: h and u are tokens, l [texts or 1, 1, d] or NULL, and activation is a vl_activation.
vl_tensor vl_gate(vl_tensor h, vl_tensor u, vl_tensor l, int activation, const int64_t *lengths, int texts);
// vl_drop drops elements of tokens x [1, tokens, d] of texts of the given lengths, as vl_dropout does of each text in a row of its own.
vl_tensor vl_drop(vl_tensor x, vl_noise noise, const int64_t *lengths, int texts);
// vl_attend is the attention of each of n sequences of queries, q [.., inner] of the given lengths end to end, to the keys and
// values of text of[i], or of text i where of is NULL, k and v [.., inner] likewise: softmax(q k^T + bias) v, unscaled, in each
// of the heads. distances [heads, 2 m - 1], or NULL, is the bias by distance, as of vl_distances: a query and a key at the same
// place are at no distance, and m is the longest text's length or more. The result has the shape of q. noise is that of each
// sequence's weights, which are [heads, queries, keys] in a row.
vl_tensor vl_attend(vl_tensor q, vl_tensor k, vl_tensor v, int heads, const int64_t *queries, int n, const int64_t *keys, int texts,
                    const int64_t *of, vl_tensor distances, vl_noise noise);

#ifdef __cplusplus
}
#endif
#endif
