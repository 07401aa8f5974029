// The two products of attention for a block of four queries, with sums in registers: queries with transposed keys, and
// weights with values. Sums over features and over tokens run in order. Static functions only, as in sixteen.h.
#pragma once

#include "caravan/kernels/sixteen.h"

namespace caravan::kernels {
namespace {

constexpr int kQueries = 4;
#if defined(__AVX512F__)
constexpr int kVectors = 4;  // 16 sums in registers of 32
#else
constexpr int kVectors = 1;
#endif

inline float load_one(const float* p) { return *p; }
inline float load_one(const uint16_t* p) {
  const uint32_t bits = static_cast<uint32_t>(*p) << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
inline void store_one(float x, float* to) { *to = x; }
inline void store_one(float x, uint16_t* to) {  // round to nearest even; a NaN stays one
  uint32_t bits;
  memcpy(&bits, &x, 4);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  *to = static_cast<uint16_t>(x != x ? 0x7fc0 : rounded);
}

// out[i, from + j] = queries[i] . keys[:, from + j] for 16 V keys; queries [kQueries, D], keys [D, stride].
template <int V>
inline void products(const float* queries, const float* keys, int64_t width, int64_t stride, int64_t from, float* out,
                     int64_t out_stride) {
  Floats sums[kQueries][V];
  for (auto& row : sums) {
    for (Floats& s : row) s = zeros();
  }
  keys += from;
  for (int64_t d = 0; d < width; ++d, keys += stride) {
    Floats k[V];
    for (int v = 0; v < V; ++v) k[v] = load(keys + 16 * v);
#pragma GCC unroll 4
    for (int i = 0; i < kQueries; ++i) {
      const Floats q = all(queries[i * width + d]);
      for (int v = 0; v < V; ++v) sums[i][v] = multiply_add(q, k[v], sums[i][v]);
    }
  }
  for (int i = 0; i < kQueries; ++i) {
    for (int v = 0; v < V; ++v) store(sums[i][v], out + i * out_stride + from + 16 * v);
  }
}

// The same for the keys [low, high), whole vectors.
inline void all_products(const float* queries, const float* keys, int64_t width, int64_t stride, int64_t low,
                         int64_t high, float* out, int64_t out_stride) {
  int64_t key = low;
  for (; key + 16 * kVectors <= high; key += 16 * kVectors)
    products<kVectors>(queries, keys, width, stride, key, out, out_stride);
  for (; key < high; key += 16) products<1>(queries, keys, width, stride, key, out, out_stride);
}

// sums[i] = sum over t in [low, high) of weights[i, t] rows[t], 16 V features; rows [.., width].
template <int V>
inline void weighted_rows(const float* weights, int64_t weight_stride, const float* rows, int64_t width, int64_t low,
                          int64_t high, Floats (&sums)[kQueries][V]) {
  for (auto& row : sums) {
    for (Floats& s : row) s = zeros();
  }
  for (int64_t t = low; t < high; ++t) {
    Floats value[V];
    for (int v = 0; v < V; ++v) value[v] = load(rows + t * width + 16 * v);
#pragma GCC unroll 4
    for (int i = 0; i < kQueries; ++i) {
      const Floats weight = all(weights[i * weight_stride + t]);
      for (int v = 0; v < V; ++v) sums[i][v] = multiply_add(value[v], weight, sums[i][v]);
    }
  }
}

// rows[t] += sum over the four of weights[i, t] vectors[i], 16 V features, t in [low, high).
template <int V>
inline void add_weighted(const float* weights, int64_t weight_stride, const float* vectors, int64_t width, int64_t low,
                         int64_t high, float* rows) {
  Floats own[kQueries][V];
  for (int i = 0; i < kQueries; ++i) {
    for (int v = 0; v < V; ++v) own[i][v] = load(vectors + i * width + 16 * v);
  }
  for (int64_t t = low; t < high; ++t) {
    float* row = rows + t * width;
    Floats sums[V];
    for (int v = 0; v < V; ++v) sums[v] = load(row + 16 * v);
#pragma GCC unroll 4
    for (int i = 0; i < kQueries; ++i) {
      const Floats weight = all(weights[i * weight_stride + t]);
      for (int v = 0; v < V; ++v) sums[v] = multiply_add(own[i][v], weight, sums[v]);
    }
    for (int v = 0; v < V; ++v) store(sums[v], row + 16 * v);
  }
}

}  // namespace
}  // namespace caravan::kernels
