// A model's layers on a GPU in bfloat16, there and back, for texts that have vectors of their own.
#ifndef VALENCE_TORCH_GPULAYERS_H
#define VALENCE_TORCH_GPULAYERS_H

#include "gpujoined.h"

namespace valence::gpu {

// Given is what goes through the layers.
struct Given {
  Tokens texts, sequences;
  const int *seen = nullptr;  // [sequences]: text that each looks at, or null where sequence i looks at text i
  at::Tensor vectors;         // [texts, width] float32, in the columns that the weights know
  at::Tensor encoder_distances, decoder_distances;
  bool learns = false;  // whether there is a way back
  Noise noise;          // of each text, but for its salt; only where there is a way back
  // noise_at is that of the n-th place that drops, from 1 on, of a stretch of a model, which are numbered as a study of mt5 runs them:
  // the embeddings, each layer and the last norm of the encoder, and the same of the decoder.
  Noise noise_at(int64_t stretch, int64_t n) const {
    auto made = noise;
    made.salt = uint64_t((stretch << 8) + n);
    return made;
  }
};

// drop writes x, some elements of which are dropped, and plus where it is defined, to y, which may be x.
void drop(const Kernels &kernels, const Tokens &t, const Noise &noise, const at::Tensor &x, const at::Tensor &plus, const at::Tensor &y);

class Layers : Products {
 public:
  Layers(const Weights &w, Given given, Pool *pool) : Products(w, given.vectors, pool), in(std::move(given)) {}
  // begin is before the first layer, also of another time.
  void begin();
  // there queues the next layer, of the encoder and then of the decoder, and returns how many are left.
  int64_t there();
  // stream is what comes out of the last one, [tokens of the sequences, d].
  const at::Tensor &stream() const;
  // along begins the way back, with the gradient of the stream. Those of the vectors, like these, go to taught.
  void along(const at::Tensor &g, const at::Tensor &taught);
  // back queues the way back through the last layer that is left, and returns how many there are still.
  int64_t back();
  // end lets go of all that is kept.
  void end();

 private:
  struct Attended {
    at::Tensor x, mixed, log;
    Joined q, kv, o;  // q has keys and values, too, where kv has none
    bool self() const { return kv.by.empty(); }
    int64_t first() const { return self() ? 1 : 3; }  // of the places that drop
    Columns keys() const { return self() ? q.part(1) : kv.part(0); }
    Columns values() const { return self() ? q.part(2) : kv.part(1); }
  };
  struct Fed {
    at::Tensor x;
    Joined wi, wo;
  };
  Given in;
  int64_t at = 0;                  // layers that are done, on the way back those that are left
  at::Tensor x, states;            // the stream, and the encoder's states
  at::Tensor encoder_end;          // the stream before the encoder's last norm
  std::vector<Attended> attended;  // the last one last
  std::vector<Fed> fed;
  at::Tensor g, states_slope;  // gradients of the stream and of the encoder's states

  int64_t encoders() const { return w.encoder.size(); }
  int64_t layers() const { return w.encoder.size() + w.decoder.size(); }
  int64_t lowest() const;
  at::Tensor embedded(const Tokens &t) const;
  at::Tensor norm(const at::Tensor &x, const at::Tensor &weight) const;
  at::Tensor norm_back(const at::Tensor &g, const at::Tensor &x, const at::Tensor &weight, const at::Tensor &plus) const;
  int64_t stretch() const { return at < encoders() ? at + 1 : at + 3; }
  Noise noise_at(int64_t n) const { return in.noise_at(stretch(), n); }
  // drop is in place.
  void drop(const Tokens &t, const Noise &noise, const at::Tensor &x) const {
    if (noise) gpu::drop(kernels, t, noise, x, {}, x);
  }
  Joined add(const Tokens &t, const at::Tensor &h, const at::Tensor &weight, const Scales &by, const Noise &noise);
  at::Tensor add_back(const Tokens &t, const Joined &j, const Noise &noise) const;
  Attention attention(const Attended &a, const Tokens &of, const Tokens &to, const at::Tensor &distances) const;
  void attend(Attended a, const Tokens &of, const Tokens &to, const at::Tensor &distances, const at::Tensor &o, const Scales &by_o);
  void attend_back(const Attended &a, const Tokens &of, const Tokens &to, const at::Tensor &distances, const Columns &dq, const Columns &dk, const Columns &dv) const;
  void self(const Tokens &t, const at::Tensor &distances, const SelfAttention &s);
  void self_back(const Tokens &t, const at::Tensor &distances, const SelfAttention &s);
  void cross(const CrossAttention &c);
  void cross_back(const CrossAttention &c);
  void feed_forward(const Tokens &t, const FeedForward &ff);
  void feed_forward_back(const Tokens &t, const FeedForward &ff);
  int64_t inner_noise() const { return at < encoders() ? 3 : 5; }  // the place that drops within a feed-forward
  Columns up(const at::Tensor &t) const { return w.gated ? part(t, 1, w.ff) : Columns{}; }
};

}  // namespace valence::gpu

#endif
