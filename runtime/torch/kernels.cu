// What lies between the products of a forward in bfloat16 on a GPU: one kernel for each, so that nothing goes to memory and
// back on the way. It follows common.cu in one program, which gpukernels.cpp has NVRTC compile for the GPU at hand.

static __device__ float none() { return __uint_as_float(0xff800000u); }  // minus infinity

// vector is that of row i's slot.
static __device__ const float *vector(const Vectors &l, const int *slots, i64 i) { return l.x ? l.x + slots[i] * l.step : nullptr; }

// valence_embed is y = w[ids[row]] of rows [d], a block for each, or w[id] where ids is null.
extern "C" __global__ void valence_embed(const bf16 *w, const int *ids, int id, bf16 *y, int d) {
  i64 row = blockIdx.x, from = ids ? ids[row] : id;
  for (int i = 8 * threadIdx.x; i < d; i += 8 * blockDim.x) *(uint4 *)(y + row * d + i) = *(const uint4 *)(w + from * d + i);
}

// valence_norm is y = x / sqrt(mean(x^2) + eps) * w of rows [d], a warp for each; d is a multiple of 8.
extern "C" __global__ void valence_norm(const bf16 *x, const bf16 *w, bf16 *y, int rows, int d, float eps) {
  int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  x += i64(row) * d;
  y += i64(row) * d;
  float v[8], squares = 0;
  for (int i = 8 * lane; i < d; i += 256) {
    read8(x + i, v);
    for (int j = 0; j < 8; j++) squares += v[j] * v[j];
  }
  float root = rsqrtf(warp_sum(squares) / d + eps);
  for (int i = 8 * lane; i < d; i += 256) {
    read8(x + i, v);
    for (int j = 0; j < 8; j++) v[j] *= root;
    times8(v, w + i);
    write8(v, y + i);
  }
}

// valence_scale is y = x l of rows [d], a block for each, x and y with their own steps from row to row: l is the vector of slot
// of[row / each]. y may be x.
extern "C" __global__ void valence_scale(const bf16 *x, i64 x_step, bf16 *y, i64 y_step, Vectors l, const int *of, int each, int d) {
  i64 row = blockIdx.x;
  const float *by = vector(l, of, row / each);
  for (int i = 8 * threadIdx.x; i < d; i += 8 * blockDim.x) {
    float v[8];
    read8(x + row * x_step + i, v);
    scale8(v, by ? by + i : nullptr);
    write8(v, y + row * y_step + i);
  }
}

// activated is an activation of x.
static __device__ float activated(float x, int activation) {
  if (activation == kReLU) return fmaxf(x, 0);
  return x / (1 + __expf(-within(x, activation)));
}

// valence_gate is y = f(h) u l of rows [d], a block for each, or f(h) l where u is null: h and u have a step from row to row. l is
// the vector of slot of[row].
extern "C" __global__ void valence_gate(const bf16 *h, const bf16 *u, i64 step, int activation, Vectors l, const int *of, bf16 *y, int d) {
  i64 row = blockIdx.x;
  const float *by = vector(l, of, row);
  for (int i = 8 * threadIdx.x; i < d; i += 8 * blockDim.x) {
    float v[8];
    read8(h + row * step + i, v);
    for (int j = 0; j < 8; j++) v[j] = activated(v[j], activation);
    if (u) times8(v, u + row * step + i);
    scale8(v, by ? by + i : nullptr);
    write8(v, y + row * d + i);
  }
}

// valence_logits is y[row][i] = x[row] w[next[i]] by, a warp for each.
extern "C" __global__ void valence_logits(const bf16 *x, const bf16 *w, const int *next, int rows, int n, int d, float by, float *y) {
  i64 at = i64(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32, row = at / n;
  int lane = threadIdx.x % 32;
  if (row >= rows) return;
  w += i64(next[at % n]) * d;
  float sum = 0;
  for (int i = 8 * lane; i < d; i += 256) {
    float v[8], u[8];
    read8(x + row * d + i, v);
    read8(w + i, u);
    for (int j = 0; j < 8; j++) sum += v[j] * u[j];
  }
  sum = warp_sum(sum);
  if (lane == 0) y[at] = sum * by;
}

// valence_attend is softmax(q k^T + bias) v, by blocks of up to 64 queries, heads and sequences, a warp for each 16 queries. Scores and
// sums are in float32, weights rounded. A sequence's result does not depend on the others.
// Source: Dao 2023, "FlashAttention-2", the forward pass.
extern "C" __global__ void __launch_bounds__(128) valence_attend(Attention p) {
  __shared__ __align__(16) bf16 keys[kKeys][kRow], values[kKeys][kRow];
  Part part = part_of(p, blockIdx.z, seen(p, blockIdx.z));
  int tokens = part.tokens, from = blockIdx.x * (blockDim.x / 2);
  if (from >= part.queries) return;
  int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, head = blockIdx.y;
  i64 column = i64(head) * WIDTH;
  const float *l[3];
  for (int i = 0; i < 3; i++) {
    l[i] = vector(p.l[i], p.slots, blockIdx.z);
    if (l[i]) l[i] += column;
  }

  int mine = from + threadIdx.x / 32 * 16, rows = part.queries - mine;  // the warp's first query, and how many there are from it on
  u32 q[kSteps][4];
  rows16(q, p.q + (part.first + mine) * p.q_step + column, p.q_step, l[0], rows, g, t);
  float out[WIDTH / 8][4] = {}, most[2] = {none(), none()}, sum[2] = {};
  const float *bias = biases(p, head, mine + g);
  u64 noise = seed(p.noise, blockIdx.z);
  const bf16 *k = p.k + part.key * p.kv_step + column, *v = p.v + part.key * p.kv_step + column;

  for (int key = 0; key < tokens; key += kKeys) {
    __syncthreads();
    put(keys, k + key * p.kv_step, p.kv_step, l[1], tokens - key);
    put(values, v + key * p.kv_step, p.kv_step, l[2], tokens - key);
    __syncthreads();
    if (rows <= 0) continue;

    float s[kKeys / 8][4];
    float now[2] = {most[0], most[1]};
#pragma unroll
    for (int n = 0; n < kKeys / 8; n++) {
      for (int i = 0; i < 4; i++) s[n][i] = 0;
      if (key + 8 * n < tokens) {
#pragma unroll
        for (int i = 0; i < kSteps; i++) {
          const bf16 *b = &keys[8 * n + g][16 * i + 2 * t];
          multiply(s[n], q[i], *(const u32 *)b, *(const u32 *)(b + 8));
        }
      }
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int at = key + 8 * n + 2 * t + i % 2, row = i / 2;
        s[n][i] = at < tokens && g + 8 * row < rows ? s[n][i] + (bias ? bias[at - 8 * row] : 0) : none();
        now[row] = fmaxf(now[row], s[n][i]);
      }
    }
#pragma unroll
    for (int row = 0; row < 2; row++) {
      now[row] = fmaxf(now[row], __shfl_xor_sync(~0u, now[row], 1));
      now[row] = fmaxf(now[row], __shfl_xor_sync(~0u, now[row], 2));
      float shrink = now[row] == none() ? 1 : __expf(most[row] - now[row]);  // a row after the end has no scores
      most[row] = now[row];
      sum[row] *= shrink;
      for (int n = 0; n < WIDTH / 8; n++) {
        out[n][2 * row] *= shrink;
        out[n][2 * row + 1] *= shrink;
      }
    }
#pragma unroll
    for (int n = 0; n < kKeys / 8; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        s[n][i] = s[n][i] == none() ? 0 : __expf(s[n][i] - most[i / 2]);
        sum[i / 2] += s[n][i];
        s[n][i] *= weight_kept(p.noise, noise, head, mine + g + i / 2 * 8, key + 8 * n + 2 * t + i % 2);
      }
    }
#pragma unroll
    for (int i = 0; i < kKeys / 16; i++) {
      if (key + 16 * i >= tokens) break;
      u32 a[4] = {pair(s[2 * i][0], s[2 * i][1]), pair(s[2 * i][2], s[2 * i][3]), pair(s[2 * i + 1][0], s[2 * i + 1][1]),
                  pair(s[2 * i + 1][2], s[2 * i + 1][3])};
      const bf16(*w)[kRow] = values + 16 * i + 2 * t;
#pragma unroll
      for (int n = 0; n < WIDTH / 8; n++) {
        int c = 8 * n + g;
        multiply(out[n], a, w[0][c] | u32(w[1][c]) << 16, w[8][c] | u32(w[9][c]) << 16);
      }
    }
  }
#pragma unroll
  for (int row = 0; row < 2; row++) {
    sum[row] += __shfl_xor_sync(~0u, sum[row], 1);
    sum[row] += __shfl_xor_sync(~0u, sum[row], 2);
    if (g + 8 * row >= rows) continue;
    i64 token = part.first + mine + g + 8 * row;
    bf16 *y = p.y + token * p.inner + column + 2 * t;
    float by = 1 / sum[row];
    if (p.log && t == 0) p.log[i64(head) * p.start[p.sequences] + token] = most[row] + __logf(sum[row]);
    for (int n = 0; n < WIDTH / 8; n++) *(u32 *)(y + 8 * n) = pair(out[n][2 * row] * by, out[n][2 * row + 1] * by);
  }
}

// The decoder's first step looks at the encoder's states x [tokens, d] themselves, by a query of d numbers for each head, sequence
// n at the tokens of text n.
struct Look {
  const bf16 *u;     // [texts, heads, d]: queries
  const bf16 *x;     // [tokens, d]
  const int *start;  // [texts + 1]
  int heads, d;
  float *scores;     // [texts, heads, longest]
  int longest;
  bf16 *y;           // [texts, heads, d]: sums of states
};

// valence_scores is scores = u x^T, by blocks of 32 tokens, texts and 16 heads, a warp for each 8 tokens; d is a multiple of 32.
// Columns come in an order of their own, which the sum does not mind, so that a lane reads 8 that lie together.
extern "C" __global__ void __launch_bounds__(128) valence_scores(Look p) {
  i64 n = blockIdx.y, first = p.start[n];
  int tokens = p.start[n + 1] - int(first), lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  int token = blockIdx.x * 32 + threadIdx.x / 32 * 8, head = blockIdx.z * 16, last = p.heads - head - 1;
  if (token >= tokens) return;
  const bf16 *u = p.u + (n * p.heads + head) * p.d + 8 * t, *x = p.x + (first + min(token + g, tokens - 1)) * p.d + 8 * t;
  const bf16 *u0 = u + i64(min(g, last)) * p.d, *u1 = u + i64(min(g + 8, last)) * p.d;
  float c[4] = {};
#pragma unroll 4
  for (int i = 0; i < p.d; i += 32) {
    uint4 a0 = *(const uint4 *)(u0 + i), a1 = *(const uint4 *)(u1 + i), b = *(const uint4 *)(x + i);
    u32 one[4] = {a0.x, a1.x, a0.y, a1.y}, two[4] = {a0.z, a1.z, a0.w, a1.w};
    multiply(c, one, b.x, b.y);
    multiply(c, two, b.z, b.w);
  }
  for (int i = 0; i < 4; i++) {
    int h = head + g + i / 2 * 8, at = token + 2 * t + i % 2;
    if (h < p.heads && at < tokens) p.scores[(n * p.heads + h) * p.longest + at] = c[i];
  }
}

constexpr int kColumns = 64, kColumnsRow = kColumns + 8;  // of a block of valence_sum, and of its tile's rows

// valence_sum is y = softmax(scores) x, by blocks of 64 columns, texts and 16 heads, a warp for each 16 columns.
extern "C" __global__ void __launch_bounds__(128) valence_sum(Look p) {
  __shared__ __align__(16) bf16 tile[16][kColumnsRow];
  __shared__ float most[16], by[16];
  i64 n = blockIdx.y, first = p.start[n];
  int tokens = p.start[n + 1] - int(first), lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  int head = blockIdx.z * 16, heads = min(16, p.heads - head), column = blockIdx.x * kColumns;
  const float *scores = p.scores + (n * p.heads + head) * p.longest;
  // Eight threads for each head.
  int mine = threadIdx.x / 8, part = threadIdx.x % 8;
  float high = none(), sum = 0;
  if (mine < heads) {
    for (int i = part; i < tokens; i += 8) high = fmaxf(high, scores[mine * p.longest + i]);
  }
  for (int far = 4; far; far /= 2) high = fmaxf(high, __shfl_xor_sync(~0u, high, far));
  if (mine < heads) {
    for (int i = part; i < tokens; i += 8) sum += __expf(scores[mine * p.longest + i] - high);
  }
  for (int far = 4; far; far /= 2) sum += __shfl_xor_sync(~0u, sum, far);
  if (part == 0) most[mine] = high, by[mine] = 1 / sum;

  float c[2][4] = {};
  for (int key = 0; key < tokens; key += 16) {
    __syncthreads();
    int row = threadIdx.x / 8, at8 = column + threadIdx.x % 8 * 8;
    uint4 zeros = {0, 0, 0, 0};
    *(uint4 *)&tile[row][threadIdx.x % 8 * 8] = key + row < tokens && at8 < p.d ? *(const uint4 *)(p.x + (first + key + row) * p.d + at8) : zeros;
    __syncthreads();
    float w[8];  // of a lane's two heads, tokens 2 t, 2 t + 1, 2 t + 8 and 2 t + 9
#pragma unroll
    for (int i = 0; i < 8; i++) {
      int h = g + i / 4 * 8, at = key + 2 * t + i % 2 + i % 4 / 2 * 8;
      w[i] = h < heads && at < tokens ? __expf(scores[h * p.longest + at] - most[h]) * by[h] : 0;
    }
    u32 a[4] = {pair(w[0], w[1]), pair(w[4], w[5]), pair(w[2], w[3]), pair(w[6], w[7])};
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const bf16(*v)[kColumnsRow] = tile + 2 * t;
      int at = 16 * warp + 8 * i + g;
      multiply(c[i], a, v[0][at] | u32(v[1][at]) << 16, v[8][at] | u32(v[9][at]) << 16);
    }
  }
  if (column + 16 * warp >= p.d) return;
#pragma unroll
  for (int row = 0; row < 2; row++) {
    int h = head + g + 8 * row;
    if (h >= p.heads) continue;
    bf16 *y = p.y + (n * p.heads + h) * p.d + column + 16 * warp + 2 * t;
    for (int j = 0; j < 2; j++) *(u32 *)(y + 8 * j) = pair(c[j][2 * row], c[j][2 * row + 1]);
  }
}
