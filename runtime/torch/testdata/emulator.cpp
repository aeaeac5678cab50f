// A shared library that runs a GPU's kernels on the CPU, for torch.EmulateGPU.
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "cuda.h"

using Run = std::function<void(Index grid, int threads, void **args)>;

template <class... Args, size_t... I>
void call(void (*kernel)(Args...), Index grid, int threads, void **args, std::index_sequence<I...>) {
  launch(grid, threads, [=] { kernel(*static_cast<Args *>(args[I])...); });
}

template <class... Args>
Run run(void (*kernel)(Args...)) {
  return [=](Index grid, int threads, void **args) { call(kernel, grid, threads, args, std::index_sequence_for<Args...>()); };
}

#define EXPORTED extern "C" __attribute__((visibility("default")))
EXPORTED int64_t valence_emulated_width() { return WIDTH; }

EXPORTED void valence_emulated_run(const char *name, int64_t x, int64_t y, int64_t z, unsigned threads, void **args) {
  static const std::map<std::string, Run> kernels = {
      {"valence_embed", run(valence_embed)},
      {"valence_norm", run(valence_norm)},
      {"valence_scale", run(valence_scale)},
      {"valence_gate", run(valence_gate)},
      {"valence_attend", run(valence_attend)},
      {"valence_scores", run(valence_scores)},
      {"valence_sum", run(valence_sum)},
      {"valence_logits", run(valence_logits)},
      {"valence_norm_back", run(valence_norm_back)},
      {"valence_scale_back", run(valence_scale_back)},
      {"valence_drop", run(valence_drop)},
      {"valence_gate_back", run(valence_gate_back)},
      {"valence_attend_queries", run(valence_attend_queries)},
      {"valence_attend_keys", run(valence_attend_keys)},
  };
  static std::mutex one;
  std::lock_guard held(one);
  kernels.at(name)({int(x), int(y), int(z)}, int(threads), args);
}
