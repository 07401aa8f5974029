// The two products of attention for a block of six queries, with sums in registers: queries with transposed keys, and
// weights with values. Sums over features and over tokens run in order. Static functions only, as in sixteen.h.
#pragma once

#include "caravan/kernels/numbers.h"
#include "caravan/kernels/sixteen.h"
#include "caravan/kernels/tree_attention.h"

namespace caravan::kernels {
namespace {

constexpr int kQueries = kTreeQueries;
#if defined(__AVX512F__)
constexpr int kVectors = 4;  // 24 sums, 4 vectors that they share and a query's number: of 32 registers
#else
constexpr int kVectors = 1;  // 12, 2 and 1 of AVX2's 16
#endif

// Six rows of numbers, one a token.
struct Scores {
  float* values;
  int64_t stride;
  float* row(int64_t i) const { return values + i * stride; }
};

// Tokens [low, high); for `products` whole vectors.
struct Tokens {
  int64_t low, high;
};

struct Across {  // features by tokens, in blocks of tokens: [tree_stride(tokens) / kTreeTokens, width, kTreeTokens]
  const float* values;
  int64_t width;
};

struct Along {  // [tokens, width]
  const float* values;
  int64_t width;
};

// out[i, from + j] = queries[i] . keys[:, from + j] for 16 V keys of one block; queries [kQueries, D].
template <int V>
inline void some_products(const float* queries, const Across& across, int64_t from, const Scores& out) {
  Floats sums[kQueries][V];
  for (auto& row : sums) {
    for (Floats& s : row) s = zeros();
  }
  const int64_t width = across.width, at = from % kTreeTokens;
  const float* keys = across.values + (from - at) * width + at;
  for (int64_t d = 0; d < width; ++d, keys += kTreeTokens) {
    Floats k[V];
    for (int v = 0; v < V; ++v) k[v] = load(keys + 16 * v);
#pragma GCC unroll 8
    for (int i = 0; i < kQueries; ++i) {
      const Floats q = all(queries[i * width + d]);
      for (int v = 0; v < V; ++v) sums[i][v] = multiply_add(q, k[v], sums[i][v]);
    }
  }
  for (int i = 0; i < kQueries; ++i) {
    for (int v = 0; v < V; ++v) store(sums[i][v], out.row(i) + from + 16 * v);
  }
}

inline void products(const float* queries, const Across& keys, const Tokens& tokens, const Scores& out) {
  static_assert(kTreeTokens % (16 * kVectors) == 0);
  for (int64_t key = tokens.low; key < tokens.high;) {
    const bool together = key % (16 * kVectors) == 0 && key + 16 * kVectors <= tokens.high;
    if (together) {
      some_products<kVectors>(queries, keys, key, out);
    } else {
      some_products<1>(queries, keys, key, out);
    }
    key += together ? 16 * kVectors : 16;
  }
}

// sums[i] += sum over the tokens t of weights[i, t] rows[t], 16 V features.
template <int V>
inline void add_weighted_rows(const Scores& weights, const Along& rows, const Tokens& tokens,
                              Floats (&sums)[kQueries][V]) {
  for (int64_t t = tokens.low; t < tokens.high; ++t) {
    Floats value[V];
    for (int v = 0; v < V; ++v) value[v] = load(rows.values + t * rows.width + 16 * v);
#pragma GCC unroll 8
    for (int i = 0; i < kQueries; ++i) {
      const Floats weight = all(weights.row(i)[t]);
      for (int v = 0; v < V; ++v) sums[i][v] = multiply_add(value[v], weight, sums[i][v]);
    }
  }
}

// rows[t] += sum over the six of weights[i, t] vectors[i], 16 V features; rows [tokens, vectors.width].
template <int V>
inline void add_weighted(const Scores& weights, const Along& vectors, const Tokens& tokens, float* rows) {
  Floats own[kQueries][V];
  for (int i = 0; i < kQueries; ++i) {
    for (int v = 0; v < V; ++v) own[i][v] = load(vectors.values + i * vectors.width + 16 * v);
  }
  for (int64_t t = tokens.low; t < tokens.high; ++t) {
    float* row = rows + t * vectors.width;
    Floats sums[V];
    for (int v = 0; v < V; ++v) sums[v] = load(row + 16 * v);
#pragma GCC unroll 8
    for (int i = 0; i < kQueries; ++i) {
      const Floats weight = all(weights.row(i)[t]);
      for (int v = 0; v < V; ++v) sums[v] = multiply_add(own[i][v], weight, sums[v]);
    }
    for (int v = 0; v < V; ++v) store(sums[v], row + 16 * v);
  }
}

}  // namespace
}  // namespace caravan::kernels
