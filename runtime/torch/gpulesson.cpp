#include "gpulesson.h"

#include <algorithm>
#include <cstring>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "gpuguard.h"
#include "gpulessons.h"
#include "gpunorm.h"
#include "noise.h"
#include "texts.h"

namespace valence::gpu {
namespace {

// The most tokens of a lesson that is recorded, and the most bytes that it leaves for the way back, with its vectors, in memory that the
// model keeps for this. Larger ones take the GPU longer than queueing.
constexpr int64_t kRecordedTokens = 4096, kRecordedBytes = int64_t(2) << 30;

// left_by is how many bytes the way there leaves of a token: the stream and what is projected from it, with and without vectors.
int64_t left_by(const Weights &w) {
  int64_t encoder = 2 * w.d + 7 * w.inner() + 2 * w.ff, decoder = 4 * w.inner();
  return int64_t(sizeof(uint16_t)) * (int64_t(w.encoder.size()) * encoder + int64_t(w.decoder.size()) * decoder);
}

Form form_of(const Weights &w, const vl_gpu_task &task, const Texts &texts) {
  Form f{};
  f.tokens = texts.tokens() <= kRecordedTokens ? tokens_like(texts.tokens()) : blocks(texts.tokens(), 64) * 64;
  f.texts = texts.texts(), f.longest = std::max<int64_t>(64, power_like(texts.longest));
  f.sequences = task.sequences, f.length = task.length, f.width = ref(task.vectors).size(1);
  f.learns = task.learns, f.looks = task.rows, f.dropout = task.dropout;
  f.recorded = f.tokens <= kRecordedTokens && f.tokens * left_by(w) + 2 * f.texts * f.width * int64_t(sizeof(float)) <= kRecordedBytes;
  f.columns.assign(task.columns, task.columns + 2 * task.projections);
  return f;
}

// Lesson is a task on its way.
class Lesson {
 public:
  Lesson(Lessons &all, const vl_gpu_task &task)
      : all(all), w(all.weights()), vectors(ref(task.vectors)), encoder_distances(distances(task.encoder_distances)), decoder_distances(distances(task.decoder_distances)) {
    Texts texts(task.lengths, task.texts);
    check(task, texts);
    w.place(task.columns, task.projections);
    auto form = form_of(w, task, texts);
    if (form.recorded) pool = all.lend();
    try {
      if (pool) known = &all.find(form);
      begin(task, texts, form);
    } catch (...) {
      give_back();
      throw;
    }
  }
  ~Lesson() { give_back(); }
  Lesson(const Lesson &) = delete;
  Lesson &operator=(const Lesson &) = delete;
  c10::Device device() const { return device_of(w.device); }

  int64_t there() {
    if (layers) return layers->there();
    known->there->replay();
    return 0;
  }

  at::Tensor states() {
    auto y = at::empty_like(stream());
    norm(stream(), w.decoder_norm, w.eps, y);
    if (in.noise) drop(kernels(), in.sequences, last_noise(), y, {}, y);
    if (again && !in.learns) record();
    return y;
  }

  void along(const at::Tensor &slope, const at::Tensor &to) {
    const auto &x = stream();
    TORCH_CHECK(slope.sizes() == x.sizes() && slope.scalar_type() == x.scalar_type() && to.sizes() == vectors.sizes() && on_device(to, at::kFloat) &&
                    to.is_contiguous(),
                "lesson: a gradient ", slope.sizes(), " of states ", x.sizes(), ", to vectors ", to.sizes());
    taught = to;
    auto g = layers ? at::empty_like(x) : known->at.slope, from = slope.contiguous();
    if (in.noise) {
      auto kept = at::empty_like(x);
      drop(kernels(), in.sequences, last_noise(), from, {}, kept);
      from = kept;
    }
    norm_back(from, x, w.decoder_norm, w.eps, {}, g);
    if (layers) layers->along(g, taught);
  }

  int64_t back() {
    TORCH_CHECK(taught.defined(), "lesson: there is no gradient to go back along");
    if (!layers) {
      known->back->replay();
      taught.copy_(known->at.taught, /*non_blocking=*/true);
      return 0;
    }
    auto left = layers->back();
    if (left == 0 && again) record();
    return left;
  }

 private:
  Lessons &all;
  Weights w;  // with the columns of the task's vectors
  at::Tensor vectors, encoder_distances, decoder_distances, numbers, taught;
  Held held;  // in the pool, so that a record of the form finds enough of it
  Given in;
  Pool *pool = nullptr;            // which the lesson has been lent
  Known *known = nullptr;          // of its form
  bool again = false;              // its form came before, and is to be recorded
  std::unique_ptr<Layers> layers;  // none where it is replayed

  bool on_device(const at::Tensor &t, at::ScalarType type) const { return t.device() == device() && t.scalar_type() == type; }

  at::Tensor distances(vl_tensor tensor) const {
    const auto &t = ref(tensor);
    TORCH_CHECK(on_device(t, at::kFloat) && t.is_contiguous() && t.dim() == 2 && t.size(0) == w.heads, "lesson: distances ", t.sizes());
    return t;
  }

  void check(const vl_gpu_task &task, const Texts &texts) const {
    TORCH_CHECK(on_device(vectors, at::kFloat) && vectors.dim() == 2 && vectors.is_contiguous() && vectors.size(0) == texts.texts() && vectors.size(1) % 4 == 0,
                "lesson: vectors ", vectors.sizes(), " for ", texts.texts(), " texts");
    TORCH_CHECK(task.dropout == 0 || (task.learns && task.dropout > 0 && task.dropout < 1 && texts.longest <= int64_t(kPlaces)), "lesson: dropout of ", task.dropout);
    TORCH_CHECK(task.sequences > 0 && task.length > 0 && (!task.learns || (!task.rows && task.sequences == task.texts)), "lesson: ", task.sequences, " sequences for ",
                texts.texts(), " texts");
    for (int i = 0; task.rows && i < task.sequences; i++) TORCH_CHECK(task.rows[i] >= 0 && task.rows[i] < texts.texts(), "lesson: a sequence of text ", task.rows[i]);
    auto reaches = [](const at::Tensor &t, int64_t longest) { TORCH_CHECK(longest <= t.size(1) / 2 + 1, "lesson: ", longest, " tokens for distances ", t.sizes()); };
    reaches(encoder_distances, texts.longest);
    reaches(decoder_distances, task.length);
  }

  void begin(const vl_gpu_task &task, const Texts &texts, const Form &form) {
    bool replayed = known && known->there;
    if (replayed) {
      numbers = known->at.numbers;
    } else if (pool) {
      held = all.hold(form, /*fixed=*/false);
      numbers = held.numbers;
    } else {
      numbers = at::empty({numbers_of(form)}, at::TensorOptions(device()).dtype(at::kInt));
    }
    upload(task, texts, form);
    in = given(form, numbers.const_data_ptr<int>());
    if (replayed) {
      known->at.vectors.copy_(vectors, /*non_blocking=*/true);
      return;
    }
    if (known) {
      again = known->met;
      known->met = true;
    }
    in.vectors = vectors, in.encoder_distances = encoder_distances, in.decoder_distances = decoder_distances;
    layers = std::make_unique<Layers>(w, in, pool);
  }

  // upload lays a task's numbers out as given has them, and queues their copy. What the form has more of than the task is 0.
  void upload(const vl_gpu_task &task, const Texts &texts, const Form &form) const {
    auto here = at::empty({numbers.numel()}, at::TensorOptions(at::kInt).pinned_memory(w.device >= 0));
    auto *p = here.data_ptr<int>();
    auto lay = [&](int64_t n, int64_t room, auto number) {
      for (int64_t i = 0; i < room; i++) *p++ = i < n ? int(number(i)) : 0;
    };
    auto row = [&](int64_t sequence) { return task.rows ? task.rows[sequence] : sequence; };
    int64_t tokens = texts.tokens(), all = form.sequences * form.length;
    if (form.dropout > 0) {
      std::memcpy(p, task.keys, form.texts * sizeof(*task.keys));
      p += 2 * form.texts;
    }
    lay(tokens, form.tokens, [&](int64_t i) { return task.ids[i]; });
    lay(form.texts + 1, form.texts + 1, [&](int64_t i) { return texts.start[i]; });
    lay(tokens, form.tokens, [&](int64_t i) { return texts.of[i]; });
    lay(all, all, [&](int64_t i) { return task.next[i]; });
    lay(form.sequences + 1, form.sequences + 1, [&](int64_t i) { return i * form.length; });
    lay(all, all, [&](int64_t i) { return row(i / form.length); });
    if (form.looks) lay(form.sequences, form.sequences, row);
    numbers.copy_(here, /*non_blocking=*/true);
  }

  const Kernels &kernels() const { return Kernels::of(w.device, w.width); }
  Noise last_noise() const { return in.noise_at(int64_t(w.encoder.size() + w.decoder.size()) + 3, 1); }
  const at::Tensor &stream() const { return layers ? layers->stream() : known->stream; }

  // record is after the last layer, when nothing of the lesson is left in the pool.
  void record() {
    again = false;
    layers->end();
    let_go();
    all.record(*known, w, encoder_distances, decoder_distances);
  }

  void let_go() {
    held = Held();
    numbers = at::Tensor();
  }

  void give_back() {
    layers.reset();
    let_go();
    if (known && known->end) known->end();  // of a replay that was emulated and did not come to its end
    if (pool) all.give_back();
    pool = nullptr;
  }
};

}  // namespace
}  // namespace valence::gpu

using namespace valence;
using valence::gpu::Lesson;

extern "C" {

vl_gpu_lesson vl_gpu_lesson_new(vl_gpu model, const vl_gpu_task *task) {
  return guarded(
      [&]() -> vl_gpu_lesson {
        auto &all = gpu::lessons(model);
        c10::DeviceGuard there(gpu::device_of(all.weights().device));
        return new Lesson(all, *task);
      },
      nullptr);
}

void vl_gpu_lesson_free(vl_gpu_lesson lesson) { delete static_cast<Lesson *>(lesson); }

int vl_gpu_lesson_there(vl_gpu_lesson lesson) {
  return gpu::on<Lesson>(lesson, [](Lesson &l) { return int(l.there()); }, -1);
}

vl_tensor vl_gpu_lesson_states(vl_gpu_lesson lesson) {
  return gpu::on<Lesson>(lesson, [](Lesson &l) -> vl_tensor { return new at::Tensor(l.states()); }, nullptr);
}

int vl_gpu_lesson_along(vl_gpu_lesson lesson, vl_tensor slope, vl_tensor taught) {
  return gpu::on<Lesson>(lesson, [&](Lesson &l) { return l.along(ref(slope), ref(taught)), 0; }, -1);
}

int vl_gpu_lesson_back(vl_gpu_lesson lesson) {
  return gpu::on<Lesson>(lesson, [](Lesson &l) { return int(l.back()); }, -1);
}

}  // extern "C"
