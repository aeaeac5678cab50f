// Dropout: what is dropped of a row depends on its key, on a salt and on where an element is in the row, and on nothing else.
#ifndef VALENCE_TORCH_NOISE_H
#define VALENCE_TORCH_NOISE_H

#include <cstdint>

namespace valence {

// kPlaces is the most elements of a dimension of a row: an element's place is its numbers in all dimensions, one after the other.
constexpr uint64_t kPlaces = 1 << 16;

// hashed mixes a number into one whose upper bits look random: multiplications by odd numbers, and shifts.
inline uint64_t hashed(uint64_t x) {
  x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9u;
  return (x ^ x >> 31) * 0x94d049bb133111ebu;
}

// least_kept is such that of numbers of 64 bits, the part below it is rate, and kept_by is what the others' elements are multiplied by.
inline int64_t least_kept(double rate) { return int64_t((rate - 0.5) * 18446744073709551616.0); }
inline float kept_by(double rate) { return float(1 / (1 - rate)); }

// Noise is that of one row.
struct Noise {
  uint64_t seed;
  int64_t least;  // numbers below it are dropped
  float by;       // what is left is multiplied by
  Noise(uint64_t key, uint64_t salt, double rate) : seed(hashed(key + salt)), least(least_kept(rate)), by(kept_by(rate)) {}
};

}  // namespace valence

// row_drop is y = x with elements dropped, of n places from first on; y may be x.
void row_drop(const valence::Noise &noise, uint64_t first, const float *x, float *y, int64_t n);

#endif
