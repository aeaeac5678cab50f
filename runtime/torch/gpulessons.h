// The lessons of a model on a GPU, one after the other, and the records of those whose form came before.
#ifndef VALENCE_TORCH_GPULESSONS_H
#define VALENCE_TORCH_GPULESSONS_H

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "gpulayers.h"
#include "gpulesson.h"

namespace valence::gpu {

// Form is what lessons have in common that one record is for: sizes, which may be greater than what there is, and the columns of vectors.
struct Form {
  int64_t tokens, texts, longest, sequences, length, width;
  double dropout;
  bool learns, looks;  // looks: whether it is told which text each sequence looks at
  bool recorded;       // whether it may be
  std::vector<int64_t> columns;
  bool operator==(const Form &other) const;
};

// Held is what a record reads and writes, in a pool.
struct Held {
  at::Tensor numbers, vectors, slope, taught;
};

// Known is a form that came before.
struct Known {
  Form form;
  bool met = false;
  Held at;            // where the record has it, which is nobody's while no lesson is on its way
  at::Tensor stream;  // before the decoder's last norm, likewise
  std::unique_ptr<Layers> layers;
  std::unique_ptr<Record> there, back;
  std::function<void()> end;  // lets go of what a replay has in the pool, where it is emulated
};

class Lessons {
 public:
  // Lessons are for the model of w, which must outlive them.
  explicit Lessons(const Weights &w);
  const Weights &weights() const { return w; }
  // hold is the first that a lesson of a form takes of the memory that it is lent.
  Held hold(const Form &form, bool fixed);
  // lend gives the memory of lessons to one of them, until it gives it back, or null where another one has it.
  Pool *lend();
  void give_back() { lent = false; }
  // find is what is known of a form, which is kept from now on.
  Known &find(const Form &form);
  // record records a form, with what a lesson of it was given. Where that fails nothing is recorded any more.
  void record(Known &known, const Weights &placed, const at::Tensor &encoder_distances, const at::Tensor &decoder_distances);
  const std::string &unrecorded() const { return why; }
  int64_t count() const;

 private:
  const Weights &w;
  Pool pool;
  bool lent = false;
  std::list<Known> known;  // the last used first
  std::string why;
  void queue(Known &k);
};

// lessons are those of a model on the calling thread's stream.
Lessons &lessons(vl_gpu model);

// given is where a form's lessons have their numbers, which lie at p on a device, and numbers_of is how many these are.
Given given(const Form &form, const int *p);
int64_t numbers_of(const Form &form);

}  // namespace valence::gpu

#endif
