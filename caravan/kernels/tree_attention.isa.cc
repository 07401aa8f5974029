// Bodies of tree_attention.h, compiled once per instruction set. Sums over keys run in the keys' order and sums over
// features in the features' order, whatever rows share a block: equal rows get equal bits.
#include "caravan/kernels/tree_attention.h"

#include "caravan/kernels/attention_tiles.h"
#include "caravan/kernels/exponential.h"

namespace caravan::kernels {
namespace {

static_assert(kQueries == kTreeQueries);

// The queries [at, at + n) of a head, counted row by row.
template <class T>
struct Block {
  const TreeHead& head;
  int64_t at, n;
  int64_t stride;                           // of a query's scores
  float *queries, *scores;                  // scratch: [kQueries, D] and [kQueries, stride]
  int64_t first[kQueries], last[kQueries];  // the prompt's tokens that each sees
  int64_t low, high;                        // of all, in whole vectors
  int64_t tail_first;                       // the first of a row's tail inside the window

  int64_t row(int64_t i) const { return (at + i) / head.group; }
  int64_t offset(int64_t i) const { return row(i) * head.row_stride + (at + i) % head.group * head.width; }
};

template <class T>
Block<T> make_block(const TreeHead& head, int64_t at, int64_t n) {
  const int64_t stride = tree_stride(head.tokens);
  Block<T> b{head, at, n, stride + head.tail, head.scratch, head.scratch + kQueries * head.width, {}, {}, 0, 0, 0};
  b.low = stride;
  for (int64_t i = 0; i < n; ++i) {
    b.last[i] = head.visible[b.row(i)];
    const int64_t position = head.tail > 0 ? head.tokens + head.tail - 1 : b.last[i] - 1;
    b.first[i] = head.window > 0 && position >= head.window ? position + 1 - head.window : 0;
    if (b.first[i] > b.last[i]) b.first[i] = b.last[i];
    b.low = b.first[i] < b.low ? b.first[i] : b.low;
    b.high = b.last[i] > b.high ? b.last[i] : b.high;
    const T* q = static_cast<const T*>(head.queries) + b.offset(i);
    for (int64_t d = 0; d < head.width; ++d) b.queries[i * head.width + d] = load(q[d]);
  }
  for (int64_t i = n; i < kQueries; ++i) {
    for (int64_t d = 0; d < head.width; ++d) b.queries[i * head.width + d] = 0.0f;
  }
  b.low = b.low / 16 * 16;
  b.high = tree_stride(b.high);
  b.tail_first = head.window > 0 && head.tail > head.window ? head.tail - head.window : 0;
  return b;
}

template <class T>
float dot(const float* q, const T* k, int64_t width) {
  Floats sums = zeros();
  int64_t d = 0;
  for (; d + 16 <= width; d += 16) sums = multiply_add(load(q + d), load(k + d), sums);
  float rest = 0.0f;
  for (; d < width; ++d) rest += q[d] * load(k[d]);
  return sum(sums) + rest;
}

// Scores become weights; tokens of the block that a query does not see get 0. Returns 1 / the sum of the weights.
template <class T>
float soften(const Block<T>& b, int64_t i) {
  const TreeHead& h = b.head;
  float *scores = b.scores + i * b.stride, *tail = scores + tree_stride(h.tokens), largest = -INFINITY, sum = 0.0f;
  for (int64_t t = b.tail_first; t < h.tail; ++t) {
    const T* key = static_cast<const T*>(h.tail_keys[b.row(i) * h.tail + t]);
    tail[t] = dot(b.queries + i * h.width, key, h.width);
    largest = tail[t] > largest ? tail[t] : largest;
  }
  const int64_t first = b.first[i], last = b.last[i];
  for (int64_t t = first; t < last; ++t) largest = scores[t] > largest ? scores[t] : largest;
  for (int64_t t = first; t < last; ++t) sum += scores[t] = exponential_of_negative(h.scale * (scores[t] - largest));
  for (int64_t t = b.tail_first; t < h.tail; ++t)
    sum += tail[t] = exponential_of_negative(h.scale * (tail[t] - largest));
  for (int64_t t = b.low; t < first; ++t) scores[t] = 0.0f;
  for (int64_t t = last; t < b.high; ++t) scores[t] = 0.0f;
  return 1.0f / sum;
}

// Features [from, from + 16 V) of the block's outputs.
template <int V, class T>
void blend(const Block<T>& b, const float* inverse, int64_t from) {
  const TreeHead& h = b.head;
  Floats sums[kQueries][V];
  weighted_rows<V>({b.scores, b.stride}, {h.values + from, h.width}, {b.low, b.high < h.tokens ? b.high : h.tokens},
                   sums);
  for (int64_t i = 0; i < b.n; ++i) {
    const float* tail = b.scores + i * b.stride + tree_stride(h.tokens);
    for (int64_t t = b.tail_first; t < h.tail; ++t) {
      const T* value = static_cast<const T*>(h.tail_values[b.row(i) * h.tail + t]) + from;
      for (int v = 0; v < V; ++v) sums[i][v] = multiply_add(load(value + 16 * v), all(tail[t]), sums[i][v]);
    }
    float out[16 * V];
    for (int v = 0; v < V; ++v) store(sums[i][v], out + 16 * v);
    T* to = static_cast<T*>(h.output) + b.offset(i) + from;
    for (int j = 0; j < 16 * V; ++j) store(out[j] * inverse[i], to + j);
  }
}

// The same for one feature, where the width is no whole number of vectors.
template <class T>
void blend_one(const Block<T>& b, const float* inverse, int64_t d) {
  const TreeHead& h = b.head;
  for (int64_t i = 0; i < b.n; ++i) {
    const float *scores = b.scores + i * b.stride, *tail = scores + tree_stride(h.tokens);
    float sum = 0.0f;
    for (int64_t t = b.first[i]; t < b.last[i]; ++t) sum += scores[t] * h.values[t * h.width + d];
    for (int64_t t = b.tail_first; t < h.tail; ++t)
      sum += tail[t] * load(static_cast<const T*>(h.tail_values[b.row(i) * h.tail + t])[d]);
    store(sum * inverse[i], static_cast<T*>(h.output) + b.offset(i) + d);
  }
}

template <class T>
void attend(const TreeHead& head) {
  const int64_t count = head.rows * head.group;
  for (int64_t at = 0; at < count; at += kQueries) {
    const Block<T> b = make_block<T>(head, at, count - at < kQueries ? count - at : kQueries);
    products(b.queries, {head.keys, head.width, tree_stride(head.tokens)}, {b.low, b.high}, {b.scores, b.stride});
    float inverse[kQueries];
    for (int64_t i = 0; i < b.n; ++i) inverse[i] = soften(b, i);
    for (int64_t i = b.n; i < kQueries; ++i) {
      for (int64_t t = b.low; t < b.high; ++t) b.scores[i * b.stride + t] = 0.0f;
    }
    int64_t d = 0;
    for (; d + 16 * kVectors <= head.width; d += 16 * kVectors) blend<kVectors>(b, inverse, d);
    for (; d + 16 <= head.width; d += 16) blend<1>(b, inverse, d);
    for (; d < head.width; ++d) blend_one(b, inverse, d);
  }
}

template <class T>
void pack(const T* keys, const T* values, int64_t tokens, int64_t stride, int64_t width, float* packed_keys,
          float* packed_values) {
  const int64_t room = tree_stride(tokens);
  // Sixteen tokens at a time: their features are read along the cache lines, and written a whole line each.
  for (int64_t from = 0; from < room; from += 16) {
    for (int64_t d = 0; d < width; ++d) {
      float* to = packed_keys + d * room + from;
      for (int64_t t = 0; t < 16; ++t) to[t] = from + t < tokens ? load(keys[(from + t) * stride + d]) : 0.0f;
    }
  }
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t d = 0; d < width; ++d) packed_values[t * width + d] = load(values[t * stride + d]);
  }
}

}  // namespace

extern const TreeTable CARAVAN_TREE;
const TreeTable CARAVAN_TREE = {attend<float>, attend<uint16_t>, pack<float>, pack<uint16_t>};

}  // namespace caravan::kernels
