// Frozen weights laid out once for multiplying on the CPU in reduced precision. Errors as in native.h.
#ifndef VALENCE_TORCH_PACKED_H
#define VALENCE_TORCH_PACKED_H

#include "native.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void *vl_packed;

// How a product is computed. Rows and results are float32 in all of them.
enum vl_format {
  vl_bfloat16 = 1,  // rows and weights rounded to bfloat16, sums in float32, by oneDNN
  vl_float16 = 2,   // weights rounded to float16, by FBGEMM
  vl_int8 = 3,      // weights in 8 bits with a scale for each output, rows with a scale for each row, sums exact, by oneDNN
};

// vl_pack lays out w [out, in], which is not needed afterwards.
vl_packed vl_pack(vl_tensor w, int format);
void vl_packed_free(vl_packed p);
int64_t vl_packed_bytes(vl_packed p);
// vl_packed_linear is x w^T: x [..., in] float32. Where x takes part in gradients, w, the same weight as a tensor of any
// type, is what the way back multiplies by.
vl_tensor vl_packed_linear(vl_tensor x, vl_packed p, vl_tensor w);

#ifdef __cplusplus
}
#endif
#endif
