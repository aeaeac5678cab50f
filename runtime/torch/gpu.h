// A model in bfloat16 on a GPU: its forward, queued as a whole, with kernels of our own between libtorch's products. Texts lie end
// to end without padding. Errors as in native.h.
#ifndef VALENCE_TORCH_GPU_H
#define VALENCE_TORCH_GPU_H

#include "native.h"

#ifdef __cplusplus
extern "C" {
#endif

// vl_gpu_sources are what common.cu, kernels.cu and learn.cu have. They are kept.
void vl_gpu_sources(const char *common, const char *kernels, const char *learn);
// vl_gpu_emulate has the CPU take a GPU's part, device -1, in tests: kernels are run by a shared library, and without a path no more.
int vl_gpu_emulate(const char *path);
// vl_gpu_stream has the calling thread queue on one of two streams of its own from now on, each of which runs in order: what is urgent
// goes before what is not, and neither waits for the other. What goes to CUDA's default stream could not be recorded. It returns 0, or -1
// on an error.
int vl_gpu_stream(int device, int urgent);
// vl_gpu_synchronize waits until the device has done all that was queued, on every stream: before what one of them made is read by
// another, or is freed that another may still read. It returns 0, or -1 on an error.
int vl_gpu_synchronize(int device);
// vl_gpu_fits tells whether a GPU can have the kernels for states of d numbers, heads of a width and feed-forwards of ff: 1, or 0, or
// -1 on an error.
int vl_gpu_fits(int device, int64_t d, int64_t width, int64_t ff);

// Matrices are [out, in]. Those of one input are joined: qkv is [3 inner, d], kv [2 inner, d], and wi [2 ff, d] where it is gated, else
// [ff, d].
enum { vl_encoder_parts = 6, vl_decoder_parts = 10 };
typedef struct {
  int encoder_layers, decoder_layers, heads, gated, activation;
  int32_t start;  // the decoder's start token
  double eps, head_scale;
  vl_tensor embeddings, head;            // [vocabulary, d]
  vl_tensor encoder_norm, decoder_norm;  // [d], the final ones
  const vl_tensor *encoder;              // of each layer: norm, qkv, o; norm, wi, wo
  const vl_tensor *decoder;              // of each layer: norm, qkv, o; norm, q, kv, o; norm, wi, wo
} vl_gpu_weights;

typedef void *vl_gpu;

// vl_gpu_new keeps the weights, and has the kernels of kernels.cu compiled.
vl_gpu vl_gpu_new(const vl_gpu_weights *weights);
void vl_gpu_free(vl_gpu model);
// vl_gpu_adapters tells where adapters' vectors are: in table [slots, width] float32, slot 0 all ones, at columns[2 i] that of the
// input of projection i, and at columns[2 i + 1] of its output, or -1. Projections are numbered as they follow in a stack: q, k,
// v, o, in a decoder those of the attention to the encoder's states, then wi0, wi1 where it is gated, wo. table stays the caller's, until
// the next call or the model's end, and may be NULL while all rows are of slot 0. distances is as vl_distances gives it, for the longest text to come. 0, or -1 on an error.
int vl_gpu_adapters(vl_gpu model, vl_tensor table, const int64_t *columns, int projections, vl_tensor distances);
// vl_gpu_encode gives the encoder's states [tokens, d] of texts of the given lengths, whose tokens are ids, each with the adapter
// of its slot.
vl_tensor vl_gpu_encode(vl_gpu model, const int32_t *ids, const int64_t *lengths, const int64_t *slots, int texts);
// vl_gpu_score writes to out [texts, n] the logits of tokens next [n] after the start token. Small batches whose shape came before are replayed from a record. It waits for the result. 0, or -1 on an error,
// which that of recording is not.
int vl_gpu_score(vl_gpu model, const int32_t *ids, const int64_t *lengths, const int64_t *slots, int texts, const int64_t *next, int n,
                 float *out);
// vl_gpu_records is how many shapes are recorded.
int vl_gpu_records(vl_gpu model);
// vl_gpu_unrecorded is why shapes, or forms of lessons, are no longer recorded, as that failed once, or NULL. It lives as long as the
// model.
const char *vl_gpu_unrecorded(vl_gpu model);

#ifdef __cplusplus
}
#endif
#endif
