// What the GPU's kernels need of CUDA, on the CPU: a block's threads are contexts of one thread, which change places where they
// wait for each other, and blocks run one after the other. WIDTH is that of a head.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

struct uint4 { unsigned x, y, z, w; };
struct float4 { float x, y, z, w; };
struct Index { int x = 1, y = 1, z = 1; };
Index threadIdx, blockIdx, blockDim;

// Block runs a kernel's threads in turns.
class Block {
 public:
  Block(int threads, const std::function<void()> &kernel) : threads(threads), kernel(kernel) {
    for (int i = 0; i < threads; i++) {
      if (int(all.size()) <= i) all.push_back(std::make_unique<Thread>());
      auto &t = all[i];
      t->begun = t->done = t->met[0] = t->met[1] = 0;
      getcontext(&t->context);
      t->context.uc_stack = {t->stack.data(), 0, t->stack.size()};
      makecontext(&t->context, begin, 0);
    }
  }
  void run() {
    current = this;
    for (int left = threads; left;) {
      left = 0;
      for (at = 0; at < threads; at++) {
        if (all[at]->done) continue;
        threadIdx.x = at;
        auto &t = *all[at];
        if (_setjmp(home_at)) {
        } else if (t.begun) {
          _longjmp(t.at, 1);
        } else {
          t.begun = true;
          setcontext(&t.context);
        }
        left += !all[at]->done;
      }
    }
  }
  // wait is for size threads that lie together: all of them come to it as often.
  void wait(int size) {
    auto &met = all[at / size * size]->met[size == 32];
    int mine = met++ / size;
    while (met < (mine + 1) * size) {
      if (!_setjmp(all[at]->at)) _longjmp(home_at, 1);
    }
  }
  static Block *current;
  struct Warp {
    float numbers[32];
    unsigned tiles[32][6];
  } warps[32];

 private:
  struct Thread {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(64 << 10);
    jmp_buf at;  // where it waits: changing places by contexts would ask the kernel for signals each time
    bool begun = false, done = false;
    int met[2] = {};  // how often threads came to wait, of a block and of a warp
  };
  int threads, at = 0;
  std::function<void()> kernel;
  static std::vector<std::unique_ptr<Thread>> all;
  jmp_buf home_at;
  static void begin() {
    current->kernel();
    current->all[current->at]->done = true;
    _longjmp(current->home_at, 1);
  }
};
Block *Block::current;
std::vector<std::unique_ptr<Block::Thread>> Block::all;

void __syncthreads() { Block::current->wait(blockDim.x); }
void together() { Block::current->wait(32); }
Block::Warp &warp() { return Block::current->warps[threadIdx.x / 32]; }

float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
float __shfl_xor_sync(unsigned, float x, int far) {
  int lane = threadIdx.x % 32;
  auto &numbers = warp().numbers;
  numbers[lane] = x;
  together();
  float other = numbers[lane ^ far];
  together();
  return other;
}
float rsqrtf(float x) { return 1 / std::sqrt(x); }
#define __device__
#define __global__
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(n)
#define __expf std::exp
#define __logf std::log
using std::min;

// What common.cu has of the machine's own instructions.
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
  int lane = threadIdx.x % 32;
  auto &tiles = warp().tiles;
  u32 mine[] = {a[0], a[1], a[2], a[3], b0, b1};
  memcpy(tiles[lane], mine, sizeof mine);
  together();
  for (int i = 0; i < 4; i++) {
    int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; k++) {
      c[i] += half(tiles[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], k % 2) * half(tiles[column * 4 + k % 8 / 2][4 + k / 8], k % 2);
    }
  }
  together();
}

#include "../common.cu"
#include "../kernels.cu"
#include "../learn.cu"

template <class F>
void launch(Index grid, int threads, F kernel) {
  blockDim.x = threads;
  for (int i = 0; i < grid.x * grid.y * grid.z; i++) {
    blockIdx = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
    Block(threads, kernel).run();
  }
}
