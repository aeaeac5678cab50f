// Frozen weights laid out once for multiplying on the CPU in reduced precision. Errors as in native.h.
#ifndef VALENCE_TORCH_PACKED_H
#define VALENCE_TORCH_PACKED_H

#include "native.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void *vl_packed;

// How a product is computed. Rows and results are float32 in all of them. Where the processor has what our kernels need they
// are used, and oneDNN otherwise.
enum vl_format {
  vl_bfloat16 = 1,  // rows (where the processor multiplies bfloat16) and weights rounded to bfloat16, sums in float32
  vl_float16 = 2,   // weights rounded to float16
  vl_int8 = 3,      // weights in 8 bits with a scale for each output, rows with a scale for each row, sums exact
  vl_float32 = 4,
  vl_wide_bfloat16 = 5,  // weights rounded to bfloat16, rows not
  vl_wide_int8 = 6,      // int8 but for rows, which have 16 bits
};

int vl_can_pack(int format);    // whether there is a way for this processor
int vl_fast_bfloat16(void);     // whether it multiplies bfloat16 faster than float32

// vl_pack lays out w [out, in], which is not needed afterwards.
vl_packed vl_pack(vl_tensor w, int format);
// vl_pack_data does the same with out * in little-endian numbers of a type of at::ScalarType.
vl_packed vl_pack_data(const void *data, int kind, int64_t out, int64_t in, int format);
// vl_layout writes how this processor lays out weights of a format, at most size bytes with the zero at the end: what is laid out
// alike multiplies alike. It is "" where weights cannot be kept.
void vl_layout(int format, char *name, int size);
// vl_packed_data is what a weight is made of, vl_packed_bytes of it, or NULL where it cannot be kept.
const void *vl_packed_data(vl_packed p);
// vl_packed_at is the weight [out, in] that is made of data, in the layout of a format. It stays there until vl_settle, or until the
// weight is freed.
vl_packed vl_packed_at(const void *data, size_t size, int64_t out, int64_t in, int format);
// vl_settle moves what vl_packed_at has left where it was into pages of 2 MiB. It returns 0, or -1 for an error.
int vl_settle(vl_packed p);
void vl_packed_free(vl_packed p);
int64_t vl_packed_bytes(vl_packed p);
// vl_packed_linear is x w^T: x [..., in] float32. Where x takes part in gradients, p must live until they are had.
vl_tensor vl_packed_linear(vl_tensor x, vl_packed p);

#ifdef __cplusplus
}
#endif
#endif
