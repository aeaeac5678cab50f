// What every function that C sees of an object on a GPU is wrapped in.
#ifndef VALENCE_TORCH_GPUGUARD_H
#define VALENCE_TORCH_GPUGUARD_H

#include <c10/core/DeviceGuard.h>

#include "guard.h"

namespace valence::gpu {

// on is what f gives of an object of class T, on its device, or failed.
template <class T, class F>
auto on(void *object, F f, decltype(f(*static_cast<T *>(nullptr))) failed) {
  return guarded(
      [&] {
        auto &t = *static_cast<T *>(object);
        c10::DeviceGuard there(t.device());
        return f(t);
      },
      failed);
}

}  // namespace valence::gpu

#endif
