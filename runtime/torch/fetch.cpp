#include "fetch.h"

#include <optional>
#include <vector>

#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "guard.h"

namespace valence {
namespace {

class Fetch {
 public:
  Fetch(const vl_tensor *tensors, int n) {
    for (int i = 0; i < n; i++) take(ref(tensors[i]));
  }
  void wait() {
    if (done) done->synchronize();
  }
  const at::Tensor &at(int i) const { return here[std::size_t(i)]; }

 private:
  std::vector<at::Tensor> here;
  std::optional<c10::Event> done;  // of what was queued, where there is anything

  void take(const at::Tensor &t) {
    if (!t.is_cuda()) {
      here.push_back(t.contiguous());
      return;
    }
    c10::DeviceGuard there(t.device());
    here.push_back(at::empty(t.sizes(), at::TensorOptions(t.scalar_type()).pinned_memory(true)));
    here.back().copy_(t, /*non_blocking=*/true);
    if (!done) done.emplace(t.device().type());
    done->record(c10::impl::VirtualGuardImpl(t.device().type()).getStream(t.device()));
  }
};

}  // namespace
}  // namespace valence

using namespace valence;

extern "C" {

vl_fetch vl_fetch_new(const vl_tensor *tensors, int n) {
  return guarded([&]() -> vl_fetch { return new Fetch(tensors, n); }, nullptr);
}

int vl_fetch_wait(vl_fetch fetch) {
  return guarded([&] { return static_cast<Fetch *>(fetch)->wait(), 0; }, -1);
}

const void *vl_fetch_data(vl_fetch fetch, int i, int64_t *n) {
  const auto &t = static_cast<Fetch *>(fetch)->at(i);
  *n = t.numel();
  return t.const_data_ptr();
}

void vl_fetch_free(vl_fetch fetch) { delete static_cast<Fetch *>(fetch); }

}  // extern "C"
