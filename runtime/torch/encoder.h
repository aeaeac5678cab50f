// A layer of an encoder in one call on the CPU, over texts laid end to end without padding. Errors as in native.h.
#ifndef VALENCE_TORCH_ENCODER_H
#define VALENCE_TORCH_ENCODER_H

#include "packed.h"

#ifdef __cplusplus
extern "C" {
#endif

// vl_projection is W (x * in) * out; in and out are [texts or 1, 1, size] float32, or NULL.
typedef struct {
  vl_packed w;
  vl_tensor in, out;
} vl_projection;

enum vl_activation { vl_relu = 0, vl_gelu_new = 1, vl_silu = 2 };

typedef struct {
  vl_tensor self_norm, ff_norm;  // [d] float32
  vl_projection q, k, v, o, wi0, wi1, wo;  // wi1.w is NULL where the feed-forward is not gated
} vl_layer;

// vl_panels tells whether vl_encode can use a weight.
int vl_panels(vl_packed p);
// vl_distances is a position bias [1, heads, n, n] of the distance alone by distance: [heads, 2 n - 1], key before query first.
vl_tensor vl_distances(vl_tensor bias);
// vl_encode changes x [tokens, d] float32 to the layer's result. The texts have the given lengths, distances is that of the
// longest or of a longer one. It returns 0, or -1 on an error.
int vl_encode(vl_tensor x, const int64_t *lengths, int texts, const vl_layer *layer, vl_tensor distances, int activation, double eps);
// vl_lay puts x [tokens, d] into [texts, longest, d], with zeros after the shorter ones.
vl_tensor vl_lay(vl_tensor x, const int64_t *lengths, int texts);
// vl_absorbed is the attention of one query for each sequence, q [n, 1, inner], to the states [texts, longest, d] of text of[i],
// or of text i where of is NULL, without keys and values: wk and wv [inner, d] are their matrices, contiguous, float32 or
// bfloat16; by_k and by_v [n or 1, 1, d] or NULL scale their inputs. The result is [n, 1, inner].
vl_tensor vl_absorbed(vl_tensor q, vl_tensor states, const int64_t *lengths, int texts, const int64_t *of, vl_tensor wk, vl_tensor wv,
                      vl_tensor by_k, vl_tensor by_v, int heads);

#ifdef __cplusplus
}
#endif
#endif
