#include "gpu.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include "gpuguard.h"
#include "gpulessons.h"
#include "gpupass.h"
#include "texts.h"

namespace valence::gpu {
namespace {

// The most tokens and texts of a batch that is recorded, and the most records. Larger batches take the GPU longer than queueing.
constexpr int64_t kRecordedTokens = 4096, kRecordedTexts = 256, kMostRecords = 96;
// The most tokens of the head that a recorded batch may ask for.
constexpr int64_t kRecordedNext = 4096;

// Batch is what a caller gave.
struct Batch {
  const int32_t *ids;
  Texts texts;
  const int64_t *slots;
  const int64_t *next;
  int64_t n;
};

// Shape is how a batch lies in its block of numbers, and what a record is for.
struct Shape {
  int64_t tokens, texts;
  bool adapters;
  int64_t longest;
  auto key() const { return std::make_tuple(tokens, texts, adapters); }
  int64_t numbers() const { return 2 * tokens + 2 * texts + 1; }
};

class Model {
 public:
  explicit Model(const vl_gpu_weights &from) : w(from) { Kernels::of(w.device, w.width); }
  c10::Device device() const { return device_of(w.device); }
  // lessons are those of the calling thread's stream: what others queue may still be using their memory.
  Lessons &lessons() { return taught.try_emplace(stream(w.device), w).first->second; }
  int64_t lesson_records() const {
    int64_t n = 0;
    for (const auto &[stream, lessons] : taught) n += lessons.count();
    return n;
  }

  void adapters(vl_tensor table, const int64_t *columns, int projections, const at::Tensor &distances) {
    records.clear();
    TORCH_CHECK(distances.device() == device() && distances.scalar_type() == at::kFloat && distances.is_contiguous() && distances.size(0) == w.heads, "gpu: distances ",
                distances.sizes());
    w.distances = distances;
    w.table = nullptr;
    w.place(columns, projections);
    if (!table) return;
    const auto &t = ref(table);
    TORCH_CHECK(t.device() == device() && t.scalar_type() == at::kFloat && t.is_contiguous() && t.size(1) % 4 == 0, "gpu: table ", t.sizes());
    w.table = t.const_data_ptr<float>();
    w.table_step = t.size(1);
  }

  at::Tensor encode(const Batch &b) {
    Room room(options());
    auto shape = plain(b);
    auto there = upload(b, shape, at::Tensor());
    auto in = inputs(shape, there);
    return Pass(w, in, room).states();
  }

  void score(const Batch &b, float *out) {
    auto like = recorded(b);
    if (!like) {
      run(b, plain(b), out, nullptr);
      return;
    }
    auto &known = find(*like);
    if (known.record) {
      replay(b, known, out);
    } else if (!known.met) {
      known.met = true;
      run(b, plain(b), out, nullptr);
    } else {
      int64_t peak = 0;
      run(b, known.shape, out, &peak);
      try {
        record(known, peak);
      } catch (const std::exception &e) {  // the answer is there, and others do not need records
        why = e.what();
      }
    }
  }

  const char *unrecorded() const {
    if (!why.empty()) return why.c_str();
    for (const auto &[stream, lessons] : taught) {
      if (!lessons.unrecorded().empty()) return lessons.unrecorded().c_str();
    }
    return nullptr;
  }

  int64_t count() const {
    return std::count_if(records.begin(), records.end(), [](const Known &k) { return bool(k.record); });
  }

 private:
  struct Known {
    Shape shape;
    bool met = false;
    at::Tensor memory, states;
    std::unique_ptr<Record> record;
  };
  Weights w;
  std::list<Known> records;  // the last used first
  at::Tensor memory;         // of the records to come
  at::Tensor block;          // the numbers that all records read
  std::string why;           // nothing is recorded any more
  std::map<void *, Lessons> taught;  // by stream

  at::TensorOptions options() const { return at::TensorOptions(device()); }

  // plain is the shape of a batch as it is.
  Shape plain(const Batch &b) const {
    bool adapters = std::any_of(b.slots, b.slots + b.texts.texts(), [](int64_t slot) { return slot != 0; });
    TORCH_CHECK(!adapters || w.table, "gpu: rows have adapters, and there is no table of them");
    TORCH_CHECK(w.distances.defined() && b.texts.longest <= w.reach() + 1, "gpu: texts of up to ", b.texts.longest, " tokens are too long for the distances");
    return {b.texts.tokens(), b.texts.texts(), adapters, b.texts.longest};
  }

  // recorded is the shape that a record for a batch has, if it may have one.
  std::optional<Shape> recorded(const Batch &b) const {
    auto s = plain(b);
    if (!why.empty() || s.tokens > kRecordedTokens || s.texts > kRecordedTexts || b.n > kRecordedNext) return std::nullopt;
    s.tokens = tokens_like(s.tokens);
    s.texts = power_like(s.texts);
    s.longest = std::min(s.tokens, w.reach() + 1);
    return s;
  }

  Known &find(const Shape &shape) {
    auto at = std::find_if(records.begin(), records.end(), [&](const Known &k) { return k.shape.key() == shape.key(); });
    if (at == records.end()) {
      if (int64_t(records.size()) >= kMostRecords) records.pop_back();
      records.push_front({shape});
    } else {
      records.splice(records.begin(), records, at);
    }
    return records.front();
  }

  // upload lays a batch out as a shape has it, and what it asks for behind, and queues the copy, to block where there is one. What
  // the shape has more of than the batch has no tokens.
  at::Tensor upload(const Batch &b, const Shape &s, at::Tensor to) const {
    int64_t size = s.numbers() + b.n, tokens = b.texts.tokens(), texts = b.texts.texts();
    auto here = at::empty({size}, at::TensorOptions(at::kInt).pinned_memory(w.device >= 0));
    auto *p = here.data_ptr<int>();
    std::fill(p, p + size, 0);
    std::copy(b.ids, b.ids + tokens, p);
    p += s.tokens;
    for (int64_t i = 0; i < tokens; i++) p[i] = int(b.slots[b.texts.of[i]]);
    p += s.tokens;
    for (int64_t i = 0; i <= s.texts; i++) p[i] = int(b.texts.start[std::min(i, texts)]);
    p += s.texts + 1;
    std::copy(b.slots, b.slots + texts, p);
    p += s.texts;
    std::copy(b.next, b.next + b.n, p);
    if (!to.defined()) to = at::empty({size}, options().dtype(at::kInt));
    to.narrow(0, 0, size).copy_(here, /*non_blocking=*/true);
    return to;
  }

  static Inputs inputs(const Shape &s, const at::Tensor &block) {
    const auto *p = block.const_data_ptr<int>();
    Inputs in;
    in.tokens = s.tokens, in.texts = s.texts, in.longest = s.longest, in.adapters = s.adapters;
    in.ids = p;
    in.slots = p + s.tokens;
    in.start = in.slots + s.tokens;
    in.text_slots = in.start + s.texts + 1;
    return in;
  }

  // run queues a batch in a shape, and reads the result. peak, if any, is told how much room it took.
  void run(const Batch &b, const Shape &s, float *out, int64_t *peak) {
    Room room(options());
    auto there = upload(b, s, at::Tensor());
    auto in = inputs(s, there);
    Pass pass(w, in, room);
    read(b, s, pass.first(pass.states()), there, out);
    if (peak) *peak = room.peak();
  }

  // read waits for the logits of states of a batch whose numbers are there in a shape.
  void read(const Batch &b, const Shape &s, const at::Tensor &states, const at::Tensor &there, float *out) const {
    auto to = at::empty({b.texts.texts(), b.n}, options().dtype(at::kFloat));
    logits(w, states, there.const_data_ptr<int>() + s.numbers(), to);
    auto here = to.cpu();
    std::copy_n(here.const_data_ptr<float>(), here.numel(), out);
  }

  void record(Known &known, int64_t peak) {
    if (!memory.defined() || memory.numel() < peak) memory = at::empty({std::max<int64_t>(2 * peak, 64 << 20)}, options().dtype(at::kByte));
    if (!block.defined()) block = at::empty({2 * (kRecordedTokens + kRecordedTexts) + kRecordedNext + 1}, options().dtype(at::kInt));
    block.zero_();  // where recording is emulated it runs, on texts without tokens
    known.memory = memory;
    auto before = allocations(w.device);
    auto made = std::make_unique<Record>(w.device, [this, &known, in = inputs(known.shape, block)] {
      Room room(options(), known.memory);
      Pass pass(w, in, room);
      known.states = pass.first(pass.states());
    });
    // What libtorch allocates is given to others afterwards, while a replay still writes there.
    TORCH_CHECK(allocations(w.device) == before, "gpu: an operator allocated memory while a pass was recorded");
    known.record = std::move(made);
  }

  void replay(const Batch &b, const Known &known, float *out) const {
    upload(b, known.shape, block);
    known.record->replay();
    read(b, known.shape, known.states, block, out);
  }
};

}  // namespace

Lessons &lessons(vl_gpu model) { return static_cast<Model *>(model)->lessons(); }

}  // namespace valence::gpu

using namespace valence;
using valence::gpu::Model;

extern "C" {

int vl_gpu_emulate(const char *path) {
  return guarded([&] { return gpu::emulate(path), 0; }, -1);
}

void vl_gpu_sources(const char *common, const char *kernels, const char *learn) { gpu::keep_sources(common, kernels, learn); }

int vl_gpu_stream(int device, int urgent) {
  return guarded([&] { return gpu::use_stream(device, urgent), 0; }, -1);
}

int vl_gpu_synchronize(int device) {
  return guarded([&] { return gpu::synchronize(device), 0; }, -1);
}

int vl_gpu_fits(int device, int64_t d, int64_t width, int64_t ff) {
  return guarded([&] { return int(gpu::sizes_fit(d, width, ff) && gpu::capable(device)); }, -1);
}

vl_gpu vl_gpu_new(const vl_gpu_weights *weights) {
  return guarded(
      [&]() -> vl_gpu {
        c10::DeviceGuard there(ref(weights->embeddings).device());
        return new Model(*weights);
      },
      nullptr);
}

void vl_gpu_free(vl_gpu model) { delete static_cast<Model *>(model); }

int vl_gpu_adapters(vl_gpu model, vl_tensor table, const int64_t *columns, int projections, vl_tensor distances) {
  return gpu::on<Model>(model, [&](Model &m) { return m.adapters(table, columns, projections, ref(distances)), 0; }, -1);
}

vl_tensor vl_gpu_encode(vl_gpu model, const int32_t *ids, const int64_t *lengths, const int64_t *slots, int texts) {
  return gpu::on<Model>(model, [&](Model &m) -> vl_tensor { return new at::Tensor(m.encode({ids, Texts(lengths, texts), slots, nullptr, 0})); }, nullptr);
}

int vl_gpu_score(vl_gpu model, const int32_t *ids, const int64_t *lengths, const int64_t *slots, int texts, const int64_t *next, int n,
                 float *out) {
  return gpu::on<Model>(model, [&](Model &m) { return m.score({ids, Texts(lengths, texts), slots, next, n}, out), 0; }, -1);
}

int vl_gpu_lesson_records(vl_gpu model) { return int(static_cast<Model *>(model)->lesson_records()); }

const char *vl_gpu_unrecorded(vl_gpu model) { return static_cast<Model *>(model)->unrecorded(); }

int vl_gpu_records(vl_gpu model) { return int(static_cast<Model *>(model)->count()); }

}  // extern "C"
