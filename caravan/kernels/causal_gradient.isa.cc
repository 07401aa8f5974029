// Bodies of causal_gradient.h, compiled once per instruction set: six queries at a time.
#include "caravan/kernels/causal_gradient.h"

#include "caravan/kernels/attention_tiles.h"
#include "caravan/kernels/exponential.h"

namespace caravan::kernels {
namespace {

struct Scratch {
  float *d_keys, *d_values;    // [T, D]
  float *queries, *gradient;   // [kQueries, D]
  float *weights, *d_weights;  // [kQueries, stride]
};

Scratch cut(const CausalGradient& c) {
  const int64_t stride = tree_stride(c.tokens), rows = c.tokens * c.width, block = kQueries * c.width;
  float* at = c.scratch;
  return {at,
          at + rows,
          at + 2 * rows,
          at + 2 * rows + block,
          at + 2 * rows + 2 * block,
          at + 2 * rows + 2 * block + kQueries * stride};
}

// Scores of one query become weights, and dP becomes dS; what it does not see of `all` becomes 0 in both.
void soften(float* p, float* dp, const Tokens& seen, const Tokens& all, float scale) {
  float largest = -INFINITY, sum = 0.0f, product = 0.0f;
  for (int64_t t = seen.low; t < seen.high; ++t) largest = p[t] > largest ? p[t] : largest;
  for (int64_t t = seen.low; t < seen.high; ++t) sum += p[t] = exponential_of_negative(scale * (p[t] - largest));
  const float inverse = 1.0f / sum;
  for (int64_t t = seen.low; t < seen.high; ++t) product += (p[t] *= inverse) * dp[t];
  for (int64_t t = seen.low; t < seen.high; ++t) dp[t] = scale * p[t] * (dp[t] - product);
  for (int64_t t = all.low; t < seen.low; ++t) p[t] = dp[t] = 0.0f;
  for (int64_t t = seen.high; t < all.high; ++t) p[t] = dp[t] = 0.0f;
}

// Queries [at, at + n) of head g.
struct Block {
  int64_t at, n, g;
  Tokens tokens;  // that one of them sees
};

template <int V, class T>
void write_queries(const CausalGradient& c, const Scores& d_weights, const Block& b, int64_t from) {
  Floats sums[kQueries][V];
  for (auto& row : sums) {
    for (Floats& sum : row) sum = zeros();
  }
  add_weighted_rows<V>(d_weights, {c.keys + from, c.width}, b.tokens, sums);
  for (int64_t i = 0; i < b.n; ++i) {
    float out[16 * V];
    for (int v = 0; v < V; ++v) store(sums[i][v], out + 16 * v);
    T* to = static_cast<T*>(c.d_queries) + (b.at + i) * c.row_stride + b.g * c.width + from;
    for (int j = 0; j < 16 * V; ++j) store(out[j], to + j);
  }
}

// Features [from, from + 16 V) of all three gradients.
template <int V, class T>
void gradients(const CausalGradient& c, const Scratch& s, const Block& b, int64_t from) {
  const int64_t stride = tree_stride(c.tokens);
  write_queries<V, T>(c, {s.d_weights, stride}, b, from);
  add_weighted<V>({s.d_weights, stride}, {s.queries + from, c.width}, b.tokens, s.d_keys + from);
  add_weighted<V>({s.weights, stride}, {s.gradient + from, c.width}, b.tokens, s.d_values + from);
}

template <class T>
void load_block(const CausalGradient& c, const Scratch& s, const Block& b) {
  for (int64_t i = 0; i < kQueries; ++i) {
    const int64_t from = (b.at + i) * c.row_stride + b.g * c.width;
    for (int64_t d = 0; d < c.width; ++d) {
      s.queries[i * c.width + d] = i < b.n ? load(static_cast<const T*>(c.queries)[from + d]) : 0.0f;
      s.gradient[i * c.width + d] = i < b.n ? load(static_cast<const T*>(c.gradient)[from + d]) : 0.0f;
    }
  }
}

template <class T>
void run_block(const CausalGradient& c, const Scratch& s, Block b) {
  const int64_t stride = tree_stride(c.tokens), width = c.width;
  const auto first = [&](int64_t row) { return c.window > 0 && row >= c.window ? row + 1 - c.window : 0; };
  const Tokens vectors = {first(b.at) / 16 * 16, (b.at + b.n + 15) / 16 * 16};
  b.tokens = {vectors.low, b.at + b.n};
  load_block<T>(c, s, b);
  products(s.queries, {c.keys_across, width}, vectors, {s.weights, stride});
  products(s.gradient, {c.values_across, width}, vectors, {s.d_weights, stride});
  for (int64_t i = 0; i < kQueries; ++i) {
    const Tokens seen = i < b.n ? Tokens{first(b.at + i), b.at + i + 1} : Tokens{vectors.low, vectors.low};
    soften(s.weights + i * stride, s.d_weights + i * stride, seen, vectors, c.scale);
  }
  int64_t d = 0;
  for (; d + 16 * kVectors <= width; d += 16 * kVectors) gradients<kVectors, T>(c, s, b, d);
  for (; d < width; d += 16) gradients<1, T>(c, s, b, d);
}

template <class T>
void gradient(const CausalGradient& c) {
  const Scratch s = cut(c);
  memset(s.d_keys, 0, static_cast<size_t>(2 * c.tokens * c.width) * sizeof(float));
  for (int64_t at = 0; at < c.tokens; at += kQueries) {
    for (int64_t g = 0; g < c.group; ++g)
      run_block<T>(c, s, {at, c.tokens - at < kQueries ? c.tokens - at : kQueries, g, {}});
  }
  for (int64_t t = 0; t < c.tokens; ++t) {
    T *k = static_cast<T*>(c.d_keys) + t * c.kv_stride, *v = static_cast<T*>(c.d_values) + t * c.kv_stride;
    for (int64_t d = 0; d < c.width; ++d) store(s.d_keys[t * c.width + d], k + d);
    for (int64_t d = 0; d < c.width; ++d) store(s.d_values[t * c.width + d], v + d);
  }
}

}  // namespace

extern const CausalTable CARAVAN_CAUSAL;
const CausalTable CARAVAN_CAUSAL = {gradient<float>, gradient<uint16_t>};

}  // namespace caravan::kernels
