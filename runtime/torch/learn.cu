// The way back through what lies between a model's products, to train in bfloat16 on a GPU. It follows common.cu in a program of its
// own, which is compiled when it is first asked for. Gradients of tokens are bfloat16, those of vectors float32; each number is summed in one order, so that a text's part does
// not depend on the others, and comes out the same again.

// valence_norm_back is plus and the gradient dx for a gradient g of what valence_norm gives, a warp for each row; plus may be null.
extern "C" __global__ void valence_norm_back(const bf16 *g, const bf16 *x, const bf16 *w, const bf16 *plus, bf16 *dx, int rows, int d, float eps) {
  int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  g += i64(row) * d;
  x += i64(row) * d;
  dx += i64(row) * d;
  float v[8], u[8], squares = 0, along = 0;
  for (int i = 8 * lane; i < d; i += 256) {
    read8(x + i, v);
    read8(g + i, u);
    times8(u, w + i);
    for (int j = 0; j < 8; j++) squares += v[j] * v[j], along += u[j] * v[j];
  }
  float root = rsqrtf(warp_sum(squares) / d + eps), by = warp_sum(along) / d * root * root;
  for (int i = 8 * lane; i < d; i += 256) {
    read8(x + i, v);
    read8(g + i, u);
    times8(u, w + i);
    for (int j = 0; j < 8; j++) v[j] = root * (u[j] - v[j] * by);
    if (plus) {
      read8(plus + i64(row) * d + i, u);
      for (int j = 0; j < 8; j++) v[j] += u[j];
    }
    write8(v, dx + i);
  }
}

constexpr int kWarps = 8, kStrip = 256;  // of a block that sums tokens: a warp has every eighth, a lane 8 columns

// add_up writes the sums of a block's warps over columns [d] of its strip.
static __device__ void add_up(const float *mine, float *to, int d) {
  __shared__ float sums[kWarps][kStrip];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, column = blockIdx.x * kStrip + threadIdx.x;
  for (int i = 0; i < 8; i++) sums[warp][8 * lane + i] = mine[i];
  __syncthreads();
  if (column >= d) return;
  float sum = 0;
  for (int i = 0; i < kWarps; i++) sum += sums[i][threadIdx.x];
  to[column] = sum;
}

// valence_scale_back gives the gradients dx and dl [texts, d] for a gradient g of y = x l, by strips of columns and texts; text i
// has the vector in row i of l, and begins at start[i]. g and dx have one step from row to row, and may be the same.
extern "C" __global__ void __launch_bounds__(256) valence_scale_back(const bf16 *g, i64 g_step, const bf16 *x, i64 x_step, Vectors l, const int *start, bf16 *dx,
                                                                    float *dl, i64 dl_step, int d) {
  int text = blockIdx.y, column = blockIdx.x * kStrip + threadIdx.x % 32 * 8;
  float sum[8] = {};
  for (i64 row = start[text] + threadIdx.x / 32; column < d && row < start[text + 1]; row += kWarps) {
    float v[8], u[8];
    read8(g + row * g_step + column, u);
    read8(x + row * x_step + column, v);
    for (int i = 0; i < 8; i++) sum[i] += u[i] * v[i];
    scale8(u, l.x + text * l.step + column);
    write8(u, dx + row * g_step + column);
  }
  add_up(sum, dl + text * dl_step, d);
}

// valence_drop is y = plus + x of rows [d], with elements of x dropped, a block for each row; row i is a token of row rows[i] of the
// noise, which begins at start of that. plus may be null, and y may be x.
extern "C" __global__ void valence_drop(const bf16 *x, const bf16 *plus, bf16 *y, Noise noise, const int *start, const int *rows, int d) {
  i64 token = blockIdx.x;
  int row = rows[token];
  u64 mine = seed(noise, row), first = (token - start[row]) * kPlaces;
  for (int i = 8 * threadIdx.x; i < d; i += 8 * blockDim.x) {
    float v[8], u[8] = {};
    read8(x + token * d + i, v);
    if (plus) read8(plus + token * d + i, u);
    for (int j = 0; j < 8; j++) v[j] = v[j] * kept(noise, mine, first + i + j) + u[j];
    write8(v, y + token * d + i);
  }
}

// slope gives an activation f(x) and its derivative.
static __device__ float slope(float x, int activation, float *f) {
  if (activation == kReLU) {
    *f = fmaxf(x, 0);
    return x > 0;
  }
  float du = activation == kGELU ? kGELUBy * (1 + 3 * kGELUCube * x * x) : 1;
  float by = 1 / (1 + __expf(-within(x, activation)));
  *f = x * by;
  return by + *f * (1 - by) * du;
}

// valence_gate_back gives the gradients dh, du and dl [texts, d] for a gradient g of y = f(h) u l, as valence_scale_back does. h and u,
// and dh and du, have one step from row to row. Where l is null there is no dl, and where u is, y is f(h) l.
extern "C" __global__ void __launch_bounds__(256) valence_gate_back(const bf16 *g, const bf16 *h, const bf16 *u, i64 step, int activation, Vectors l,
                                                                   const int *start, bf16 *dh, bf16 *du, float *dl, i64 dl_step, int d) {
  int text = blockIdx.y, column = blockIdx.x * kStrip + threadIdx.x % 32 * 8;
  float sum[8] = {};
  for (i64 row = start[text] + threadIdx.x / 32; column < d && row < start[text + 1]; row += kWarps) {
    i64 at = row * step + column;
    float along[8], x[8], by[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    read8(g + row * d + column, along);
    read8(h + at, x);
    if (u) read8(u + at, by);
    for (int i = 0; i < 8; i++) {
      float f, d = slope(x[i], activation, &f);
      sum[i] += along[i] * f * by[i];
      x[i] = along[i] * by[i] * d;
      by[i] = along[i] * f;
    }
    scale8(x, l.x ? l.x + text * l.step + column : nullptr);
    write8(x, dh + at);
    if (!u) continue;
    scale8(by, l.x ? l.x + text * l.step + column : nullptr);
    write8(by, du + at);
  }
  if (l.x) add_up(sum, dl + text * dl_step, d);
}

// AttentionBack is the way back through an attention without vectors, whose y and log are those that it gave.
struct AttentionBack {
  Attention there;
  const bf16 *g;       // gradient of y
  float *along;        // [heads, tokens]: sums of g y over a head's columns
  bf16 *dq, *dk, *dv;  // like q, k and v
  i64 dq_step, dkv_step;
};

// scores are two products of a warp's 16 rows a and b with 16 rows of tiles from row on, each 8 columns of 8 rows in turn.
static __device__ void scores(float (*s)[4], float (*d)[4], const u32 (*a)[4], const u32 (*b)[4], const bf16 (*one)[kRow], const bf16 (*two)[kRow], int g, int t) {
#pragma unroll
  for (int n = 0; n < 2; n++) {
    for (int i = 0; i < 4; i++) s[n][i] = d[n][i] = 0;
#pragma unroll
    for (int i = 0; i < kSteps; i++) {
      const bf16 *x = &one[8 * n + g][16 * i + 2 * t], *y = &two[8 * n + g][16 * i + 2 * t];
      multiply(s[n], a[i], *(const u32 *)x, *(const u32 *)(x + 8));
      multiply(d[n], b[i], *(const u32 *)y, *(const u32 *)(y + 8));
    }
  }
}

// add_product adds to sums [16, WIDTH] the product of weights [16, 16], rounded, and 16 rows of a tile.
static __device__ void add_product(float (*to)[4], const float (*w)[4], const bf16 (*tile)[kRow], int g, int t) {
  u32 a[4] = {pair(w[0][0], w[0][1]), pair(w[0][2], w[0][3]), pair(w[1][0], w[1][1]), pair(w[1][2], w[1][3])};
  const bf16(*v)[kRow] = tile + 2 * t;
#pragma unroll
  for (int n = 0; n < WIDTH / 8; n++) {
    int c = 8 * n + g;
    multiply(to[n], a, v[0][c] | u32(v[1][c]) << 16, v[8][c] | u32(v[9][c]) << 16);
  }
}

// write16 writes sums [16, WIDTH], of which rows count, to rows that are step apart.
static __device__ void write16(const float (*from)[4], bf16 *to, i64 step, int rows, int g, int t) {
#pragma unroll
  for (int row = 0; row < 2; row++) {
    if (g + 8 * row >= rows) continue;
    for (int n = 0; n < WIDTH / 8; n++) *(u32 *)(to + (g + 8 * row) * step + 8 * n + 2 * t) = pair(from[n][2 * row], from[n][2 * row + 1]);
  }
}

// along_rows gives the sums of g y over a head's columns for rows g and g + 8 of a warp's 16.
static __device__ void along_rows(float *sum, const u32 (*along)[4], const bf16 *y, i64 step, int rows, int g, int t) {
  u32 mine[kSteps][4];
  rows16(mine, y, step, nullptr, rows, g, t);
  sum[0] = sum[1] = 0;
#pragma unroll
  for (int i = 0; i < kSteps; i++) {
#pragma unroll
    for (int j = 0; j < 4; j++) sum[j % 2] += low(along[i][j]) * low(mine[i][j]) + high(along[i][j]) * high(mine[i][j]);
  }
  for (int row = 0; row < 2; row++) {
    sum[row] += __shfl_xor_sync(~0u, sum[row], 1);
    sum[row] += __shfl_xor_sync(~0u, sum[row], 2);
  }
}

// valence_attend_queries gives dq, and along, by blocks as valence_attend.
// Source: Dao 2023, "FlashAttention-2", the backward pass, here once by queries and once by keys, so that nothing is added in memory.
extern "C" __global__ void __launch_bounds__(128) valence_attend_queries(AttentionBack b) {
  __shared__ __align__(16) bf16 keys[kKeys][kRow], values[kKeys][kRow];
  const Attention &p = b.there;
  Part part = part_of(p, blockIdx.z, seen(p, blockIdx.z));
  int from = blockIdx.x * (blockDim.x / 2);
  if (from >= part.queries) return;
  int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, head = blockIdx.y;
  int mine = from + threadIdx.x / 32 * 16, rows = part.queries - mine;
  i64 column = i64(head) * WIDTH, at = (part.first + mine) * p.inner + column;
  u32 q[kSteps][4], along[kSteps][4];
  rows16(q, p.q + (part.first + mine) * p.q_step + column, p.q_step, nullptr, rows, g, t);
  rows16(along, b.g + at, p.inner, nullptr, rows, g, t);
  float sum[2], log[2] = {}, out[WIDTH / 8][4] = {};
  along_rows(sum, along, p.y + at, p.inner, rows, g, t);
  i64 place = i64(head) * p.start[p.sequences] + part.first + mine + g;
  for (int row = 0; row < 2; row++) {
    if (g + 8 * row >= rows) continue;
    log[row] = p.log[place + 8 * row];
    if (t == 0) b.along[place + 8 * row] = sum[row];
  }
  const float *bias = biases(p, head, mine + g);
  u64 noise = seed(p.noise, blockIdx.z);
  const bf16 *k = p.k + part.key * p.kv_step + column, *v = p.v + part.key * p.kv_step + column;

  for (int key = 0; key < part.tokens; key += kKeys) {
    __syncthreads();
    put(keys, k + key * p.kv_step, p.kv_step, nullptr, part.tokens - key);
    put(values, v + key * p.kv_step, p.kv_step, nullptr, part.tokens - key);
    __syncthreads();
    if (rows <= 0) continue;
    for (int i = 0; i < kKeys && key + i < part.tokens; i += 16) {
      float s[2][4], d[2][4];
      scores(s, d, q, along, keys + i, values + i, g, t);
#pragma unroll
      for (int j = 0; j < 8; j++) {
        int at = key + i + j / 4 * 8 + 2 * t + j % 2, row = j % 4 / 2;
        bool is = at < part.tokens && g + 8 * row < rows;
        float w = is ? __expf(s[j / 4][j % 4] + (bias ? bias[at - 8 * row] : 0) - log[row]) : 0;
        d[j / 4][j % 4] = w * (d[j / 4][j % 4] * weight_kept(p.noise, noise, head, mine + g + 8 * row, at) - sum[row]);
      }
      add_product(out, d, keys + i, g, t);
    }
  }
  write16(out, b.dq + (part.first + mine) * b.dq_step + column, b.dq_step, rows, g, t);
}

// valence_attend_keys gives dk and dv, once there is along, by blocks of up to 64 keys, heads and texts, a warp for each 16 keys. Sequences
// that look at one text are summed in their order.
extern "C" __global__ void __launch_bounds__(128) valence_attend_keys(AttentionBack b) {
  __shared__ __align__(16) bf16 queries[kKeys][kRow], slopes[kKeys][kRow];
  const Attention &p = b.there;
  int text = blockIdx.z, from = blockIdx.x * (blockDim.x / 2), tokens = p.keys[text + 1] - p.keys[text];
  if (from >= tokens) return;
  int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, head = blockIdx.y;
  int mine = from + threadIdx.x / 32 * 16, rows = tokens - mine;
  i64 column = i64(head) * WIDTH, first = p.keys[text] + mine;
  u32 k[kSteps][4], v[kSteps][4];
  rows16(k, p.k + first * p.kv_step + column, p.kv_step, nullptr, rows, g, t);
  rows16(v, p.v + first * p.kv_step + column, p.kv_step, nullptr, rows, g, t);
  float dk[WIDTH / 8][4] = {}, dv[WIDTH / 8][4] = {};

  for (int sequence = p.of ? 0 : text; sequence < (p.of ? p.sequences : text + 1); sequence++) {
    if (seen(p, sequence) != text) continue;
    Part part = part_of(p, sequence, text);
    u64 noise = seed(p.noise, sequence);
    i64 place = i64(head) * p.start[p.sequences] + part.first;
    for (int query = 0; query < part.queries; query += kKeys) {
      __syncthreads();
      put(queries, p.q + (part.first + query) * p.q_step + column, p.q_step, nullptr, part.queries - query);
      put(slopes, b.g + (part.first + query) * p.inner + column, p.inner, nullptr, part.queries - query);
      __syncthreads();
      if (rows <= 0) continue;
      for (int i = 0; i < kKeys && query + i < part.queries; i += 16) {
        float s[2][4], d[2][4];
        scores(s, d, k, v, queries + i, slopes + i, g, t);
#pragma unroll
        for (int j = 0; j < 8; j++) {
          int at = query + i + j / 4 * 8 + 2 * t + j % 2, row = g + j % 4 / 2 * 8;
          float w = 0, sum = 0;
          if (at < part.queries && row < rows) {
            const float *bias = biases(p, head, at);
            w = __expf(s[j / 4][j % 4] + (bias ? bias[mine + row] : 0) - p.log[place + at]);
            sum = b.along[place + at];
          }
          float left = weight_kept(p.noise, noise, head, at, mine + row);
          s[j / 4][j % 4] = w * left;
          d[j / 4][j % 4] = w * (d[j / 4][j % 4] * left - sum);
        }
        add_product(dv, s, slopes + i, g, t);
        add_product(dk, d, queries + i, g, t);
      }
    }
  }
  write16(dk, b.dk + first * b.dkv_step + column, b.dkv_step, rows, g, t);
  write16(dv, b.dv + first * b.dkv_step + column, b.dkv_step, rows, g, t);
}
