// A lesson on a GPU in bfloat16: texts go through a model layer by layer, which keeps what the way back needs, and gradients come back
// to the texts' own vectors; or there alone. Texts lie end to end, and libtorch's autograd has no part in it. A form of lessons that
// came before is replayed from a record. Errors as in native.h.
#ifndef VALENCE_TORCH_GPULESSON_H
#define VALENCE_TORCH_GPULESSON_H

#include "gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  const int32_t *ids;      // of the texts, end to end
  const int64_t *lengths;  // [texts]
  int texts;
  const int64_t *next;  // [sequences, length]: what the decoder reads
  int sequences;
  int64_t length;
  const int64_t *rows;     // [sequences]: text that each looks at, or NULL where sequence i looks at text i
  vl_tensor vectors;       // [texts, width] float32
  const int64_t *columns;  // [2 projections]: of the vectors, as for vl_gpu_adapters
  int projections;
  vl_tensor encoder_distances, decoder_distances;  // as vl_distances gives them
  double dropout;                                  // the part of the elements that are dropped, as vl_dropout does, or 0; only where there is a way back
  const uint64_t *keys;                            // [texts], for dropout
  int learns;                                      // whether there will be a way back; then rows is NULL
} vl_gpu_task;

typedef void *vl_gpu_lesson;

// vl_gpu_lesson_new lays a task out on the model's device. The model must outlive the lesson.
vl_gpu_lesson vl_gpu_lesson_new(vl_gpu model, const vl_gpu_task *task);
void vl_gpu_lesson_free(vl_gpu_lesson lesson);
// vl_gpu_lesson_there queues the next layer, of the encoder and then of the decoder, or all that are recorded, and returns how many are
// left, or -1 on an error.
int vl_gpu_lesson_there(vl_gpu_lesson lesson);
// vl_gpu_lesson_states are the decoder's, after its last norm: [sequences * length, d]. Where there is no way back it is the last call.
vl_tensor vl_gpu_lesson_states(vl_gpu_lesson lesson);
// vl_gpu_lesson_along begins the way back, along a gradient of the states. Those of the vectors, [texts, width] float32, are written
// to taught as the layers come. It returns 0, or -1 on an error.
int vl_gpu_lesson_along(vl_gpu_lesson lesson, vl_tensor slope, vl_tensor taught);
// vl_gpu_lesson_back queues the way back through the last layer that is left, or all that are recorded, and returns how many there are
// still, or -1 on an error.
int vl_gpu_lesson_back(vl_gpu_lesson lesson);
// vl_gpu_lesson_records is how many forms of lessons a model has recorded.
int vl_gpu_lesson_records(vl_gpu model);

#ifdef __cplusplus
}
#endif
#endif
