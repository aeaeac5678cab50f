#include "gpulesson.h"

#include <algorithm>
#include <vector>

#include <ATen/ops/add.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <c10/core/DeviceGuard.h>

#include "gpunorm.h"
#include "gpupass.h"
#include "guard.h"
#include "texts.h"

namespace valence::gpu {
namespace {

// Columns of a block that sums tokens, and its threads: kStrip and kWarps of learn.cu.
constexpr int64_t kStrip = 256;
constexpr unsigned kStripThreads = 256;

// Tokens are those of texts or of sequences, which lie end to end.
struct Tokens {
  int64_t all = 0, texts = 0, longest = 0;
  const int *ids = nullptr;    // [all]
  const int *start = nullptr;  // [texts + 1]
  const int *rows = nullptr;   // [all]: row of the vectors that each has
};

// Columns are some of a tensor's: x has their first, and its rows lie step apart.
struct Columns {
  char *x = nullptr;
  int64_t step = 0;
};

Columns part(const at::Tensor &t, int64_t i, int64_t size) {
  return {static_cast<char *>(data(t)) + i * size * t.element_size(), t.size(1)};
}

// Joined is a product by matrices of one size and input that lie one after the other, and what its way back needs.
struct Joined {
  at::Tensor weight;         // [parts * size, in]
  std::vector<Scales> by;    // of each part
  at::Tensor from;           // [n, in], where vectors scale it for any part
  at::Tensor made, scaled;   // [n, parts * size], and, where vectors scale parts of it, these
  int64_t size() const { return weight.size(0) / int64_t(by.size()); }
  Columns part(int64_t i) const { return gpu::part(by[i].out < 0 ? made : scaled, i, size()); }
};

struct Attended {
  at::Tensor x, mixed, log;
  Joined q, kv, o;  // q has keys and values, too, where kv has none
  bool self() const { return kv.by.empty(); }
  Columns keys() const { return self() ? q.part(1) : kv.part(0); }
  Columns values() const { return self() ? q.part(2) : kv.part(1); }
};

struct Fed {
  at::Tensor x;
  Joined wi, wo;
};

class Lesson {
 public:
  Lesson(const Weights &model, const vl_gpu_task &task)
      : w(model),
        kernels(Kernels::of(w.device, w.width)),
        vectors(ref(task.vectors)),
        encoder_distances(distances(task.encoder_distances)),
        decoder_distances(distances(task.decoder_distances)),
        learns(task.learns) {
    w.place(task.columns, task.projections);
    Texts texts(task.lengths, task.texts);
    TORCH_CHECK(on_device(vectors, at::kFloat) && vectors.dim() == 2 && vectors.is_contiguous() && vectors.size(0) == texts.texts() && vectors.size(1) % 4 == 0,
                "lesson: vectors ", vectors.sizes(), " for ", texts.texts(), " texts");
    TORCH_CHECK(task.sequences > 0 && task.length > 0 && (!learns || (!task.rows && task.sequences == task.texts)), "lesson: ", task.sequences, " sequences for ",
                texts.texts(), " texts");
    for (int i = 0; task.rows && i < task.sequences; i++) TORCH_CHECK(task.rows[i] >= 0 && task.rows[i] < texts.texts(), "lesson: a sequence of text ", task.rows[i]);
    check_reach(encoder_distances, texts.longest);
    check_reach(decoder_distances, task.length);
    upload(task, texts);
  }
  c10::Device device() const { return device_of(w.device); }

  int64_t there() {
    TORCH_CHECK(at < layers(), "lesson: there are no more layers");
    if (at == 0) x = embedded(texts);
    if (at < encoders()) {
      const auto &layer = w.encoder[at];
      self(texts, encoder_distances, layer.self);
      feed_forward(texts, layer.ff);
      if (at == encoders() - 1) {
        encoder_end = x;
        states = norm(x, w.encoder_norm);
        x = embedded(sequences);
      }
    } else {
      const auto &layer = w.decoder[at - encoders()];
      self(sequences, decoder_distances, layer.self);
      cross(layer.cross);
      feed_forward(sequences, layer.ff);
    }
    return layers() - ++at;
  }

  // last are the decoder's states.
  at::Tensor last() {
    TORCH_CHECK(at == layers(), "lesson: layers are left");
    return norm(x, w.decoder_norm);
  }

  void along(const at::Tensor &slope, const at::Tensor &to) {
    TORCH_CHECK(learns && at == layers() && slope.sizes() == x.sizes() && slope.scalar_type() == x.scalar_type() && to.sizes() == vectors.sizes() && on_device(to, at::kFloat) &&
                    to.is_contiguous(),
                "lesson: a gradient ", slope.sizes(), " of states ", x.sizes(), ", to vectors ", to.sizes());
    taught = to;
    g = norm_back(slope.contiguous(), x, w.decoder_norm, at::Tensor());
  }

  int64_t back() {
    TORCH_CHECK(taught.defined() && at > lowest(), "lesson: there is nothing to go back through");
    at--;
    if (at >= encoders()) {
      const auto &layer = w.decoder[at - encoders()];
      feed_forward_back(sequences, layer.ff);
      cross_back(layer.cross);
      self_back(sequences, decoder_distances, layer.self);
      if (at == encoders() && lowest() < at) g = norm_back(states_slope, encoder_end, w.encoder_norm, at::Tensor());
    } else {
      const auto &layer = w.encoder[at];
      feed_forward_back(texts, layer.ff);
      self_back(texts, encoder_distances, layer.self);
    }
    return at - lowest();
  }

 private:
  Weights w;  // with the columns of the task's vectors
  const Kernels &kernels;
  at::Tensor vectors, encoder_distances, decoder_distances;
  bool learns;
  at::Tensor numbers;  // on the device, which the pointers of tokens are to
  Tokens texts, sequences;
  const int *seen = nullptr;       // [sequences]: text that each looks at, or null
  int64_t at = 0;                  // layers that are done, on the way back those that are left
  at::Tensor x, states;            // the stream, and the encoder's states
  at::Tensor encoder_end;          // before the encoder's last norm
  std::vector<Attended> attended;  // the last one last
  std::vector<Fed> fed;
  at::Tensor g, states_slope, taught;  // gradients of the stream, of the encoder's states and of the vectors

  int64_t encoders() const { return w.encoder.size(); }
  int64_t layers() const { return w.encoder.size() + w.decoder.size(); }
  bool on_device(const at::Tensor &t, at::ScalarType type) const { return t.device() == device() && t.scalar_type() == type; }

  at::Tensor distances(vl_tensor tensor) const {
    const auto &t = ref(tensor);
    TORCH_CHECK(on_device(t, at::kFloat) && t.is_contiguous() && t.dim() == 2 && t.size(0) == w.heads, "lesson: distances ", t.sizes());
    return t;
  }
  static void check_reach(const at::Tensor &distances, int64_t longest) {
    TORCH_CHECK(longest <= distances.size(1) / 2 + 1, "lesson: ", longest, " tokens for distances ", distances.sizes());
  }

  // lowest is the first layer that has vectors, below which nothing goes back.
  int64_t lowest() const {
    auto any = [](std::initializer_list<Scales> all) { return std::any_of(all.begin(), all.end(), [](const Scales &s) { return s.in >= 0 || s.out >= 0; }); };
    auto attends = [&](const auto &a) { return any({a.by_q, a.by_k, a.by_v, a.by_o}); };
    auto feeds = [&](const FeedForward &ff) { return any({ff.by_wi0, ff.by_wi1, ff.by_wo}); };
    int64_t n = 0;
    for (const auto &l : w.encoder) {
      if (attends(l.self) || feeds(l.ff)) return n;
      n++;
    }
    for (const auto &l : w.decoder) {
      if (attends(l.self) || attends(l.cross) || feeds(l.ff)) return n;
      n++;
    }
    return n;
  }

  // upload lays all of a task's numbers out in one block, and queues its copy.
  void upload(const vl_gpu_task &task, const Texts &of) {
    texts.all = of.tokens(), texts.texts = of.texts(), texts.longest = of.longest;
    sequences.all = task.sequences * task.length, sequences.texts = task.sequences, sequences.longest = task.length;
    int64_t size = 2 * texts.all + texts.texts + 1 + 2 * sequences.all + sequences.texts + 1 + (task.rows ? sequences.texts : 0);
    auto here = at::empty({size}, at::TensorOptions(at::kInt).pinned_memory(w.device >= 0));
    numbers = at::empty({size}, at::TensorOptions(device()).dtype(at::kInt));
    auto *p = here.data_ptr<int>();
    auto lay = [&, first = p](int64_t n, auto number) {
      const int *there = numbers.const_data_ptr<int>() + (p - first);
      for (int64_t i = 0; i < n; i++) *p++ = int(number(i));
      return there;
    };
    auto row = [&](int64_t sequence) { return task.rows ? task.rows[sequence] : sequence; };
    texts.ids = lay(texts.all, [&](int64_t i) { return task.ids[i]; });
    texts.start = lay(texts.texts + 1, [&](int64_t i) { return of.start[i]; });
    texts.rows = lay(texts.all, [&](int64_t i) { return of.of[i]; });
    sequences.ids = lay(sequences.all, [&](int64_t i) { return task.next[i]; });
    sequences.start = lay(sequences.texts + 1, [&](int64_t i) { return i * task.length; });
    sequences.rows = lay(sequences.all, [&](int64_t i) { return row(i / task.length); });
    if (task.rows) seen = lay(sequences.texts, row);
    numbers.copy_(here, /*non_blocking=*/true);
  }

  at::Tensor room(at::IntArrayRef sizes, at::ScalarType type = at::kBFloat16) const { return at::empty(sizes, at::TensorOptions(device()).dtype(type)); }

  Vectors by(int64_t column) const {
    if (column < 0) return {};
    return {vectors.const_data_ptr<float>() + column, vectors.stride(0)};
  }
  float *slopes(int64_t column) const { return column < 0 ? nullptr : taught.data_ptr<float>() + column; }

  at::Tensor embedded(const Tokens &t) const {
    auto y = room({t.all, w.d});
    kernels.run(Kernel::kEmbed, {t.all}, threads(w.d), data(w.embeddings), t.ids, 0, data(y), int(w.d));
    return y;
  }

  at::Tensor norm(const at::Tensor &x, const at::Tensor &weight) const { return gpu::norm(x, weight, w.eps); }
  at::Tensor norm_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &weight, const at::Tensor &plus) const {
    return gpu::norm_back(g, x, weight, w.eps, plus);
  }

  void scale(const Tokens &t, const Columns &from, const Columns &to, int64_t column, int64_t size) const {
    kernels.run(Kernel::kScale, {t.all}, threads(size), from.x, from.step, to.x, to.step, by(column), t.rows, 1, int(size));
  }

  // scale_back turns d, the gradient of x scaled, into that of x.
  void scale_back(const Tokens &t, const Columns &d, const Columns &x, int64_t column, int64_t size) const {
    kernels.run(Kernel::kScaleBack, {blocks(size, kStrip), t.texts}, kStripThreads, d.x, d.step, x.x, x.step, by(column), t.start, d.x, slopes(column), taught.stride(0), int(size));
  }

  Joined joined(const Tokens &t, const at::Tensor &h, const at::Tensor &weight, std::vector<Scales> by) const {
    Joined j{weight, std::move(by), {}, room({t.all, weight.size(0)}), {}};
    int64_t size = j.size(), in = weight.size(1);
    auto any = [&](int64_t Scales::*which) { return std::any_of(j.by.begin(), j.by.end(), [=](const Scales &s) { return s.*which >= 0; }); };
    if (!any(&Scales::in)) {
      at::mm_out(j.made, h, weight.t());
    } else {
      j.from = h;
      for (size_t i = 0; i < j.by.size(); i++) {
        auto from = h;
        if (j.by[i].in >= 0) scale(t, part(h, 0, in), part(from = room(h.sizes()), 0, in), j.by[i].in, in);
        auto to = j.made.narrow(1, i * size, size);
        at::mm_out(to, from, weight.narrow(0, i * size, size).t());
      }
    }
    if (!any(&Scales::out)) return j;
    j.scaled = room(j.made.sizes());
    for (size_t i = 0; i < j.by.size(); i++) {
      if (j.by[i].out >= 0) scale(t, part(j.made, i, size), j.part(i), j.by[i].out, size);
    }
    return j;
  }

  // joined_back is the gradient of what was multiplied, for d [n, parts * size] of what came out, which it changes. Where to is
  // defined it is added to that.
  at::Tensor joined_back(const Tokens &t, const Joined &j, const at::Tensor &d, at::Tensor to = {}) const {
    int64_t size = j.size(), in = j.weight.size(1);
    for (size_t i = 0; i < j.by.size(); i++) {
      if (j.by[i].out >= 0) scale_back(t, part(d, i, size), part(j.made, i, size), j.by[i].out, size);
    }
    auto add = [&](const at::Tensor &d, const at::Tensor &weight) {
      if (to.defined()) {
        to.addmm_(d, weight);
      } else {
        at::mm_out(to = room({t.all, in}), d, weight);
      }
    };
    if (!j.from.defined()) {
      add(d, j.weight);
      return to;
    }
    for (size_t i = 0; i < j.by.size(); i++) {
      auto mine = d.narrow(1, i * size, size), weight = j.weight.narrow(0, i * size, size);
      if (j.by[i].in < 0) {
        add(mine, weight);
        continue;
      }
      auto one = room({t.all, in});
      at::mm_out(one, mine, weight);
      scale_back(t, part(one, 0, in), part(j.from, 0, in), j.by[i].in, in);
      to = to.defined() ? to.add_(one) : one;
    }
    return to;
  }

  // add adds the projection of h to the stream.
  Joined add(const Tokens &t, const at::Tensor &h, const at::Tensor &weight, const Scales &by) {
    auto y = room(x.sizes());
    if (by.in >= 0 || by.out >= 0) {
      auto j = joined(t, h, weight, {by});
      at::add_out(y, x, by.out < 0 ? j.made : j.scaled);
      x = y;
      return j;
    }
    at::addmm_out(y, x, h, weight.t());
    x = y;
    return {weight, {by}, {}, {}, {}};
  }

  // add_back is the gradient of h for that of the stream, which stays.
  at::Tensor add_back(const Tokens &t, const Joined &j) const { return joined_back(t, j, j.by[0].out < 0 ? g : g.clone()); }

  Attention attention(const Attended &a, const Tokens &of, const Tokens &to, const at::Tensor &distances) const {
    auto q = a.q.part(0), k = a.keys(), v = a.values();
    Attention p{q.x, k.x, v.x, q.step, k.step, {}};
    p.start = of.start, p.keys = to.start, p.sequences = int(of.texts);
    if (!a.self()) p.of = seen;
    if (distances.defined()) p.distances = distances.const_data_ptr<float>(), p.reach = int(distances.size(1) / 2);
    p.y = data(a.mixed), p.inner = w.inner(), p.log = a.log.data_ptr<float>();
    return p;
  }

  // attend adds the attention to the stream.
  void attend(Attended a, const Tokens &of, const Tokens &to, const at::Tensor &distances, const at::Tensor &o, const Scales &by_o) {
    a.mixed = room({of.all, w.inner()}), a.log = room({w.heads, of.all}, at::kFloat);
    kernels.attend(Kernel::kAttend, of.longest, w.heads, of.texts, attention(a, of, to, distances));
    a.o = add(of, a.mixed, o, by_o);
    if (learns) attended.push_back(std::move(a));
  }

  // attend_back writes the gradients of queries, keys and values.
  void attend_back(const Attended &a, const Tokens &of, const Tokens &to, const at::Tensor &distances, const Columns &dq, const Columns &dk, const Columns &dv) const {
    auto g = add_back(of, a.o), along = room(a.log.sizes(), at::kFloat);
    AttentionBack b{attention(a, of, to, distances), data(g), along.data_ptr<float>(), dq.x, dk.x, dv.x, dq.step, dk.step};
    kernels.attend(Kernel::kAttendQueries, of.longest, w.heads, of.texts, b);
    kernels.attend(Kernel::kAttendKeys, to.longest, w.heads, to.texts, b);
  }

  void self(const Tokens &t, const at::Tensor &distances, const SelfAttention &s) {
    Attended a{x};
    a.q = joined(t, norm(x, s.norm), s.qkv, {s.by_q, s.by_k, s.by_v});
    attend(std::move(a), t, t, distances, s.o, s.by_o);
  }

  void self_back(const Tokens &t, const at::Tensor &distances, const SelfAttention &s) {
    auto a = taken(attended);
    auto d = room(a.q.made.sizes());
    int64_t inner = w.inner();
    attend_back(a, t, t, distances, part(d, 0, inner), part(d, 1, inner), part(d, 2, inner));
    g = norm_back(joined_back(t, a.q, d), a.x, s.norm, g);
  }

  void cross(const CrossAttention &c) {
    Attended a{x};
    a.q = joined(sequences, norm(x, c.norm), c.q, {c.by_q});
    a.kv = joined(texts, states, c.kv, {c.by_k, c.by_v});
    attend(std::move(a), sequences, texts, at::Tensor(), c.o, c.by_o);
  }

  void cross_back(const CrossAttention &c) {
    auto a = taken(attended);
    auto dq = room(a.q.made.sizes()), d = room(a.kv.made.sizes());
    int64_t inner = w.inner();
    attend_back(a, sequences, texts, at::Tensor(), part(dq, 0, inner), part(d, 0, inner), part(d, 1, inner));
    states_slope = joined_back(texts, a.kv, d, states_slope);
    g = norm_back(joined_back(sequences, a.q, dq), a.x, c.norm, g);
  }

  // A vector of wi1's output scales what the gate gives, or, where there is none, that of wo's input.
  static bool ups(const FeedForward &ff) { return ff.by_wi1.out >= 0; }
  static int64_t gated_by(const FeedForward &ff) { return ups(ff) ? ff.by_wi1.out : ff.by_wo.in; }
  Columns up(const at::Tensor &t) const { return w.gated ? part(t, 1, w.ff) : Columns{}; }

  void feed_forward(const Tokens &t, const FeedForward &ff) {
    Fed f{x};
    std::vector<Scales> by{ff.by_wi0};
    if (w.gated) by.push_back({ff.by_wi1.in, -1});
    f.wi = joined(t, norm(x, ff.norm), ff.wi, by);
    auto h = f.wi.part(0), u = up(f.wi.made);
    auto y = room({t.all, w.ff});
    kernels.run(Kernel::kGate, {t.all}, threads(w.ff), h.x, u.x, h.step, w.activation, this->by(gated_by(ff)), t.rows, data(y), int(w.ff));
    f.wo = add(t, y, ff.wo, {ups(ff) ? ff.by_wo.in : -1, ff.by_wo.out});
    if (learns) fed.push_back(std::move(f));
  }

  void feed_forward_back(const Tokens &t, const FeedForward &ff) {
    auto f = taken(fed);
    auto along = add_back(t, f.wo), d = room(f.wi.made.sizes());
    auto h = f.wi.part(0), u = up(f.wi.made), dh = part(d, 0, w.ff), du = up(d);
    kernels.run(Kernel::kGateBack, {blocks(w.ff, kStrip), t.texts}, kStripThreads, data(along), h.x, u.x, h.step, w.activation, by(gated_by(ff)), t.start, dh.x, du.x,
                slopes(gated_by(ff)), taught.stride(0), int(w.ff));
    g = norm_back(joined_back(t, f.wi, d), f.x, ff.norm, g);
  }

  template <class T>
  static T taken(std::vector<T> &all) {
    auto last = std::move(all.back());
    all.pop_back();
    return last;
  }
};

// on is what f gives of a lesson, on its device, or failed.
template <class F>
auto on(vl_gpu_lesson lesson, F f, decltype(f(*static_cast<Lesson *>(nullptr))) failed) {
  return guarded(
      [&] {
        auto &l = *static_cast<Lesson *>(lesson);
        c10::DeviceGuard there(l.device());
        return f(l);
      },
      failed);
}

}  // namespace
}  // namespace valence::gpu

using namespace valence;
using valence::gpu::Lesson;

extern "C" {

vl_gpu_lesson vl_gpu_lesson_new(vl_gpu model, const vl_gpu_task *task) {
  return guarded(
      [&]() -> vl_gpu_lesson {
        const auto &weights = gpu::weights(model);
        c10::DeviceGuard there(gpu::device_of(weights.device));
        return new Lesson(weights, *task);
      },
      nullptr);
}

void vl_gpu_lesson_free(vl_gpu_lesson lesson) { delete static_cast<Lesson *>(lesson); }

int vl_gpu_lesson_there(vl_gpu_lesson lesson) {
  return gpu::on(lesson, [](Lesson &l) { return int(l.there()); }, -1);
}

vl_tensor vl_gpu_lesson_states(vl_gpu_lesson lesson) {
  return gpu::on(lesson, [](Lesson &l) -> vl_tensor { return new at::Tensor(l.last()); }, nullptr);
}

int vl_gpu_lesson_along(vl_gpu_lesson lesson, vl_tensor slope, vl_tensor taught) {
  return gpu::on(lesson, [&](Lesson &l) { return l.along(ref(slope), ref(taught)), 0; }, -1);
}

int vl_gpu_lesson_back(vl_gpu_lesson lesson) {
  return gpu::on(lesson, [](Lesson &l) { return int(l.back()); }, -1);
}

}  // extern "C"
