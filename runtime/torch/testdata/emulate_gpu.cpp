// Runs the kernels of kernels.cu and learn.cu on the CPU, and holds them against plain loops. It prints what is wrong, and then returns 1.
#include <cstdint>
#include <cstdio>
#include <random>

#include "cuda.h"

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
  const auto *first = x.data();
  Attention p{.q = first, .k = first + inner, .v = first + 2 * inner, .q_step = 3 * inner, .kv_step = 3 * inner,
              .l = {{l.data(), 3 * inner}, {nullptr, 0}, {l.data() + 2 * inner, 3 * inner}}, .slots = kSlots.data(), .start = kStart.data(), .keys = kStart.data(),
              .distances = distances.data(), .reach = reach, .y = y.data(), .inner = inner};
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
  int n = int(kLengths.size()), tiles = (heads + 15) / 16;
  Numbers u(n * heads * d, 0.5), x(kTokens * d, 1), y(n * heads * d, 1e6);
  std::vector<float> scores(n * heads * longest);
  Look p{u.data(), x.data(), kStart.data(), heads, d, scores.data(), longest, y.data()};
  launch({5, n, tiles}, 128, [=] { valence_scores(p); });
  launch({2, n, tiles}, 128, [=] { valence_sum(p); });
  for (int i = 0; i < n * heads; i++) {
    int text = i / heads;
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
      launch({n}, 32, [=] { valence_gate(from, gated ? from + d : nullptr, (1 + gated) * d, activation, by, slots, to, d); });
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

// left is what an element of a row of the noise is multiplied by, as native.cpp's dropout has it.
double left(const Noise &n, int row, std::initializer_list<uint64_t> place) {
  auto mix = [](uint64_t x) {
    for (uint64_t odd : {0xbf58476d1ce4e5b9u, 0x94d049bb133111ebu}) x = (x ^ (x >> 31)) * odd;
    return x;
  };
  uint64_t at = 0;
  for (auto i : place) at = at * 65536 + i;
  return int64_t(mix(at + mix(n.keys[row] + n.salt))) >= n.least ? n.by : 0;
}

const std::vector<u64> kKeysOfNoise = {11, 7, 1ull << 63, 12345, 0, 99};
const Noise kNoise{kKeysOfNoise.data(), 770, i64((0.3 - 0.5) * 18446744073709551616.0), 1 / 0.7f};

// attention_back is for sequences of which two look at one text, and none at another; a bias may hide what comes after a query.
void attention_back(int threads, bool look, bool causal, bool noisy = false) {
  const int heads = 2, inner = heads * WIDTH, reach = 140, bias = 2 * reach + 1, far = 3 * inner;  // far: step of gradients
  const std::vector<int> of = look ? std::vector<int>{2, 0, 4, 3, 2, 5} : std::vector<int>{0, 1, 2, 3, 4, 5};
  Numbers q(kTokens * inner, 1), k(kTokens * inner, 0.5), v(kTokens * inner, 1), g(kTokens * inner, 1), y(kTokens * inner, 1e6), back(kTokens * far, 1e6);
  auto *dq = back.data(), *dk = dq + inner, *dv = dk + inner;
  auto distances = floats(heads * bias, 0, 2);
  for (int h = 0; h < heads && causal; h++) {
    for (int j = 1; j <= reach; j++) distances[h * bias + reach + j] = -INFINITY;
  }
  std::vector<float> log(heads * kTokens), along(heads * kTokens);
  AttentionBack b{.there = {.q = q.data(), .k = k.data(), .v = v.data(), .q_step = inner, .kv_step = inner, .start = kStart.data(), .keys = kStart.data(),
                            .of = look ? of.data() : nullptr, .distances = look ? nullptr : distances.data(), .reach = reach, .sequences = int(of.size()),
                            .y = y.data(), .inner = inner, .log = log.data(), .noise = noisy ? kNoise : Noise{}},
                  .g = g.data(), .along = along.data(), .dq = dq, .dk = dk, .dv = dv, .dq_step = far, .dkv_step = far};
  Index grid{(130 + threads / 2 - 1) / (threads / 2), heads, int(of.size())};
  launch(grid, threads, [=] { valence_attend(b.there); });
  launch(grid, threads, [=] { valence_attend_queries(b); });
  launch(grid, threads, [=] { valence_attend_keys(b); });
  std::vector<double> want_q(kTokens * inner), want_k(kTokens * inner), want_v(kTokens * inner);
  for (size_t n = 0; n < of.size(); n++) {
    for (int h = 0; h < heads; h++) {
      int keys = kLengths[of[n]];
      for (int i = 0; i < kLengths[n]; i++) {
        int row = (kStart[n] + i) * inner + h * WIDTH, first = kStart[of[n]] * inner + h * WIDTH;
        std::vector<double> w(keys), d(keys);
        double sum = 0;
        for (int j = 0; j < keys; j++) {
          if (!look) w[j] = distances[h * bias + reach + j - i];
          for (int c = 0; c < WIDTH; c++) w[j] += q(row + c) * k(first + j * inner + c), d[j] += g(row + c) * v(first + j * inner + c);
        }
        softmax(w);
        std::vector<double> kept(keys, 1), want(WIDTH);
        for (int j = 0; j < keys; j++) {
          if (noisy) kept[j] = left(kNoise, int(n), {uint64_t(h), uint64_t(i), uint64_t(j)});
          d[j] *= kept[j], sum += w[j] * d[j];
          for (int c = 0; c < WIDTH; c++) want[c] += w[j] * kept[j] * v(first + j * inner + c);
        }
        for (int c = 0; c < WIDTH; c++) near("attend", y(row + c), want[c], 0.02);
        for (int j = 0; j < keys; j++) {
          for (int c = 0; c < WIDTH; c++) {
            want_q[row + c] += w[j] * (d[j] - sum) * k(first + j * inner + c);
            want_k[first + j * inner + c] += w[j] * (d[j] - sum) * q(row + c);
            want_v[first + j * inner + c] += w[j] * kept[j] * g(row + c);
          }
        }
      }
    }
  }
  for (int i = 0; i < kTokens * inner; i++) {
    int at = i / inner * far + i % inner;
    near("dq", back(at), want_q[i], 0.03);
    near("dk", back(at + inner), want_k[i], 0.03);
    near("dv", back(at + 2 * inner), want_v[i], 0.03);
  }
}

// activation gives f(x) and its derivative.
std::pair<double, double> activation_of(int kind, double x) {
  auto f = [=](double x) {
    return kind == 0 ? std::max(x, 0.0) : kind == 1 ? x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))) : x / (1 + std::exp(-x));
  };
  return {f(x), (f(x + 1e-5) - f(x - 1e-5)) / 2e-5};
}

// rows_back has gradients and what they are for lie in wider rows.
void rows_back() {
  const int d = 328, wide = 2 * d;  // more than a strip
  Numbers g(kTokens * wide, 1), x(kTokens * wide, 3), w(d, 1), dx(kTokens * wide, 1e6);
  const int texts = int(kLengths.size());
  auto l = floats(texts * wide, 1, 0.5);
  std::vector<float> dl(texts * wide);
  Vectors by{l.data(), wide};
  const auto *along = g.data(), *from = x.data(), *weights = w.data();
  auto *to = dx.data();
  auto *to_l = dl.data();
  for (const bf16 *plus : {static_cast<const bf16 *>(nullptr), along + kTokens * d}) {
    launch({(kTokens + 3) / 4}, 128, [=] { valence_norm_back(along, from, weights, plus, to, kTokens, d, 1e-6f); });
    for (int i = 0; i < kTokens; i++) {
      double squares = 0, sum = 0;
      for (int c = i * d; c < (i + 1) * d; c++) squares += x(c) * x(c) / d, sum += g(c) * w(c % d) * x(c) / d;
      double root = 1 / std::sqrt(squares + 1e-6);
      for (int c = i * d; c < (i + 1) * d; c++) {
        near("norm back", dx(c), root * (g(c) * w(c % d) - x(c) * root * root * sum) + (plus ? g(kTokens * d + c) : 0));
      }
    }
  }
  const auto *start = kStart.data();
  auto scale = [&](int text, int c) { return l[text * wide + c]; };
  for (bool in_place : {false, true}) {
    auto before = g;
    auto *dx_at = in_place ? g.data() : to;
    launch({2, texts}, 256, [=] { valence_scale_back(along, wide, from + d, wide, by, start, dx_at, to_l + d, wide, d); });
    for (int text = 0; text < texts; text++) {
      for (int c = 0; c < d; c++) {
        double sum = 0;
        for (int i = kStart[text] * wide + c; i < kStart[text + 1] * wide; i += wide) {
          sum += before(i) * x(i + d);
          near("scale back", in_place ? g(i) : dx(i), before(i) * scale(text, c));
        }
        near("scale's vector", dl[text * wide + d + c], sum, 1e-4);
      }
    }
  }
  std::vector<int> rows;
  for (int text = 0; text < texts; text++) rows.insert(rows.end(), kLengths[text], text);
  const auto *row = rows.data();
  for (const bf16 *plus : {static_cast<const bf16 *>(nullptr), along + kTokens * d}) {
    launch({kTokens}, 64, [=] { valence_drop(along, plus, to, kNoise, start, row, d); });
    for (int i = 0; i < kTokens * d; i++) {
      int token = i / d;
      near("drop", dx(i), g(i) * left(kNoise, rows[token], {uint64_t(token - kStart[rows[token]]), uint64_t(i % d)}) + (plus ? g(kTokens * d + i) : 0));
    }
  }
  for (int kind : {0, 1, 2}) {
    for (bool scaled : {false, true}) {
      for (bool gated : {false, true}) {
        auto vectors = scaled ? by : Vectors{};
        const auto *other = gated ? from + d : nullptr;
        launch({2, texts}, 256, [=] { valence_gate_back(along, from, other, wide, kind, vectors, start, to, to + d, to_l, wide, d); });
        for (int text = 0; text < texts; text++) {
          for (int c = 0; c < d; c++) {
            double sum = 0, by = scaled ? scale(text, c) : 1;
            for (int i = kStart[text]; i < kStart[text + 1]; i++) {
              double g_at = g(i * d + c), u = gated ? x(i * wide + d + c) : 1;
              auto [f, slope] = activation_of(kind, x(i * wide + c));
              near("gate back", dx(i * wide + c), g_at * u * by * slope);
              if (gated) near("gate back's other", dx(i * wide + d + c), g_at * f * by);
              sum += g_at * f * u;
            }
            if (scaled) near("gate's vector", dl[text * wide + c], sum, 1e-3);
          }
        }
      }
    }
  }
}

int main() {
  for (int threads : {32, 64, 128}) attention(threads);
  for (int heads : {6, 16, 20}) look(heads);
  rows();
  rows_back();
  for (int threads : {32, 128}) {
    attention_back(threads, false, false);
    attention_back(threads, false, true);
    attention_back(threads, true, false);
    attention_back(threads, false, true, true);
  }
  return wrong > 0;
}
