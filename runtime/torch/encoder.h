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

#ifdef __cplusplus
}
#endif
#endif
