// Results on their way to the host. Errors as in native.h.
#ifndef VALENCE_TORCH_FETCH_H
#define VALENCE_TORCH_FETCH_H

#include "native.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void *vl_fetch;

// vl_fetch_new queues the copies of some tensors to page-locked memory of the host, and waits for none. What is on the CPU is not
// copied where it is contiguous, and must not be changed.
vl_fetch vl_fetch_new(const vl_tensor *tensors, int n);
// vl_fetch_wait waits until they are there, on any thread. It returns 0, or -1 on an error.
int vl_fetch_wait(vl_fetch fetch);
// vl_fetch_data is where one is, of n numbers, after the wait, until vl_fetch_free.
const void *vl_fetch_data(vl_fetch fetch, int i, int64_t *n);
void vl_fetch_free(vl_fetch fetch);

#ifdef __cplusplus
}
#endif
#endif
