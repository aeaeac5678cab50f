// Runs the kernels of kernels.cu on the CPU, a thread for each of a block's, block after block, and holds them against plain loops.
// WIDTH is that of a head. It prints what is wrong, and then returns 1.
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

// What CUDA's C++ has.
struct uint4 { unsigned x, y, z, w; };
struct float4 { float x, y, z, w; };
struct Index { int x = 1, y = 1, z = 1; };
thread_local Index threadIdx, blockIdx;
Index blockDim;
struct Warp {
  std::barrier<> all{32};
  float numbers[32];
  unsigned tiles[32][6];
};
std::unique_ptr<std::barrier<>> block;
std::vector<std::unique_ptr<Warp>> warps;
float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
void __syncthreads() { block->arrive_and_wait(); }
float __shfl_xor_sync(unsigned, float x, int far) {
  auto &w = *warps[threadIdx.x / 32];
  int lane = threadIdx.x % 32;
  w.numbers[lane] = x;
  w.all.arrive_and_wait();
  float other = w.numbers[lane ^ far];
  w.all.arrive_and_wait();
  return other;
}
float rsqrtf(float x) { return 1 / std::sqrt(x); }
#define __device__
#define __global__
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(n)
#define __expf std::exp
using std::min;

// What kernels.cu has of the machine's own instructions.
#define EMULATED
typedef unsigned u32;
u32 rounded(float x) {
  u32 bits;
  memcpy(&bits, &x, 4);
  return std::isnan(x) ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
u32 pair(float low, float high) { return rounded(low) | rounded(high) << 16; }
float half(u32 two, int which) { return __uint_as_float(which ? two & 0xffff0000u : two << 16); }
void multiply(float *c, const u32 *a, u32 b0, u32 b1) {
  auto &w = *warps[threadIdx.x / 32];
  int lane = threadIdx.x % 32;
  u32 mine[] = {a[0], a[1], a[2], a[3], b0, b1};
  memcpy(w.tiles[lane], mine, sizeof mine);
  w.all.arrive_and_wait();
  for (int i = 0; i < 4; i++) {
    int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; k++) {
      c[i] += half(w.tiles[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], k % 2) * half(w.tiles[column * 4 + k % 8 / 2][4 + k / 8], k % 2);
    }
  }
  w.all.arrive_and_wait();
}

#include "../kernels.cu"

template <class F>
void launch(Index grid, int threads, F kernel) {
  blockDim.x = threads;
  for (int i = 0; i < grid.x * grid.y * grid.z; i++) {
    block = std::make_unique<std::barrier<>>(threads);
    warps.clear();
    for (int j = 0; j < threads; j += 32) warps.push_back(std::make_unique<Warp>());
    std::vector<std::thread> all;
    for (int t = 0; t < threads; t++) {
      all.emplace_back([=] {
        threadIdx.x = t;
        blockIdx = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
        kernel();
      });
    }
    for (auto &t : all) t.join();
  }
}

std::mt19937 random_bits(7);
float some(float most) { return std::uniform_real_distribution<float>(-most, most)(random_bits); }
float wide(bf16 x) { return __uint_as_float(u32(x) << 16); }
struct Numbers : std::vector<bf16> {
  Numbers(size_t n, float most) : std::vector<bf16>(n) { for (auto &x : *this) x = bf16(rounded(some(most))); }
  float operator()(size_t i) const { return wide((*this)[i]); }
};
std::vector<float> floats(size_t n, float middle, float most) {
  std::vector<float> made(n);
  for (auto &x : made) x = middle + some(most);
  return made;
}

int wrong = 0;
// near holds numbers against what they should be, within a part of it and of 1.
void near(const char *what, double got, double want, double within = 0.01) {
  if (std::abs(got - want) <= within * std::max(1.0, std::abs(want))) return;
  if (wrong++ < 20) printf("%s: %g, want %g\n", what, got, want);
}

// softmax is in place.
void softmax(std::vector<double> &x) {
  double most = -INFINITY, sum = 0;
  for (auto v : x) most = std::max(most, v);
  for (auto &v : x) sum += v = std::exp(v - most);
  for (auto &v : x) v /= sum;
}

const std::vector<int> kLengths = {5, 32, 70, 130, 1, 64};
const std::vector<int> kStart = {0, 5, 37, 107, 237, 238, 302};
const std::vector<int> kSlots = {3, 0, 1, 2, 2, 1};
const int kTokens = 302;

void attention(int threads) {
  const int heads = 2, inner = heads * WIDTH, reach = 140, bias = 2 * reach + 1;
  Numbers x(kTokens * 3 * inner, 1), y(kTokens * inner, 1e6);
  auto l = floats(4 * 3 * inner, 1, 0.5), distances = floats(heads * bias, 0, 2);
  Attention p{x.data(), inner, {{l.data(), 3 * inner}, {nullptr, 0}, {l.data() + 2 * inner, 3 * inner}}, kStart.data(), kSlots.data(), distances.data(), reach, y.data()};
  launch({(130 + threads / 2 - 1) / (threads / 2), heads, int(kLengths.size())}, threads, [=] { valence_attend(p); });
  for (size_t text = 0; text < kLengths.size(); text++) {
    for (int h = 0; h < heads; h++) {
      auto at = [&](int token, int part, int c) {
        double v = x((kStart[text] + token) * 3 * inner + part * inner + h * WIDTH + c);
        return part == 1 ? v : v * l[kSlots[text] * 3 * inner + part * inner + h * WIDTH + c];
      };
      for (int i = 0; i < kLengths[text]; i++) {
        std::vector<double> s(kLengths[text]);
        for (int j = 0; j < kLengths[text]; j++) {
          s[j] = distances[h * bias + reach + j - i];
          for (int c = 0; c < WIDTH; c++) s[j] += at(i, 0, c) * at(j, 1, c);
        }
        softmax(s);
        for (int c = 0; c < WIDTH; c++) {
          double want = 0;
          for (int j = 0; j < kLengths[text]; j++) want += s[j] * at(j, 2, c);
          near("attend", y((kStart[text] + i) * inner + h * WIDTH + c), want, 0.02);
        }
      }
    }
  }
}

void look(int heads) {
  const int d = 96, longest = 140;
  const std::vector<int> of = {2, 0, 1, 3, 4, 5, 2};
  int n = int(of.size()), tiles = (heads + 15) / 16;
  Numbers u(n * heads * d, 0.5), x(kTokens * d, 1), y(n * heads * d, 1e6);
  std::vector<float> scores(n * heads * longest);
  Look p{u.data(), x.data(), kStart.data(), of.data(), heads, d, scores.data(), longest, y.data()};
  launch({5, n, tiles}, 128, [=] { valence_scores(p); });
  launch({2, n, tiles}, 128, [=] { valence_sum(p); });
  for (int i = 0; i < n * heads; i++) {
    int text = of[i / heads];
    std::vector<double> s(kLengths[text]);
    for (size_t t = 0; t < s.size(); t++) {
      for (int c = 0; c < d; c++) s[t] += u(i * d + c) * x((kStart[text] + t) * d + c);
    }
    softmax(s);
    for (int c = 0; c < d; c++) {
      double want = 0;
      for (size_t t = 0; t < s.size(); t++) want += s[t] * x((kStart[text] + t) * d + c);
      near("look", y(i * d + c), want, 0.02);
    }
  }
}

void rows() {
  const int n = 5, d = 72;
  const std::vector<int> of = {0, 3, 1, 2, 2};
  const auto *slots = of.data();
  Numbers x(2 * n * d, 2), w(4 * d, 1), y(n * d, 1e6);
  auto l = floats(4 * d, 1, 0.5);
  auto *to = y.data();
  const auto *from = x.data(), *weights = w.data();
  Vectors by{l.data(), d};
  launch({2}, 128, [=] { valence_norm(from, weights, to, n, d, 1e-6f); });
  for (int i = 0; i < n; i++) {
    double squares = 0;
    for (int c = 0; c < d; c++) squares += x(i * d + c) * x(i * d + c) / d;
    for (int c = 0; c < d; c++) near("norm", y(i * d + c), x(i * d + c) / std::sqrt(squares + 1e-6) * w(c));
  }
  launch({n}, 32, [=] { valence_scale(from, 2 * d, to, d, by, slots, 2, d); });
  for (int i = 0; i < n * d; i++) near("scale", y(i), x(i / d * 2 * d + i % d) * l[of[i / d / 2] * d + i % d]);
  launch({n}, 32, [=] { valence_embed(weights, slots, 0, to, d); });
  for (int i = 0; i < n * d; i++) near("embed", y(i), w(of[i / d] * d + i % d), 0);
  for (int gated : {0, 1}) {
    for (int activation : {0, 1, 2}) {
      launch({n}, 32, [=] { valence_gate(from, gated, activation, by, slots, to, d); });
      for (int i = 0; i < n * d; i++) {
        int row = i / d, c = i % d;
        double h = x(row * d * (1 + gated) + c), u = gated ? x(row * 2 * d + d + c) : 1;
        double f = activation == 0 ? std::max(h, 0.0) : activation == 1 ? h / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (h + 0.044715 * h * h * h))) : h / (1 + std::exp(-h));
        near("gate", y(i), f * u * l[of[row] * d + c]);
      }
    }
  }
  std::vector<float> logits(n * 3);
  auto *made = logits.data();
  launch({4}, 128, [=] { valence_logits(from, weights, slots, n, 3, d, 0.5f, made); });
  for (int i = 0; i < n * 3; i++) {
    double want = 0;
    for (int c = 0; c < d; c++) want += x(i / 3 * d + c) * w(of[i % 3] * d + c) / 2;
    near("logits", logits[i], want, 1e-5);
  }
}

int main() {
  for (int threads : {32, 64, 128}) attention(threads);
  for (int heads : {6, 16, 20}) look(heads);
  rows();
  return wrong > 0;
}
