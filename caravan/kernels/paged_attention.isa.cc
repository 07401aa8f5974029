// Attention of new tokens to the pages of a cache (PagedHead in table.h): queries of type T over rows of type S.
// Compiled once per instruction set, without reassociation: a query's bits do not depend on how many share a pass over
// the keys. CARAVAN_PAGED names the table.
#include <math.h>

#include "caravan/kernels/exponential.h"
#include "caravan/kernels/numbers.h"
#include "caravan/kernels/sixteen.h"

namespace caravan::kernels {
namespace {

// Tokens whose scores are summed together: their sums across lanes cost a quarter each then.
#if defined(__AVX512F__)
constexpr int kScoreTokens = 4;
#else
constexpr int kScoreTokens = 1;
#endif

// Numbers from a row of a cache to the next, and what each number of a row is a multiple of.
template <class S>
inline constexpr int64_t stride_of(int64_t width) {
  return width;
}
template <>
inline constexpr int64_t stride_of<int8_t>(int64_t width) {
  return width + kPagedScaleBytes;
}
template <class S>
inline float scale_of(const S*, int64_t) {
  return 1.0f;
}
inline float scale_of(const int8_t* row, int64_t width) {
  float scale;
  memcpy(&scale, row + width, sizeof scale);
  return scale;
}

// Calls f(rows, token, count) for the runs of attended tokens that lie in one page each, counted from `first`.
template <class S, class F>
inline void for_each_page(const PagedHead& p, const void* const* pages, const F& f) {
  for (int64_t token = p.first; token < p.last;) {
    const int64_t page = token / p.page_tokens, begin = token - page * p.page_tokens;
    const int64_t left = p.last - token, whole = p.page_tokens - begin, count = left < whole ? left : whole;
    f(static_cast<const S*>(pages[page]) + begin * stride_of<S>(p.width), token - p.first, count);
    token += count;
  }
}

// Scores of G queries and N tokens that lie one after another.
template <int G, int N, class T, class S>
inline void score_tokens(const PagedHead& p, const T* queries, const S* keys, float* scores) {
  const int64_t tokens = p.last - p.first, width = p.width, even = width - width % 16, stride = stride_of<S>(width);
  Floats sums[G][N];
  for (auto& row : sums) {
    for (Floats& sum : row) sum = zeros();
  }
  for (int64_t i = 0; i < even; i += 16) {
    Floats k[N];
    for (int t = 0; t < N; ++t) k[t] = load(keys + t * stride + i);
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
      const S* key = keys + t * stride;
      const float rest = plain_dot(queries + g * width + even, key + even, width - even);
      scores[g * tokens + t] = p.scale * scale_of(key, width) * (totals[t] + rest);
    }
  }
}

// Scores of G queries, in one pass over the keys.
template <int G, class S, class T>
void score(const PagedHead& p, const T* queries, float* scores) {
  const int64_t stride = stride_of<S>(p.width);
  for_each_page<S>(p, p.keys, [&](const S* keys, int64_t token, int64_t count) {
    int64_t t = 0;
    for (; t + kScoreTokens <= count; t += kScoreTokens) {
      look_ahead(p.ahead, kScoreTokens);  // a line a token is what memory delivers meanwhile
      score_tokens<G, kScoreTokens>(p, queries, keys + t * stride, scores + token + t);
    }
    for (; t < count; ++t) score_tokens<G, 1>(p, queries, keys + t * stride, scores + token + t);
  });
}

// Features [from, from + 16 C) of G outputs, in one pass over the values; the sums stay in registers.
template <int G, int C, class S, class T>
void blend(const PagedHead& p, const float* scores, const float* inverse, int64_t from, T* output) {
  const int64_t tokens = p.last - p.first;
  Floats sums[G][C];
  for (auto& row : sums) {
    for (Floats& s : row) s = zeros();
  }
  for_each_page<S>(p, p.values, [&](const S* values, int64_t token, int64_t count) {
    for (int64_t t = 0; t < count; ++t) {
      look_ahead(p.ahead, 1);
      const S* row = values + t * stride_of<S>(p.width);
      const float scale = scale_of(row, p.width);
      Floats v[C];
      for (int c = 0; c < C; ++c) v[c] = load(row + from + 16 * c);
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) {
        const Floats weight = all(scores[g * tokens + token + t] * scale);
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

// x becomes e^(x - largest); returns the sum.
inline float to_exponentials(float* x, int64_t n, float largest) {
  constexpr int kLanes = 16;
  float lanes[kLanes] = {}, total = 0.0f;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) lanes[j] += x[i + j] = exponential(x[i + j] - largest);
  }
  for (; i < n; ++i) total += x[i] = exponential(x[i] - largest);
  for (const float lane : lanes) total += lane;
  return total;
}

// Scores of all tokens first, then softmax, then the weighted sum of the values: passes over a buffer that stays in the
// cache.
template <int G, class S, class T>
void attend_queries(const PagedHead& p, const T* queries, T* output) {
  const int64_t tokens = p.last - p.first;
  score<G, S>(p, queries, p.scores);
  float inverse[G];
  for (int g = 0; g < G; ++g) {
    float* scores = p.scores + g * tokens;
    const float largest = largest_of(scores, tokens);
    inverse[g] = 1.0f / to_exponentials(scores, tokens, largest);
  }
  int64_t at = 0;
  for (; at + 64 <= p.width; at += 64) blend<G, 4, S>(p, p.scores, inverse, at, output);
  for (; at + 16 <= p.width; at += 16) blend<G, 1, S>(p, p.scores, inverse, at, output);
  for (; at < p.width; ++at) {
    for (int g = 0; g < G; ++g) {
      float sum = 0.0f;
      for_each_page<S>(p, p.values, [&](const S* values, int64_t token, int64_t count) {
        for (int64_t t = 0; t < count; ++t) {
          const S* row = values + t * stride_of<S>(p.width);
          sum += p.scores[g * tokens + token + t] * scale_of(row, p.width) * load(row[at]);
        }
      });
      store(sum * inverse[g], output + g * p.width + at);
    }
  }
}

// Up to four queries at a time share a pass over keys and values.
template <class T, class S>
void attend(const PagedHead& p) {
  const T* queries = static_cast<const T*>(p.queries);
  T* output = static_cast<T*>(p.output);
  int64_t g = 0;
  for (; g + 4 <= p.group; g += 4) attend_queries<4, S>(p, queries + g * p.width, output + g * p.width);
  queries += g * p.width;
  output += g * p.width;
  if (p.group - g == 3) attend_queries<3, S>(p, queries, output);
  if (p.group - g == 2) attend_queries<2, S>(p, queries, output);
  if (p.group - g == 1) attend_queries<1, S>(p, queries, output);
}

void store_bf16(const float* x, void* row, int64_t width) {
  for (int64_t i = 0; i < width; ++i) store(x[i], static_cast<bf16*>(row) + i);
}

// The largest magnitude becomes 127; to the nearest, halves to the even. A row that holds a NaN is read as NaNs.
void store_i8(const float* x, void* row, int64_t width) {
  float largest = 0.0f;
  bool broken = false;
  for (int64_t i = 0; i < width; ++i) {
    largest = __builtin_fabsf(x[i]) > largest ? __builtin_fabsf(x[i]) : largest;
    broken |= x[i] != x[i];
  }
  if (broken) largest = __builtin_nanf("");
  const float scale = largest / 127.0f, inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  auto* to = static_cast<int8_t*>(row);
  for (int64_t i = 0; i < width; ++i) {
    const float steps = __builtin_rintf(x[i] * inverse);  // a NaN fails both comparisons
    to[i] = static_cast<int8_t>(steps > -127.0f ? (steps < 127.0f ? steps : 127.0f) : -127.0f);
  }
  memcpy(to + width, &scale, sizeof scale);
}

}  // namespace

extern const PagedTable CARAVAN_PAGED;
const PagedTable CARAVAN_PAGED = {attend<float, float>,  attend<bf16, bf16>, attend<float, bf16>,
                                  attend<float, int8_t>, store_bf16,         store_i8};

}  // namespace caravan::kernels
