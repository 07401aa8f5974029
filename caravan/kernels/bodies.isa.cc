// The bodies of all kernels, in plain loops. Compiled once per instruction set with that set's flags and with
// reassociation of sums allowed, so that the compiler vectorizes them; CARAVAN_TABLE names the resulting table.
// Everything but the table is local to the file: nothing compiled for a newer machine can be linked in by an older
// one's code.
#include <math.h>
#include <string.h>

#include "caravan/kernels/exponential.h"
#include "caravan/kernels/quads.h"
#include "caravan/kernels/sixteen.h"
#include "caravan/kernels/table.h"

namespace caravan::kernels {
namespace {

float load(float x) { return x; }
float load(bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

void store(float x, float* to) { *to = x; }
void store(float x, bf16* to) {  // round to nearest even; a NaN stays one
  uint32_t bits;
  memcpy(&bits, &x, 4);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  *to = static_cast<bf16>(x != x ? 0x7fc0 : rounded);
}

template <class T>
float rounded(float x, T*) {  // the value that storing as T keeps
  T t;
  store(x, &t);
  return load(t);
}

template <class T>
void rms_norm(const T* x, const T* w, T* y, int64_t rows, int64_t width, float eps) {
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    float sum = 0.0f;
    for (int64_t i = 0; i < width; ++i) sum += load(x[i]) * load(x[i]);
    const float scale = 1.0f / sqrtf(sum / static_cast<float>(width) + eps);
    for (int64_t i = 0; i < width; ++i) store(load(w[i]) * rounded(load(x[i]) * scale, y), y + i);
  }
}

// One head's pairs (x0[i], x1[i]), i < half. Apart from the loop over heads, so that `restrict` lets it vectorize.
template <class T>
void rotate_head(const T* __restrict x0, const T* __restrict x1, const T* __restrict cos, const T* __restrict sin,
                 T* __restrict y0, T* __restrict y1, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = load(x0[i]), b = load(x1[i]);
    store(rounded(a * load(cos[i]), y0) - rounded(b * load(sin[i]), y0), y0 + i);
    store(rounded(b * load(cos[i + half]), y0) + rounded(a * load(sin[i + half]), y0), y1 + i);
  }
}

template <class T>
void rotate(const T* x, const T* cos, const T* sin, T* y, int64_t heads, int64_t width, int64_t rotary) {
  const int64_t half = rotary / 2;
  for (int64_t h = 0; h < heads; ++h, x += width, y += width) {
    rotate_head(x, x + half, cos, sin, y, y + half, half);
    for (int64_t i = rotary; i < width; ++i) y[i] = x[i];
  }
}

// c ? a : b without a branch. GCC makes a copy of what follows for a constant a or b, and g / (1 + e^88), a subnormal
// number that takes a hundred times as long as others, was then computed for every element.
inline float choose(bool c, float a, float b) {
  uint32_t x, y;
  memcpy(&x, &a, 4);
  memcpy(&y, &b, 4);
  const uint32_t mask = -static_cast<uint32_t>(c), bits = (x & mask) | (y & ~mask);
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

// e^x, of numbers outside [-87, 88] that of the nearest inside.
inline float exponential(float x) {
  return exponential_in_range(choose(x < -87.0f, -87.0f, choose(x > 88.0f, 88.0f, x)));
}

template <class T>
void swiglu(const T* __restrict gate, const T* __restrict up, T* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = load(gate[i]);
    store(rounded(g / (1.0f + exponential(-g)), y) * load(up[i]), y + i);
  }
}

template <class T>
void rms_norm_backward(const T* x, const T* w, const T* g, T* dx, float* dw, int64_t rows, int64_t width, float eps) {
  for (int64_t row = 0; row < rows; ++row, x += width, g += width, dx += width) {
    float squares = 0.0f, product = 0.0f;
    for (int64_t i = 0; i < width; ++i) {
      squares += load(x[i]) * load(x[i]);
      product += load(g[i]) * load(w[i]) * load(x[i]);
    }
    const float n = static_cast<float>(width), r = 1.0f / sqrtf(squares / n + eps), shift = product / n * r * r * r;
    for (int64_t i = 0; i < width; ++i) {
      dw[i] += load(g[i]) * load(x[i]) * r;
      store(r * load(g[i]) * load(w[i]) - load(x[i]) * shift, dx + i);
    }
  }
}

template <class T>
void swiglu_backward(const T* gate, const T* up, const T* g, T* d_gate, T* d_up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float a = load(gate[i]), incoming = load(g[i]);
    const float s = 1.0f / (1.0f + exponential(-a));
    store(incoming * a * s, d_up + i);
    store(incoming * load(up[i]) * s * (1.0f + a * (1.0f - s)), d_gate + i);
  }
}

template <class T>
double cross_entropy(T* logits, const int64_t* targets, int64_t rows, int64_t classes, float smoothing, bool gradient) {
  double loss = 0;
  for (int64_t row = 0; row < rows; ++row, logits += classes) {
    float largest = -INFINITY, sum = 0.0f, all = 0.0f;
    for (int64_t i = 0; i < classes; ++i) largest = load(logits[i]) > largest ? load(logits[i]) : largest;
    for (int64_t i = 0; i < classes; ++i) sum += exponential(load(logits[i]) - largest);
    const float normalizer = largest + logf(sum), target = load(logits[targets[row]]);
    const float share = smoothing / static_cast<float>(classes);
    loss += (1.0 - smoothing) * (static_cast<double>(normalizer) - target);
    if (smoothing > 0.0f) {
      for (int64_t i = 0; i < classes; ++i) all += load(logits[i]);
      loss += smoothing * static_cast<double>(normalizer) - static_cast<double>(share) * all;
    }
    if (!gradient) continue;
    const float inverse = 1.0f / sum;
    const float at_target = exponential(target - largest) * inverse - share - (1.0f - smoothing);
    for (int64_t i = 0; i < classes; ++i) store(exponential(load(logits[i]) - largest) * inverse - share, logits + i);
    store(at_target, logits + targets[row]);
  }
  return loss;
}

template <class T>
float dot(const T* a, const T* b, int64_t n) {
  float sum = 0.0f;
  for (int64_t i = 0; i < n; ++i) sum += load(a[i]) * load(b[i]);
  return sum;
}

// Tokens whose scores are summed together: their sums across lanes cost a quarter each then.
#if defined(__AVX512F__)
constexpr int kScoreTokens = 4;
#else
constexpr int kScoreTokens = 1;
#endif

// Asks for some of the bytes that the caller reads next. A line a token is what memory delivers meanwhile.
inline void look_ahead(Ahead* ahead, int64_t lines) {
  if (ahead == nullptr) return;
  for (; lines > 0 && ahead->at < ahead->end; --lines, ahead->at += 64) __builtin_prefetch(ahead->at);
}

// Calls f(vectors, token, count) for the runs of attended tokens that lie in one page each, counted from `first`.
template <class T, class F>
inline void for_each_page(const PagedHead& p, const void* const* pages, const F& f) {
  for (int64_t token = p.first; token < p.last;) {
    const int64_t page = token / p.page_tokens, begin = token - page * p.page_tokens;
    const int64_t left = p.last - token, whole = p.page_tokens - begin, count = left < whole ? left : whole;
    f(static_cast<const T*>(pages[page]) + begin * p.width, token - p.first, count);
    token += count;
  }
}

// Scores of G queries and N tokens that lie one after another.
template <int G, int N, class T>
inline void score_tokens(const PagedHead& p, const T* queries, const T* keys, float* scores) {
  const int64_t tokens = p.last - p.first, width = p.width, even = width - width % 16;
  Floats sums[G][N];
  for (auto& row : sums) {
    for (Floats& sum : row) sum = zeros();
  }
  for (int64_t i = 0; i < even; i += 16) {
    Floats k[N];
    for (int t = 0; t < N; ++t) k[t] = load(keys + t * width + i);
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) {
      const Floats q = load(queries + g * width + i);
      for (int t = 0; t < N; ++t) sums[g][t] = multiply_add(q, k[t], sums[g][t]);
    }
  }
  for (int g = 0; g < G; ++g) {
    float totals[N];
    add_lanes<N>(sums[g], totals);
    for (int t = 0; t < N; ++t) {
      const float rest = dot(queries + g * width + even, keys + t * width + even, width - even);
      scores[g * tokens + t] = p.scale * (totals[t] + rest);
    }
  }
}

// Scores of G queries, in one pass over the keys.
template <int G, class T>
void score(const PagedHead& p, const T* queries, float* scores) {
  for_each_page<T>(p, p.keys, [&](const T* keys, int64_t token, int64_t count) {
    int64_t t = 0;
    for (; t + kScoreTokens <= count; t += kScoreTokens) {
      look_ahead(p.ahead, kScoreTokens);
      score_tokens<G, kScoreTokens>(p, queries, keys + t * p.width, scores + token + t);
    }
    for (; t < count; ++t) score_tokens<G, 1>(p, queries, keys + t * p.width, scores + token + t);
  });
}

// Features [from, from + 16 C) of G outputs, in one pass over the values; the sums stay in registers.
template <int G, int C, class T>
void blend(const PagedHead& p, const float* scores, const float* inverse, int64_t from, T* output) {
  const int64_t tokens = p.last - p.first;
  Floats sums[G][C];
  for (auto& row : sums) {
    for (Floats& s : row) s = zeros();
  }
  for_each_page<T>(p, p.values, [&](const T* values, int64_t token, int64_t count) {
    for (int64_t t = 0; t < count; ++t) {
      look_ahead(p.ahead, 1);
      const T* value = values + t * p.width + from;
      Floats v[C];
      for (int c = 0; c < C; ++c) v[c] = load(value + 16 * c);
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) {
        const Floats weight = all(scores[g * tokens + token + t]);
        for (int c = 0; c < C; ++c) sums[g][c] = multiply_add(v[c], weight, sums[g][c]);
      }
    }
  });
  for (int g = 0; g < G; ++g) {
    float out[16 * C];
    for (int c = 0; c < C; ++c) store(sums[g][c], out + 16 * c);
    for (int i = 0; i < 16 * C; ++i) store(out[i] * inverse[g], output + g * p.width + from + i);
  }
}

// The largest number; NaNs are passed over. In lanes, whose maxima need no order.
float largest_of(const float* x, int64_t n) {
  constexpr int kLanes = 16;
  float lanes[kLanes], largest = -INFINITY;
  for (float& lane : lanes) lane = -INFINITY;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  for (; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  for (const float lane : lanes) largest = lane > largest ? lane : largest;
  return largest;
}

// The first place where `is` holds, n if nowhere: block by block, so that the search vectorizes.
template <class Is>
int64_t first_where(const float* x, int64_t n, const Is& is) {
  constexpr int64_t kBlock = 256;
  for (int64_t from = 0; from < n; from += kBlock) {
    const int64_t end = from + kBlock < n ? from + kBlock : n;
    int found = 0;
    for (int64_t i = from; i < end; ++i) found |= is(x[i]) ? 1 : 0;
    for (int64_t i = from; found != 0 && i < end; ++i) {
      if (is(x[i])) return i;
    }
  }
  return n;
}

int64_t argmax(const float* x, int64_t n) {
  const int64_t nan = first_where(x, n, [](float v) { return v != v; });
  if (nan < n) return nan;
  const float largest = largest_of(x, n);
  return first_where(x, n, [=](float v) { return v == largest; });
}

// Scores of all tokens first, then softmax, then the weighted sum of the values: passes over a buffer that stays in the
// cache.
template <int G, class T>
void attend_queries(const PagedHead& p, const T* queries, T* output) {
  const int64_t tokens = p.last - p.first;
  score<G>(p, queries, p.scores);
  float inverse[G];
  for (int g = 0; g < G; ++g) {
    float* scores = p.scores + g * tokens;
    const float largest = largest_of(scores, tokens);
    float sum = 0.0f;
    for (int64_t t = 0; t < tokens; ++t) sum += scores[t] = exponential(scores[t] - largest);
    inverse[g] = 1.0f / sum;
  }
  int64_t at = 0;
  for (; at + 64 <= p.width; at += 64) blend<G, 4>(p, p.scores, inverse, at, output);
  for (; at + 16 <= p.width; at += 16) blend<G, 1>(p, p.scores, inverse, at, output);
  for (; at < p.width; ++at) {
    for (int g = 0; g < G; ++g) {
      float sum = 0.0f;
      for_each_page<T>(p, p.values, [&](const T* values, int64_t token, int64_t count) {
        for (int64_t t = 0; t < count; ++t) sum += p.scores[g * tokens + token + t] * load(values[t * p.width + at]);
      });
      store(sum * inverse[g], output + g * p.width + at);
    }
  }
}

// Up to four queries at a time share a pass over keys and values.
template <class T>
void attend(const PagedHead& p) {
  const T* queries = static_cast<const T*>(p.queries);
  T* output = static_cast<T*>(p.output);
  int64_t g = 0;
  for (; g + 4 <= p.group; g += 4) attend_queries<4>(p, queries + g * p.width, output + g * p.width);
  queries += g * p.width;
  output += g * p.width;
  if (p.group - g == 3) attend_queries<3>(p, queries, output);
  if (p.group - g == 2) attend_queries<2>(p, queries, output);
  if (p.group - g == 1) attend_queries<1>(p, queries, output);
}

template <class T>
void gemv(const T* w, const T* x, T* y, int64_t begin, int64_t end, int64_t width, int64_t m, int64_t stride) {
  for (int64_t r = begin; r < end; ++r) {
    for (int64_t i = 0; i < m; ++i) store(dot(w + r * width, x + i * width, width), y + i * stride + r);
  }
}

uint64_t sum_words(const uint64_t* words, int64_t n) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += words[i];
  return sum;
}

}  // namespace

extern const PackedTable CARAVAN_PACKED;  // packed.isa.cc
extern const Table CARAVAN_TABLE;
const Table CARAVAN_TABLE = {
    CARAVAN_ISA_NAME,
    rms_norm<float>,
    rms_norm<bf16>,
    rotate<float>,
    rotate<bf16>,
    swiglu<float>,
    swiglu<bf16>,
    rms_norm_backward<float>,
    rms_norm_backward<bf16>,
    swiglu_backward<float>,
    swiglu_backward<bf16>,
    cross_entropy<float>,
    cross_entropy<bf16>,
    attend<float>,
    attend<bf16>,
    gemv<bf16>,
    argmax,
    sum_words,
    &CARAVAN_PACKED,
};

}  // namespace caravan::kernels
