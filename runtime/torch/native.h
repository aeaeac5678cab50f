// What gotch does not bind, or binds badly. Each function that can fail leaves its error where gotch's own functions do
// (get_and_reset_last_err, kept for each thread) and returns NULL or -1.
#ifndef VALENCE_TORCH_NATIVE_H
#define VALENCE_TORCH_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void *vl_tensor;  // at::Tensor*, as gotch's handles are

void vl_set_threads(int n);
int vl_threads(void);
void vl_seed(uint64_t seed);
void vl_grad_mode(int enabled);
const char *vl_version(void);

// vl_load_cuda loads the CUDA half of libtorch. It returns NULL, or dlerror's text, which lives until the next call.
const char *vl_load_cuda(void);
int vl_cuda_count(void);  // devices; 0 when none can be used

// vl_upload copies size bytes at data, of the given kind and shape, into a new tensor of kind to on device (-1: CPU).
vl_tensor vl_upload(const void *data, size_t size, const int64_t *shape, int dims, int kind, int to, int device);
// vl_alias is a tensor on the CPU whose elements stay at data, which must outlive it and never change.
vl_tensor vl_alias(const void *data, size_t size, const int64_t *shape, int dims, int kind);
// vl_write copies size bytes at data, elements of dst's type, over dst, which may be a view. It returns 0, or -1 for an error.
int vl_write(vl_tensor dst, const void *data, size_t size);
// vl_rms_norm is x / sqrt(mean(x^2) + eps) * w over the last dimension, the mean taken in float32.
vl_tensor vl_rms_norm(vl_tensor x, vl_tensor w, double eps);
// vl_gelu_tanh is the tanh approximation of GELU. (gotch's binding leaks the name of the approximation at each call.)
vl_tensor vl_gelu_tanh(vl_tensor x);
// vl_linear is x w^T. In float32 on a CPU, batches go to oneDNN, there and back, which picks its kernel by what the
// processor can do; at::linear goes to MKL, which on processors of other makers stays with AVX2: 104 GFLOP/s on one core of
// an AVX-512 EPYC where oneDNN reached 235. Few rows stay with MKL: oneDNN reorders the weights at every call.
vl_tensor vl_linear(vl_tensor x, vl_tensor w);
// vl_attention is softmax(q k^T + bias) v, unscaled; bias may be NULL. (gotch's binding cannot say "no bias".)
vl_tensor vl_attention(vl_tensor q, vl_tensor k, vl_tensor v, vl_tensor bias);
// vl_leaf is x cut off from what made it: gradients end there.
vl_tensor vl_leaf(vl_tensor x);
// vl_grad writes to out the gradients with respect to the m tensors to of the n tensors of, each along a tensor of its
// shape, and frees what the operators kept for it. It returns -1 on an error and leaves out as it is.
int vl_grad(const vl_tensor *of, const vl_tensor *along, int n, const vl_tensor *to, int m, vl_tensor *out);
// vl_dropout zeroes elements of x [rows, ...] with probability rate and scales the others by 1 / (1 - rate). Which ones
// depends on the row's key (keys [rows] int64), salt and the element's place in its row, not on the shape or other rows.
vl_tensor vl_dropout(vl_tensor x, vl_tensor keys, int64_t salt, double rate);

#ifdef __cplusplus
}
#endif
#endif
