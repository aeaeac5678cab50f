// Runs the loops of amx.cpp with the tiles' instructions done by hand, and holds them against plain loops. It prints what is wrong,
// and then returns 1.
#define VALENCE_EMULATE_AMX
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

struct {
  uint8_t palette, start, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
} cut_as;
bool configured = false;
char tiles[8][16][64];

void require(bool holds, const char *what) {
  if (holds) return;
  printf("%s\n", what);
  exit(1);
}
void _tile_loadconfig(const void *p) {
  memcpy(&cut_as, p, sizeof cut_as);
  memset(tiles, 0, sizeof tiles);
  configured = cut_as.palette == 1;
  for (int i = 0; i < 8; i++) require(cut_as.rows[i] <= 16 && cut_as.bytes[i] <= 64, "a tile is too large");
}
void _tile_release() { configured = false; }
void _tile_zero(int t) { memset(tiles[t], 0, sizeof tiles[t]); }
void _tile_loadd(int t, const void *from, int64_t stride) {
  require(configured, "no tiles are configured");
  _tile_zero(t);
  for (int i = 0; i < cut_as.rows[t]; i++) memcpy(tiles[t][i], static_cast<const char *>(from) + i * stride, cut_as.bytes[t]);
}
void _tile_stored(int t, void *to, int64_t stride) {
  for (int i = 0; i < cut_as.rows[t]; i++) memcpy(static_cast<char *>(to) + i * stride, tiles[t][i], cut_as.bytes[t]);
}

template <class T>
T load(const char *at) {
  T x;
  memcpy(&x, at, sizeof x);
  return x;
}
float bfloat16(const char *at) {
  uint32_t bits = uint32_t(load<uint16_t>(at)) << 16;
  return load<float>(reinterpret_cast<char *>(&bits));
}
float two(const char *a, const char *b) { return bfloat16(a) * bfloat16(b) + bfloat16(a + 2) * bfloat16(b + 2); }
int32_t four(const char *a, const char *b) {
  int32_t sum = 0;
  for (int i = 0; i < 4; i++) sum += int(uint8_t(a[i])) * int(int8_t(b[i]));
  return sum;
}
template <class T>
void product(int c, int a, int b, T (*of)(const char *, const char *)) {
  require(cut_as.rows[c] == cut_as.rows[a] && cut_as.bytes[a] == 4 * cut_as.rows[b] && cut_as.bytes[c] == cut_as.bytes[b], "tiles do not fit");
  for (int i = 0; i < cut_as.rows[c]; i++) {
    for (int j = 0; j < cut_as.bytes[c]; j += 4) {
      T sum = load<T>(&tiles[c][i][j]);
      for (int k = 0; k < cut_as.rows[b]; k++) sum += of(&tiles[a][i][4 * k], &tiles[b][k][j]);
      memcpy(&tiles[c][i][j], &sum, sizeof sum);
    }
  }
}
void _tile_dpbf16ps(int c, int a, int b) { product(c, a, b, two); }
void _tile_dpbusd(int c, int a, int b) { product(c, a, b, four); }

#include "../amx.cpp"

int wrong = 0;
template <class T>
void hold(const char *name, int64_t groups, int64_t rows, const std::vector<char> &a, const std::vector<char> &panel, T (*of)(const char *, const char *),
          void (*block)(const char *, int64_t, const char *, int64_t, int64_t, float *)) {
  const int64_t line = 256, most = valence::kBlock;
  std::vector<float> c(most * valence::kPanel, 7);
  block(a.data(), 4 * groups, panel.data(), groups, rows, c.data());
  for (int64_t i = 0; i < most * valence::kPanel; i++) {
    int64_t row = i / valence::kPanel, column = i % valence::kPanel;
    double want = 0, got = row < rows ? double(load<T>(reinterpret_cast<char *>(&c[i]))) : c[i] - 7;
    for (int64_t k = 0; row < rows && k < groups; k++) want += of(&a[4 * (row * groups + k)], &panel[k * line + 4 * column]);
    if (!(std::abs(got - want) <= 1e-4) && wrong++ < 20) {
      printf("%s, %d rows of %d groups: row %d, column %d is %g, want %g\n", name, int(rows), int(groups), int(row), int(column), got, want);
    }
  }
}

int main() {
  std::mt19937 bits(7);
  std::uniform_real_distribution<float> some(-0.5, 0.5);
  for (int64_t groups : {1, 5, 16, 17, 48, 130, 300}) {
    for (int64_t rows : {1, 2, 15, 16, 17, 31, 32, 33, 47, 48}) {
      std::vector<char> a(4 * rows * groups), panel(256 * groups);  // no longer than what may be read
      for (auto *v : {&a, &panel}) {
        for (size_t i = 0; i < v->size(); i += 2) {
          float x = some(bits);
          memcpy(v->data() + i, reinterpret_cast<char *>(&x) + 2, 2);
        }
      }
      hold<float>("bfloat16", groups, rows, a, panel, two, valence::block_amx_bfloat16);
      for (auto *v : {&a, &panel}) {
        for (auto &x : *v) x = char(bits());
      }
      hold<int32_t>("int8", groups, rows, a, panel, four, valence::block_amx_int8);
    }
  }
  return wrong > 0;
}
