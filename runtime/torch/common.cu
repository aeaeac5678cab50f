// What the GPU's kernels share. NVRTC has no headers; every pointer and row is aligned to 16 bytes unless it says otherwise. WIDTH is
// that of a head, a multiple of 16.

typedef unsigned short bf16;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

static __device__ float low(u32 pair) { return __uint_as_float(pair << 16); }
static __device__ float high(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }

#ifndef EMULATED
// pair is two numbers rounded to the nearest bfloat16, ties to even.
static __device__ u32 pair(float low, float high) {
  u32 made;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(made) : "f"(high), "f"(low));
  return made;
}

// multiply is c += a b of a warp's tiles a [16, 16], b [16, 8] and c [16, 8]. Lane 4 g + t has of a the pairs at rows g and
// g + 8 and columns 2 t and 2 t + 8, of b the pairs of rows 2 t and 2 t + 8 in column g, and of c, rows g and g + 8, columns
// 2 t and 2 t + 1. Source: the PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type".
static __device__ void multiply(float *c, const u32 *a, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#endif

static __device__ void read8(const bf16 *from, float *to) {
  uint4 v = *(const uint4 *)from;
  u32 pairs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    to[2 * i] = low(pairs[i]);
    to[2 * i + 1] = high(pairs[i]);
  }
}

static __device__ void write8(const float *from, bf16 *to) {
  uint4 v;
  v.x = pair(from[0], from[1]);
  v.y = pair(from[2], from[3]);
  v.z = pair(from[4], from[5]);
  v.w = pair(from[6], from[7]);
  *(uint4 *)to = v;
}

// times8 multiplies 8 numbers by others.
static __device__ void times8(float *x, const bf16 *l) {
  float by[8];
  read8(l, by);
#pragma unroll
  for (int i = 0; i < 8; i++) x[i] *= by[i];
}

// Vectors are a table's columns for a projection's input or output: x has those of slot 0, or is null where there are none.
struct Vectors {
  const float *x;
  i64 step;  // from slot to slot
};

// scale8 multiplies 8 numbers by those of a vector, if any.
static __device__ void scale8(float *x, const float *l) {
  if (!l) return;
  float4 a = *(const float4 *)l, b = *(const float4 *)(l + 4);
  x[0] *= a.x, x[1] *= a.y, x[2] *= a.z, x[3] *= a.w;
  x[4] *= b.x, x[5] *= b.y, x[6] *= b.z, x[7] *= b.w;
}

static __device__ float warp_sum(float x) {
  for (int far = 16; far; far /= 2) x += __shfl_xor_sync(~0u, x, far);
  return x;
}

// Numbers of vl_activation, but for SiLU's, and of GELU in its tanh approximation.
constexpr int kReLU = 0, kGELU = 1;
constexpr float kGELUBy = 1.5957691216057308f, kGELUCube = 0.044715f;

// within is what x is multiplied by the logistic function of, in an activation other than ReLU: half of 1 + tanh(u) is that of 2 u.
static __device__ float within(float x, int activation) { return activation == kGELU ? kGELUBy * (x + kGELUCube * x * x * x) : x; }

// Noise is dropout: what is dropped of a row depends on its key, on a salt and on where an element is in the row, and on nothing else.
struct Noise {
  const u64 *keys;  // of the rows, or null where nothing is dropped
  u64 salt;
  i64 least;        // numbers below it are dropped
  float by;         // of what is left
};

constexpr u64 kPlaces = 1 << 16;  // of a dimension of a row

// hashed mixes a number as hash of native.cpp does.
static __device__ u64 hashed(u64 x) {
  x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9ull;
  return (x ^ x >> 31) * 0x94d049bb133111ebull;
}

static __device__ u64 seed(const Noise &n, int row) { return n.keys ? hashed(n.keys[row] + n.salt) : 0; }

// kept is what the element at a place of a row with a seed is multiplied by.
static __device__ float kept(const Noise &n, u64 seed, u64 place) { return i64(hashed(place + seed)) < n.least ? 0 : n.by; }

// weight_kept is that of the weight of a key for a query.
static __device__ float weight_kept(const Noise &n, u64 seed, int head, int query, int key) {
  return n.keys ? kept(n, seed, (head * kPlaces + query) * kPlaces + key) : 1;
}

constexpr int kKeys = 64;                        // of a tile
constexpr int kRow = WIDTH + 8;                  // of a tile: a warp's reads of 8 rows then lie in different banks
constexpr int kSteps = WIDTH / 16;               // of a product over a head's width

struct Attention {
  const bf16 *q, *k, *v;    // [tokens, heads, WIDTH]: of sequences, and of the texts that these look at
  i64 q_step, kv_step;      // from token to token
  Vectors l[3];             // that scale them
  const int *slots;         // [sequences]
  const int *start, *keys;  // [sequences + 1] and [texts + 1]: where they begin among the tokens
  const int *of;            // [sequences]: text that each looks at, or null where sequence i looks at text i
  const float *distances;   // [heads, 2 reach + 1]: bias by key less query, or null
  int reach, sequences;
  bf16 *y;                  // [tokens, heads, WIDTH]
  i64 inner;                // heads * WIDTH
  float *log;               // [heads, tokens]: logarithms of the weights' sums before division, or null
  Noise noise;              // of the weights, of a row for each sequence
};

// Part is what a block has of an attention: a sequence and the text that it looks at.
struct Part {
  i64 first, key;       // their first tokens
  int queries, tokens;  // how many they have
};

static __device__ Part part_of(const Attention &p, int sequence, int text) {
  i64 first = p.start[sequence], key = p.keys[text];
  return {first, key, p.start[sequence + 1] - int(first), p.keys[text + 1] - int(key)};
}

static __device__ int seen(const Attention &p, int sequence) { return p.of ? p.of[sequence] : sequence; }

// biases are those of keys less a head's query, or null.
static __device__ const float *biases(const Attention &p, int head, int query) {
  return p.distances ? p.distances + i64(head) * (2 * p.reach + 1) + p.reach - query : nullptr;
}

// put copies rows of a head's keys or values into a tile, scaled, with zeros after the text's end up to a multiple of 16.
static __device__ void put(bf16 (*tile)[kRow], const bf16 *from, i64 step, const float *l, int rows) {
  int all = min(kKeys, (rows + 15) / 16 * 16);
  for (int i = threadIdx.x; i < all * (WIDTH / 8); i += blockDim.x) {
    int row = i / (WIDTH / 8), column = i % (WIDTH / 8) * 8;
    float v[8] = {};
    if (row < rows) {
      read8(from + row * step + column, v);
      scale8(v, l ? l + column : nullptr);
    }
    write8(v, &tile[row][column]);
  }
}

// rows16 are the pairs that a lane has of rows g and g + 8 of a warp's 16, scaled, with zeros after the text's end.
static __device__ void rows16(u32 (*a)[4], const bf16 *from, i64 step, const float *l, int rows, int g, int t) {
#pragma unroll
  for (int i = 0; i < kSteps; i++) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
      int row = g + j % 2 * 8, column = 16 * i + 2 * t + j / 2 * 8;
      u32 two = row < rows ? *(const u32 *)(from + row * step + column) : 0;
      if (l) two = pair(low(two) * l[column], high(two) * l[column + 1]);
      a[i][j] = two;
    }
  }
}
