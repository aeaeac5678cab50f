// Texts whose tokens lie end to end.
#ifndef VALENCE_TORCH_TEXTS_H
#define VALENCE_TORCH_TEXTS_H

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace valence {

struct Texts {
  std::vector<int64_t> start, of;  // first token of each text and the end; text of each token
  int64_t longest = 0;
  Texts(const int64_t *lengths, int n) : start(1, 0) {
    for (int i = 0; i < n; i++) {
      TORCH_CHECK(lengths[i] > 0, "text ", i, " has ", lengths[i], " tokens");
      start.push_back(start.back() + lengths[i]);
      of.insert(of.end(), lengths[i], i);
      longest = std::max(longest, lengths[i]);
    }
  }
  int64_t texts() const { return start.size() - 1; }
  int64_t tokens() const { return of.size(); }
};

}  // namespace valence

#endif
