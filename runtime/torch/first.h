// The decoder's first step on the CPU, where each sequence has its start token alone. Errors as in native.h.
//
// The token attends to itself alone, so that the self-attention is W_o (W_v x). And with one query for each sequence, keys and
// values of the encoder's states X need not be made: as q (W_k X)^T is (q W_k) X^T, and the weighted sum of W_v X is W_v times
// that of X, two products of one row take the place of two of all tokens. Both are exact but for rounding.
#ifndef VALENCE_TORCH_FIRST_H
#define VALENCE_TORCH_FIRST_H

#include "encoder.h"

#ifdef __cplusplus
extern "C" {
#endif

// vl_keys and vl_values lay out wk and wv [heads * width, d], head by head, for vl_absorbed. *out and *in are the sizes of the
// matrix that this makes, which is what vl_packed_at needs.
void vl_keys_size(int64_t d, int64_t width, int64_t heads, int64_t *out, int64_t *in);
void vl_values_size(int64_t d, int64_t width, int64_t heads, int64_t *out, int64_t *in);
vl_packed vl_pack_keys(const void *data, int kind, int64_t d, int64_t width, int64_t heads, int format);
vl_packed vl_pack_values(const void *data, int kind, int64_t d, int64_t width, int64_t heads, int format);

// vl_seen is the states [texts, longest, d] of texts of the given lengths, laid out to be looked at by the calls below, which
// must be told the same lengths.
vl_tensor vl_seen(vl_tensor states, const int64_t *lengths, int texts);

// vl_look is what sequences see of texts: sequence i of text of[i], or of text i where of is NULL.
typedef struct {
  vl_tensor seen;
  const int64_t *lengths;
  int texts;
  const int64_t *of;
  int heads;
} vl_look;

// vl_absorbed is the attention of one query for each sequence, q [n, 1, heads * width], by the matrices k and v of vl_pack_keys and
// vl_pack_values, which have vectors for each sequence. The result is [n, 1, heads * width].
vl_tensor vl_absorbed(vl_tensor q, const vl_look *look, vl_projection k, vl_projection v);

typedef struct {
  vl_tensor self_norm, cross_norm, ff_norm;  // [d] float32
  vl_projection self_v, self_o, q, o, wi0, wi1, wo;  // wi1.w is NULL where the feed-forward is not gated
  vl_projection k, v;                                // of the states, by vl_pack_keys and vl_pack_values
} vl_first_layer;

// vl_first changes x [n, d] float32 to the layer's result. It returns 0, or -1 on an error.
int vl_first(vl_tensor x, const vl_look *look, const vl_first_layer *layer, int activation, double eps);

#ifdef __cplusplus
}
#endif
#endif
