// Loops that several threads share.
#ifndef VALENCE_TORCH_SHARE_H
#define VALENCE_TORCH_SHARE_H

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace valence {

// Part does what is to be done for the numbers from first to last.
using Part = void (*)(void *work, int64_t first, int64_t last);

// share has all numbers below n done, at least chunk of them at a time, by this thread and by those that libtorch may use besides
// and that are free. Who does not come in time is not waited for: this thread does what nobody has begun. Threads that have just helped are
// awake for some time; those that sleep are woken only where it is said to pay. What a part throws is thrown here, when all others
// have ended. Parts must not call share.
void share(int64_t n, int64_t chunk, bool wake, void *work, Part part);

// kChunk numbers are a chunk, about a microsecond of work or more. kAlone are not worth the company, and kWake are worth the time in
// which a thread wakes, which can be 50 us in a virtual machine.
constexpr int64_t kChunk = 8 << 10, kAlone = 32 << 10, kWake = 128 << 10;

// each runs f for numbers below n, on several threads where there is work for them, which is about size numbers for each. What
// one gives never depends on the threads.
template <class F>
void each(int64_t n, int64_t size, F &&f) {
  size = std::max<int64_t>(1, size);
  auto part = [](void *work, int64_t first, int64_t last) {
    auto &g = *static_cast<std::remove_reference_t<F> *>(work);
    for (int64_t i = first; i < last; i++) g(i);
  };
  if (n * size <= kAlone || n < 2) return part(&f, 0, n);
  share(n, std::max<int64_t>(1, kChunk / size), n * size >= kWake, &f, part);
}

// each_with gives f room for so many numbers, whose values it finds as others left them, besides.
template <class F>
void each_with(int64_t room, int64_t n, int64_t size, F &&f) {
  each(n, size, [&](int64_t i) {
    static thread_local std::vector<float> kept;
    constexpr size_t kLine = 64;  // vectors that lie across two lines of the cache take twice as long to load
    if (kept.size() < static_cast<size_t>(room) + kLine / sizeof(float)) kept.resize(room + kLine / sizeof(float));
    f(i, reinterpret_cast<float *>((reinterpret_cast<uintptr_t>(kept.data()) + kLine - 1) / kLine * kLine));
  });
}

}  // namespace valence

#endif
