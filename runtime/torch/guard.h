// What every function that C sees is wrapped in.
#ifndef VALENCE_TORCH_GUARD_H
#define VALENCE_TORCH_GUARD_H

#include <cstdlib>
#include <cstring>
#include <exception>

#include <ATen/core/Tensor.h>

// Defined by gotch's torch_api.h; strings in it are malloc'ed.
extern thread_local char *torch_last_err;

// guarded is what f gives, or failed where f throws: the message is then the thread's last error.
template <class F>
auto guarded(F f, decltype(f()) failed) -> decltype(f()) {
  try {
    return f();
  } catch (const std::exception &e) {
    free(torch_last_err);
    torch_last_err = strdup(e.what());
    return failed;
  }
}

inline at::Tensor &ref(void *tensor) { return *static_cast<at::Tensor *>(tensor); }

// floats_on_cpu tells whether our own loops can read a tensor.
inline bool floats_on_cpu(const at::Tensor &x) { return x.is_cpu() && x.scalar_type() == at::kFloat; }

#endif
